"""All-Age-Faces: 13,322 photos of nearly as many people, mostly Asian, from 2 to 80 years, with gender.

Source: https://github.com/JingchunCheng/All-Age-Faces-Dataset. Terms: the authors name none but to cite them;
the photos belong to their owners, so for research only.
Reference: Cheng, Li, Wang, Yu, Wang, "Exploiting Effective Facial Patches for Robust Gender Recognition",
Tsinghua Science and Technology 24(3), 2019.
"""

import re
from pathlib import Path

import pandas as pd

from ssrlib.datasets import existing, folder, lines, tables
from ssrlib.face_crop import Crop

# The photos show more than the face.
CROP = Crop()
LINE = re.compile(r"(?P<name>\d{5}A(?P<age>\d{2}))(\.jpg)?\s+(?P<gender>[01])")
GENDERS = ("female", "male")
SETS = ("train", "val")


def rows(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the photos of the extracted folder, which has `original images` and `image sets`.

    The authors' two sets are kept in the column `part`. Splits are by the hash of the file's name, as
    everywhere: each photo is said to show another person, though a few hundred are there twice. The 49
    points of `key points` are not read.

    Args:
        path: the folder; or a tar file with photos and a `labels.csv`, see `folder.rows`.

    Raises:
        FileNotFoundError: the folder or one of its lists is missing.
        ValueError: no line of the lists could be read.
    """
    path = existing(path, "folder")
    if path.is_file():
        packed, bad = folder.rows(path)
        return packed.assign(source="aaf"), bad
    good, rejects = [], []
    for part in SETS:
        for line in lines(path / "image sets" / f"{part}.txt", "list of All-Age-Faces"):
            match = LINE.fullmatch(line)
            if not match:
                rejects.append({"path": line, "reason": "the line is not NAME GENDER, gender 0 or 1"})
                continue
            photo = f"original images/{match['name']}.jpg"
            row = {"path": photo, "file": str(path / photo), "source": "aaf", "part": part}
            good.append(row | {"age": float(match["age"]), "gender": GENDERS[int(match["gender"])]})
    if not good:
        raise ValueError(f"{path}: the lists in `image sets` name no photo")
    return tables(good, rejects)
