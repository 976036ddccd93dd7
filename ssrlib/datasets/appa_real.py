"""APPA-REAL: 7,591 photos of people from 0 to 100 years, with their real age and the age that others saw.

Source: https://chalearnlap.cvc.uab.cat/dataset/26/description/. Terms: for research only; the photos belong
to their owners.
Reference: Agustsson, Timofte, Escalera, Baro, Guyon, Rothe, "Apparent and Real Age Estimation in Still Images
with Deep Residual Regressors on APPA-REAL Database", FG 2017.
"""

from pathlib import Path

import pandas as pd

from ssrlib.datasets import existing, folder, tables
from ssrlib.face_crop import Crop

# Their crops show the face with a margin of 40 %, turned upright by their detector.
CROP = Crop()
# The authors' parts; packed copies say "val".
PARTS = ("train", "valid", "test")
SPLIT_OF = {"train": "train", "valid": "validation", "val": "validation", "test": "test"}
COLUMNS = {"file_name", "apparent_age_avg", "apparent_age_std", "real_age"}


def rows(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the face crops of the extracted folder, which has `gt_avg_*.csv` and a folder for each part.

    `age` is the real age; `apparent_age` and `apparent_std` are the mean and the spread of what about 38
    people guessed. Splits are the authors' own parts, on which others published their results.

    Args:
        path: the folder; or a tar file with photos and a `labels.csv`, see `folder.rows`. There, whose
            ages are in the table is for its maker to say.

    Raises:
        FileNotFoundError: the folder or one of its tables is missing.
        ValueError: a table cannot be read, or no row has an age.
    """
    path = existing(path, "folder")
    if path.is_file():
        packed, bad = folder.rows(path)
        parts = packed.get("part", pd.Series(index=packed.index, dtype="str"))
        if not parts.isin(SPLIT_OF).all():
            raise ValueError(f"{path}: its labels.csv must have a column part with {', '.join(SPLIT_OF)}")
        return packed.assign(source="appa_real", split=parts.map(SPLIT_OF)), bad
    good, rejects = [], []
    for part in PARTS:
        for row in _table(path / f"gt_avg_{part}.csv").to_dict("records"):
            photo = f"{part}/{row['file_name']}_face.jpg"
            if not 0 <= row["real_age"] <= 120:
                rejects.append({"path": photo, "reason": "age not from 0 to 120"})
                continue
            found = {"path": photo, "file": str(path / photo), "source": "appa_real"}
            found |= {"age": row["real_age"], "part": part, "split": SPLIT_OF[part]}
            found |= {"apparent_age": row["apparent_age_avg"], "apparent_std": row["apparent_age_std"]}
            good.append(found)
    if not good:
        raise ValueError(f"{path}: no row of the tables has an age from 0 to 120")
    return tables(good, rejects)


def _table(file: Path) -> pd.DataFrame:
    existing(file, "table of APPA-REAL")
    try:
        table = pd.read_csv(file)
        table["real_age"] = pd.to_numeric(table["real_age"], errors="coerce")
    except Exception as error:  # of a damaged file, the reader raises whatever it meets
        raise ValueError(f"{file}: not the table that its name promises") from error
    if missing := COLUMNS - set(table.columns):
        raise ValueError(f"{file}: there is no column {' and no column '.join(sorted(missing))}")
    return table
