"""Collect pictures without a face, for the finder to learn from: Debian's wallpapers and stamps to draw with.

    python -m tools.weights.pictures data/pictures

apt-get downloads the packages, as anybody may; nothing is installed. Their licenses are free, and each
package names them. What may show a face is left out: people, apes, masks, dolls.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGES = [
    *("gcompris-qt-data", "gnome-backgrounds", "mate-backgrounds"),
    *("plasma-workspace-wallpapers", "tuxpaint-stamps-default", "ukui-wallpapers"),
]
LEFT_OUT = [
    *("people", "halloween", "apes", "alphabets", "screenshot", "dolls", "religio", "mythical"),
    *("christmas", "seasonal/easter"),
]
SUFFIXES = (".jpg", ".png", ".webp", ".jpeg")
SIDE = 800


def unpacked(folder: Path) -> None:
    """Download and unpack the packages into a folder."""
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder, check=True)
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
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        unpacked(Path(name))
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
