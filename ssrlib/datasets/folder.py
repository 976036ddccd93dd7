"""Your own photos: a table that says which photo shows whom at what age."""

import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

import pandas as pd

from ssrlib.datasets import existing, members, tables
from ssrlib.face_crop import Crop
from ssrlib.store import SPLITS, split_of

CROP = Crop()
NEEDED = ("path", "age")
OURS = {"file", "offset", "size", "source"}
LABELS = "labels.csv"


def rows(table: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a CSV or parquet file with the columns path, age and, if known, gender, subject, split.

    Paths are relative to the table's folder. Gender is "female", "male" or empty. People with the
    same subject go to one split: the one that a `split` column gives to some of them, if there is one. Where
    it gives them several, those are kept, with a warning, and the rest go by the hash. A photo that has
    neither goes by its name, or by its path where others have its name. In a CSV, an empty cell means
    unknown, and so does NA or None. Other columns are kept as they are.

    Photos may also lie in a tar file, beside a table named `labels.csv`; they are read in place.

    Args:
        table: the CSV, parquet or tar file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, lacks a column, or has one with several values in a row; or no
            row can be used.
    """
    table = existing(table, "table")
    if table.is_dir():
        raise ValueError(
            f"{table}: a folder; give the table in it, a CSV or parquet file with the columns path and age"
        )
    packed = members(table) if table.suffix == ".tar" else None
    beside = _labels_of(table, packed) if packed is not None else table
    try:
        listed = _listed(table, packed[str(beside)] if packed else None)
        records = listed.astype(object).where(listed.notna(), None).to_dict("records")
    except Exception as error:  # of a damaged file, the readers raise whatever they meet
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"{table}: not a CSV or parquet file that can be read ({reason})") from error
    missing = set(NEEDED) - set(listed.columns)
    if missing and any(sign in str(name) for name in listed for sign in ";\t"):
        raise ValueError(f"{table}: no columns {' and '.join(NEEDED)}; columns are separated by commas")
    if missing:
        raise ValueError(f"{table}: there is no column {' and no column '.join(sorted(missing))}")
    if taken := OURS & set(listed.columns):
        names = " and ".join(sorted(taken))
        raise ValueError(f"{table}: rename the columns {names}: a store needs these names for itself")
    nested = [str(name) for name in listed if listed[name].map(pd.api.types.is_list_like).any()]
    if nested:
        raise ValueError(f"{table}: leave out the columns with several values in a row: {', '.join(nested)}")
    if not records:
        raise ValueError(f"{table}: the table has no rows")
    good, bad = [], []
    for row in records:
        try:
            checked = _checked(row)
            name = str(beside.parent / row["path"])
            place = {"file": name} if packed is None else _place(packed, name)
            good.append(checked | place | {"source": "folder"})
        except ValueError as error:
            bad.append({"path": row["path"], "reason": str(error)})
    if not good:
        ((reason, _),) = Counter(row["reason"] for row in bad).most_common(1)
        raise ValueError(f"{table}: no row can be used; the most frequent reason: {reason}")
    _keep_together(table, good)
    _part_namesakes(table, good)
    return tables(good, bad)


def _keep_together(table: Path, rows: list[dict[str, Any]]) -> None:
    """Give all photos of a person the split that some of them were given."""
    given: dict[str, set[str]] = {}
    for row in rows:
        if row["subject"] is not None and row.get("split") is not None:
            given.setdefault(row["subject"], set()).add(row["split"])
    for row in rows:
        if row.get("split") is None and len(splits := given.get(row["subject"], set())) == 1:
            row["split"] = min(splits)
    apart = sorted(subject for subject, splits in given.items() if len(splits) > 1)
    if apart:
        warnings.warn(
            f"{table}: the column split puts photos of one person into several splits, so errors will look "
            f"too small: {', '.join(apart[:3])}{' and others' if len(apart) > 3 else ''}",
            stacklevel=3,
        )


def _part_namesakes(table: Path, rows: list[dict[str, Any]]) -> None:
    """Give photos of one name, such as `ann/1.jpg` and `bob/1.jpg`, splits by their paths."""
    alone = [row for row in rows if row["subject"] is None and row.get("split") is None]
    names = Counter(PurePosixPath(path).name for path in {normpath(row["path"]) for row in alone})
    namesakes = [row for row in alone if names[PurePosixPath(row["path"]).name] > 1]
    for row in namesakes:
        row["split"] = split_of(normpath(row["path"]))
    if namesakes:
        warnings.warn(
            f"{table}: {len(namesakes)} photos have a name that others have, so their splits go by their "
            "paths, and move when a photo gets its first namesake; if a folder is a person, add a column "
            "subject, which keeps each person in one split",
            stacklevel=3,
        )


def _labels_of(tar: Path, packed: dict[str, dict[str, Any]]) -> PurePosixPath:
    """The one table in a tar file."""
    found = [PurePosixPath(name) for name in packed if PurePosixPath(name).name == LABELS]
    if len(found) != 1:
        raise ValueError(f"{tar}: it must hold one {LABELS}, not {len(found)}")
    return found[0]


def _listed(table: Path, place: dict[str, Any] | None) -> pd.DataFrame:
    """The table as it is; in a tar file, the one at that place."""
    if place:
        with table.open("rb") as file:
            file.seek(place["offset"])
            return pd.read_csv(BytesIO(file.read(place["size"])), dtype=str)
    return pd.read_parquet(table) if table.suffix == ".parquet" else pd.read_csv(table, dtype=str)


def _place(packed: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in packed:
        raise ValueError("not in the tar file")
    return packed[name]


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
    subject = row.get("subject")
    return row | {"age": age, "subject": None if subject is None else str(subject)}
