"""MegaAge-Asian: 40,000 faces of Asian people from 0 to 70 years, without gender.

Source: http://mmlab.ie.cuhk.edu.hk/projects/MegaAge/. Terms: for non-commercial research only.
Reference: Zhang, Liu, Li, Loy, "Quantifying Facial Age by Posterior of Age Comparisons", BMVC 2017.
"""

from pathlib import Path

import pandas as pd

from ssrlib.datasets import existing, lines, tables
from ssrlib.face_crop import CroppedAlready
from ssrlib.store import split_of

# The authors of SSR-Net cut 20 pixels off the top and the bottom of each photo.
CROP = CroppedAlready(cut_rows=20)


def rows(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the lists of a `megaage_asian` folder.

    The published test list is the test split. Of the train list, a tenth (hash values 20 to 29, as
    everywhere) is validation, and the rest train.

    Raises:
        FileNotFoundError: the folder or one of its four lists is missing.
        ValueError: a list of names and its list of ages differ in length, or no line can be used.
    """
    path = existing(path, "folder")
    good, bad = [], []
    for part in ("train", "test"):
        listed = (path / "list" / f"{part}_{kind}.txt" for kind in ("name", "age"))
        names, ages = (lines(file, "list of MegaAge-Asian") for file in listed)
        if len(names) != len(ages):
            raise ValueError(f"{path}/list: {len(names)} names of the {part} list, but {len(ages)} ages")
        for name, age in zip(names, ages, strict=True):
            photo = f"{part}/{name}"
            if not age.isdecimal() or not 0 <= int(age) <= 70:
                bad.append({"path": photo, "reason": "age not from 0 to 70"})
                continue
            split = "test" if part == "test" else "validation" if split_of(photo) == "validation" else "train"
            row = {
                "path": photo,
                "file": str(path / photo),
                "age": int(age),
                "source": "megaage",
                "split": split,
            }
            good.append(row)
    if not good:
        raise ValueError(f"{path}/list: names no photo with an age from 0 to 70")
    return tables(good, bad)
