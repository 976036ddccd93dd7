"""UTKFace: over 20,000 faces from 0 to 116 years, aligned and cropped to 200 x 200 pixels.

Source: https://susanqq.github.io/UTKFace/. Terms: for non-commercial research only; the photos
belong to their owners. Labels are estimates made by an algorithm and checked by people.
"""

import os
import re
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import pandas as pd

from ssrlib.datasets import existing, members, tables
from ssrlib.face_crop import CroppedAlready

NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+\.?jpg(\.chip\.jpg)?")
GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "Other")
CROP = CroppedAlready()


def parse(name: str) -> dict[str, Any]:
    """Read age, gender and race from a file name: `[age]_[gender]_[race]_[date&time].jpg.chip.jpg`.

    >>> parse("25_1_2_20170116174525125.jpg.chip.jpg")
    {'age': 25.0, 'gender': 'female', 'race': 'Asian'}

    Raises:
        ValueError: the name lacks a field, or its gender or race is none of the known codes.
    """
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError("the name is not [age]_[gender 0-1]_[race 0-4]_[date&time].jpg")
    return {
        "age": float(match["age"]),
        "gender": GENDERS[int(match["gender"])],
        "race": RACES[int(match["race"])],
    }


def rows(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the photos of an extracted folder, of one tar file, or of a folder of tar files.

    The tar files are read in place; nothing is extracted.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: there is no photo at `path`, or a tar file is damaged.
    """
    path = existing(path, "file or folder")
    good, bad = [], []
    for place in _places(path):
        try:
            good.append(place | parse(place["path"].rsplit("/", 1)[-1]) | {"source": "utkface"})
        except ValueError as error:
            bad.append({"path": place["path"], "reason": str(error)})
    if not good:
        raise ValueError(f"{path}: no UTKFace photo here, neither as .jpg nor in a .tar")
    return tables(good, bad)


def _places(path: Path) -> Iterator[dict[str, Any]]:
    """Where each photo's bytes are, in a fixed order."""
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    for tar in tars:
        for name, place in members(tar).items():
            if name.endswith(".jpg"):
                yield {"path": name, **place}
    if path.is_dir():
        # Five times as fast as pathlib's own search.
        names = glob("**/*.jpg", root_dir=path, recursive=True, include_hidden=True)
        for name in sorted(names, key=lambda name: name.split(os.sep)):
            yield {"path": name.replace(os.sep, "/"), "file": os.path.join(path, name)}
