"""One module a dataset. Each knows how its labels are written; none of them opens a photo.

`rows(path)` returns two tables. The first has one row per photo: `path` (its name in the dataset),
`file`, `offset` and `size` (where its bytes are: from `offset` on in `file`; a size of -1 means up to
the end), `age`, `gender`, `source`, `subject`, `split`, and whatever else the dataset knows. The
second has the `path` and `reason` of what cannot be used. `CROP` says how to get faces from the
photos: a `ssrlib.face_crop.Crop`.
"""

import tarfile
from collections.abc import Iterable
from pathlib import Path
from posixpath import normpath
from typing import Any

import pandas as pd

from ssrlib.store import split_of

COLUMNS = ["path", "file", "offset", "size", "age", "gender", "source", "subject", "split"]


def tables(
    good: Iterable[dict[Any, Any]], bad: Iterable[dict[Any, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Complete the rows, and return both tables with all their columns.

    A row without `offset` and `size` is a whole file; a row without a `split` gets its subject's, or
    where no subject is known its name's. A photo whose name is not UTF-8 goes to the rejects, since no
    table could hold the name.
    """
    good, bad = _apart(good, bad)
    rows = pd.DataFrame(good)
    for column, value in {"offset": 0, "size": -1, "gender": None, "subject": None, "split": None}.items():
        rows[column] = (
            rows[column].astype(object).where(rows[column].notna(), value) if column in rows else value
        )
    names = rows["subject"].where(rows["subject"].notna(), rows["path"].map(_name))
    rows["split"] = rows["split"].where(rows["split"].notna(), names.map(split_of))
    rows = rows.astype(
        {"age": "float64", "gender": "str", "subject": "str", "offset": "int64", "size": "int64"}
    )
    return rows[COLUMNS + [column for column in rows if column not in COLUMNS]], pd.DataFrame(
        bad, columns=["path", "reason"], dtype="str"
    )


def _apart(
    good: Iterable[dict[Any, Any]], bad: Iterable[dict[Any, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Keep the photos with names that are text, and reject the others."""
    kept, rejects = [], list(bad)
    for row in good:
        if _text(row["file"]) == row["file"] and _text(row["path"]) == row["path"]:
            kept.append(row)
        else:
            reason = "the name is not UTF-8; rename the file or its folder"
            rejects.append({"path": row["path"], "reason": reason})
    rejects = [row | {"path": _text(row["path"])} for row in rejects]
    if rejects and not kept:
        raise ValueError(f"{rejects[-1]['path']}, and all others like it: {rejects[-1]['reason']}")
    return kept, rejects


def _text(name: object) -> object:
    """A name as text: bytes that are not UTF-8 are written as `\\xff`."""
    if not isinstance(name, str):
        return name
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def existing(path: str | Path, what: str) -> Path:
    """Return a path that is there, or raise a FileNotFoundError that says what was expected."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such {what}")
    return path


def lines(file: Path, what: str) -> list[str]:
    """Return the lines of a text that are not empty, without the blanks around them.

    Raises:
        FileNotFoundError: there is no such file; the message says what was expected.
        ValueError: it is not a text.
    """
    try:
        text = existing(file, what).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not a text, or a damaged one") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def members(tar: Path) -> dict[str, dict[str, Any]]:
    """Return where the bytes of each file in a tar are: its `file`, `offset` and `size`, by its name.

    Nothing is extracted.

    Raises:
        ValueError: the tar is damaged.
    """
    try:
        with tarfile.open(tar, "r:") as archive:
            return {
                normpath(member.name): {"file": str(tar), "offset": member.offset_data, "size": member.size}
                for member in archive
                if member.isfile()
            }
    except tarfile.TarError as error:
        raise ValueError(f"{tar}: not a whole tar file ({error})") from error
