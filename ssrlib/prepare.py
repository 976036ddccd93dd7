"""A dataset's rows and photos become a FaceStore."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ssrlib import faces as photos
from ssrlib import store

CHUNK = 512


def prepare(rows: pd.DataFrame, rejects: pd.DataFrame, out: str | Path, crop: dict) -> store.FaceStore:
    """Read every row's photo, resize it to a face, and write them all to a FaceStore.

    A photo that cannot be read goes to the rejects with the reason, and the run goes on.

    Args:
        rows, rejects: what a dataset's `rows` returned.
        out: the store's folder.
        crop: the dataset's crop recipe.
    """
    return store.write(out, _chunks(rows, rejects), crop)


def _chunks(rows: pd.DataFrame, rejects: pd.DataFrame) -> Iterator[store.Chunk]:
    yield np.empty((0, *store.SHAPE), np.uint8), _public(rows.iloc[:0]), rejects
    with tqdm(total=len(rows), unit="photo", desc="prepare") as bar:
        for start in range(0, len(rows), CHUNK):
            chunk = rows.iloc[start : start + CHUNK]
            faces, reasons = [], {}
            for index, row in zip(chunk.index, chunk.itertuples(), strict=True):
                try:
                    faces.append(photos.resize(photos.read(photo_bytes(row), row.path)))
                except (OSError, ValueError) as error:
                    reasons[index] = str(error)
            bad = pd.DataFrame({"path": chunk.loc[list(reasons), "path"], "reason": list(reasons.values())})
            stacked = np.stack(faces) if faces else np.empty((0, *store.SHAPE), np.uint8)
            yield stacked, _public(chunk.drop(index=list(reasons))), bad
            bar.update(len(chunk))


def _public(rows: pd.DataFrame) -> pd.DataFrame:
    """A store's rows say which photo a face came from, not where it lay on the machine that made it."""
    return rows.drop(columns=["file", "offset", "size"])


def photo_bytes(row) -> bytes:
    """Read the bytes of a photo that a row of a dataset's `rows` points to."""
    with open(row.file, "rb") as file:
        file.seek(row.offset)
        return file.read(row.size)
