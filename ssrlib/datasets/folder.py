"""Your own photos: a table that says which photo shows whom at what age."""

from pathlib import Path
from typing import Any

import pandas as pd

from ssrlib.datasets import existing, tables
from ssrlib.face_crop import Crop
from ssrlib.store import SPLITS

CROP = Crop()


def rows(table: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a CSV or parquet file with the columns path, age and, if known, gender, subject, split.

    Paths are relative to the table's folder. Gender is "female", "male" or empty. People with the
    same subject go to one split; a `split` column decides itself.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or lacks a column.
    """
    table = existing(table, "table")
    try:
        listed = pd.read_parquet(table) if table.suffix == ".parquet" else pd.read_csv(table, dtype=str)
        records = listed.astype(object).where(listed.notna(), None).to_dict("records")
    except Exception as error:  # of a damaged file, the readers raise whatever they meet
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"{table}: not a CSV or parquet file that can be read ({reason})") from error
    missing = {"path", "age"} - set(listed.columns)
    if missing:
        raise ValueError(f"{table}: there is no column {' and no column '.join(sorted(missing))}")
    good, bad = [], []
    for row in records:
        try:
            good.append(_checked(row) | {"file": str(table.parent / row["path"]), "source": "folder"})
        except ValueError as error:
            bad.append({"path": row["path"], "reason": str(error)})
    if not good:
        raise ValueError(f"{table}: no row has a path and an age from 0 to 120")
    return tables(good, bad)


def _checked(row: dict[Any, Any]) -> dict[str, Any]:
    if not isinstance(row["path"], str) or not row["path"] or "\0" in row["path"]:
        raise ValueError("no path")
    try:
        age = float(row["age"])
    except (TypeError, ValueError):
        raise ValueError("the age is not a number") from None
    if not 0 <= age <= 120:
        raise ValueError("age not from 0 to 120")
    if row.get("gender") not in ("female", "male", None):
        raise ValueError('the gender is neither "female" nor "male"')
    if row.get("split") not in (*SPLITS, None):
        raise ValueError(f"the split is none of {', '.join(SPLITS)}")
    return row | {"age": age}
