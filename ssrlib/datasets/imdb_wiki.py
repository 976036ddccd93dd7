"""IMDB-WIKI: half a million photos of celebrities, with noisy ages.

Source: https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/ (the "faces only" archives). Terms: for
academic research only. Ages are the photo's year minus the birthday that a web page gave, so a wrong
year, a wrong person or a film's still makes a wrong age. Reference: Rothe, Timofte, Van Gool, IJCV
2018.
"""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from ssrlib.datasets import existing, tables
from ssrlib.face_crop import CroppedAlready

# The archives' photos are the detector's box and 40 % of its size around it.
CROP = CroppedAlready(margin=0.4, shift=0.0)


def rows(
    path: str | Path,
    min_face_score: float = 1.0,
    max_second_face_score: float = 0.0,
    min_age: int = 0,
    max_age: int = 100,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read `imdb.mat` or `wiki.mat` in a folder such as `imdb_crop`, and filter.

    People are kept apart by name, so that a person of both parts is in one split.

    Args:
        path: the folder; the photos lie in its subfolders.
        min_face_score: below it, the detector was not sure that there is a face.
        max_second_face_score: above it, a second face may be the one that the label means.
        min_age, max_age: outside them, the label is wrong.

    Raises:
        FileNotFoundError: there is no such folder, or no `.mat` file in it.
        ValueError: the `.mat` file is damaged or of another kind, or both are in the folder, or no photo
            passes the filters.
    """
    path = existing(path, "folder")
    found = [path / name for name in ("imdb.mat", "wiki.mat") if (path / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{path}: neither imdb.mat nor wiki.mat is here")
    if len(found) > 1:
        raise ValueError(f"{path}: imdb.mat and wiki.mat are both here; give each a folder of its own")
    source = found[0].stem
    table = _read(found[0], source)
    reasons = np.select(
        [
            np.isneginf(table["face_score"]),
            table["face_score"] < min_face_score,
            table["second_face_score"] > max_second_face_score,
            ~table["age"].between(min_age, max_age),
            ~table["gender"].isin([0, 1]),
        ],
        [
            "no face was detected",
            f"face score below {min_face_score:g}",
            f"a second face with a score above {max_second_face_score:g}",
            f"age not from {min_age} to {max_age}",
            "gender unknown",
        ],
        default="",
    )
    kept, bad = table[reasons == ""], pd.DataFrame({"path": table["path"], "reason": reasons})[reasons != ""]
    if kept.empty:
        why = f"; the most frequent reason: {bad['reason'].mode()[0]}" if len(bad) else ""
        raise ValueError(f"{found[0]}: no photo passes the filters{why}")
    good = pd.DataFrame(
        {
            "path": kept["path"],
            "file": [str(path / name) for name in kept["path"]],
            "age": kept["age"],
            "gender": kept["gender"].map({0: "female", 1: "male"}),
            "source": source,
            "subject": kept["subject"],
            "face_score": kept["face_score"],
        }
    )
    return tables(good.to_dict("records"), bad.to_dict("records"))


def age(birthday: int, photo_taken: int) -> int:
    """Return the age in years at the end of June of a photo's year.

    Args:
        birthday: a Matlab day number; 1 is 1 January of the year 0.
        photo_taken: a year.

    >>> age(723671, 2009)  # born on 10 May 1981
    28
    """
    birth = date.fromordinal(min(max(int(birthday) - 366, 1), date.max.toordinal()))
    return int(photo_taken) - birth.year - (birth.month >= 7)


def _read(file: Path, source: str) -> pd.DataFrame:
    from scipy.io import loadmat

    try:
        content = loadmat(file)
    except Exception as error:  # of a damaged file, it raises whatever it meets
        raise ValueError(f"{file}: not IMDB-WIKI's metadata, or damaged") from error
    try:
        record = content[source][0, 0]
        column = {name: record[name][0] for name in record.dtype.names if record[name].size}
        names = [_text(name) for name in column["name"]] if "name" in column else []
        ids = column.get("celeb_id", np.full(len(column["dob"]), np.nan))
        people = names or [""] * len(ids)
        return pd.DataFrame(
            {
                "path": [_text(name) for name in column["full_path"]],
                "age": [age(*pair) for pair in zip(column["dob"], column["photo_taken"], strict=True)],
                "gender": column["gender"].astype(float),
                "face_score": column["face_score"].astype(float),
                "second_face_score": column["second_face_score"].astype(float),
                "subject": [
                    name or (f"{source}-{number:g}" if number == number else None)
                    for name, number in zip(people, ids, strict=True)
                ],
            }
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{file}: not IMDB-WIKI's metadata, or damaged") from error


def _text(cell: np.ndarray) -> str:
    """The string in one of Matlab's cells: an array of one string, or an empty array."""
    cell = np.ravel(cell)
    return str(cell[0]).strip() if len(cell) else ""
