"""Collect pictures without a face: Debian's wallpapers and stamps to draw with.

    python -m tools.weights.pictures data/pictures                    for the finder to learn from
    python -m tools.weights.pictures data/unseen-pictures --unseen    others, to judge detectors by

apt-get downloads the packages, as anybody may; nothing is installed. Their licenses are free, and each
package names them. What may show a face is left out: people, apes, masks, dolls.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGES = [
    *("gcompris-qt-data", "gnome-backgrounds", "mate-backgrounds"),
    *("plasma-workspace-wallpapers", "tuxpaint-stamps-default", "ukui-wallpapers"),
]
# Photos, patterns and two dogs. Nothing was learned from them, or chosen by them.
UNSEEN = ["lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "palapeli-data"]
LEFT_OUT = [
    *("people", "halloween", "apes", "alphabets", "screenshot", "dolls", "religio", "mythical"),
    *("christmas", "seasonal/easter", "palapeli-data/usr/share/icons", "palapeli-data/usr/share/doc"),
]
SUFFIXES = (".jpg", ".png", ".webp", ".jpeg")
SIDE = 800


def unpacked(packages: list[str], folder: Path) -> None:
    """Download and unpack packages into a folder."""
    subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder, check=True)
    for package in sorted(folder.glob("*.deb")):
        name = package.name.partition("_")[0]
        subprocess.run(["dpkg-deb", "-x", package.name, f"x_{name}"], cwd=folder, check=True)


def opaque(picture: Image.Image, color: np.ndarray) -> Image.Image:
    """Return a picture on a plain color, at most 800 pixels wide or high."""
    picture = picture.convert("RGBA")
    picture.thumbnail((SIDE, SIDE))
    pixels = np.asarray(picture).astype(float)
    alpha = pixels[..., 3:] / 255
    return Image.fromarray((pixels[..., :3] * alpha + color * (1 - alpha)).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder for the pictures")
    parser.add_argument("--unseen", action="store_true", help="those that the finder never learned from")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        unpacked(UNSEEN if arguments.unseen else PACKAGES, Path(name))
        paths = [path for top in sorted(Path(name).glob("x_*")) for path in sorted(top.rglob("*"))]
        kept = [
            path
            for path in paths
            if path.is_file()
            and path.suffix in SUFFIXES
            and not any(word in str(path.relative_to(name)) for word in LEFT_OUT)
        ]
        for number, path in enumerate(kept):
            color = np.random.default_rng(number).integers(0, 256, 3)
            with Image.open(path) as picture:
                picture.draft("RGB", (2 * SIDE, 2 * SIDE))
                saved = f"{path.parent.parent.name}-{path.parent.name}-{path.stem}.jpg"
                opaque(picture, color).save(out / saved, quality=90)
    print(f"{len(list(out.iterdir()))} pictures in {out}")


if __name__ == "__main__":
    main()
