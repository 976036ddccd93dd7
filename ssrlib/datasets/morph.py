"""MORPH2: police photos of 13,000 people, several of each, from 16 to 77 years.

Source: https://uncw.edu/research/impact/technology/licensing/morph.html. Terms: a license, paid for
commercial use; read what it says about showing photos.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from ssrlib.datasets import existing, tables
from ssrlib.face_crop import Crop

NAME = re.compile(r"(?P<subject>\d+)_(?P<picture>\d+)(?P<sex>[MF])(?P<age>\d{1,3})\.jpe?g", re.IGNORECASE)
CROP = Crop()


def parse(name: str) -> dict[str, Any]:
    """Read subject, sex and age from a file name: `[subject]_[picture][sex][age].JPG`.

    >>> parse("009055_1M54.JPG")
    {'subject': 'morph-009055', 'gender': 'male', 'age': 54}

    Raises:
        ValueError: the name has another form.
    """
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError("the name is not [subject]_[picture][M or F][age].jpg")
    gender = {"m": "male", "f": "female"}[match["sex"].lower()]
    return {"subject": f"morph-{match['subject']}", "gender": gender, "age": int(match["age"])}


def rows(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the photos in a folder and its subfolders; all of one person go to one split.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no photo in it.
    """
    path = existing(path, "folder")
    good, bad = [], []
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        name = file.relative_to(path).as_posix()
        try:
            good.append({"path": name, "file": str(file), "source": "morph"} | parse(file.name))
        except ValueError as error:
            bad.append({"path": name, "reason": str(error)})
    if not good:
        raise ValueError(f"{path}: no photo with a name of MORPH2's form here")
    return tables(good, bad)
