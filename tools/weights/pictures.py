"""Collect pictures without a face: wallpapers, photos of places, things to draw with, from Debian's packages.

    python -m tools.weights.pictures data/pictures                               for the finder to learn from
    python -m tools.weights.pictures data/choosing-pictures --for choosing       to choose its thresholds by
    python -m tools.weights.pictures data/unseen-pictures --for judging          to judge detectors by

apt-get downloads the packages, as anybody may; nothing is installed. Their licenses are free, and each
package names them. What may show a face is left out: people, apes, masks, dolls. No two uses share a package,
but for endless-sky-data: its photos are told apart by who contributed them.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

# For each use, the packages, and which of their files.
PACKAGES = {
    "learning": {
        "gcompris-qt-data": "*",
        "gnome-backgrounds": "*",
        "plasma-workspace-wallpapers": "*",
        "tuxpaint-stamps-default": "*",
        "endless-sky-data": "land/*[0-9].jpg",
        "extremetuxracer-data": "etr/te*/*",
        "neverball-data": "shot-mym*/*",
        "scorched3d-data": "landscape/*/*",
        "ukui-wallpapers": "*",
    },
    "choosing": {
        "endless-sky-data": "land/*-*.jpg",
        "mate-backgrounds": "*",
        "stellarium-data": "landscapes/*/*",
    },
    # Photos, patterns and two dogs. Nothing was learned from them, or chosen by them.
    "judging": {"lomiri-wallpapers-16.04": "*", "lomiri-wallpapers-20.04": "*", "palapeli-data": "*"},
}
LEFT_OUT = [
    *("people", "halloween", "/apes", "alphabets", "screenshot", "dolls", "religio", "mythical"),
    *(
        "christmas",
        "seasonal/easter",
        "palapeli-data/usr/share/icons",
        "palapeli-data/usr/share/doc",
        "land/space5",
    ),
]
SUFFIXES = (".jpg", ".png", ".webp", ".jpeg")
SIDE = 800


def unpacked(packages: dict[str, str], folder: Path) -> list[Path]:
    """Download and unpack packages into a folder, and return the paths of the files that match."""
    subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder, check=True)
    paths = []
    for package in sorted(folder.glob("*.deb")):
        name = package.name.partition("_")[0]
        top = folder / f"x_{name}"
        subprocess.run(["dpkg-deb", "-x", package.name, top.name], cwd=folder, check=True)
        paths += [path for path in sorted(top.rglob("*")) if path.match(packages[name])]
    return paths


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
    parser.add_argument("--for", dest="use", choices=PACKAGES, default="learning", help="see above")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        kept = [
            path
            for path in unpacked(PACKAGES[arguments.use], Path(name))
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
