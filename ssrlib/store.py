"""FaceStore: packed faces and their table in one folder on disk.

A store's folder holds `faces.npy` (uint8, N x 64 x 64 x 3, RGB), `rows.parquet` (one row per face),
`rejects.parquet` (path and reason of what was left out) and `store.json` (how the faces were
cropped, counts, checksums). Opening one costs milliseconds, whatever its size: the faces are
memory-mapped, and the tables are read when they are first asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pandas as pd

from ssrlib import FACE_SIZE, files

if TYPE_CHECKING:
    from ssrlib.face_crop import CropRecord

SPLITS = ("train", "validation", "test", "holdout")
SHAPE = (FACE_SIZE, FACE_SIZE, 3)
HEADER = 128
FACE_BYTES = int(np.prod(SHAPE))
FILES = ("faces.npy", "rows.parquet", "rejects.parquet")
# The names of all that a store has, a half-made one, too.
OURS = re.compile(
    r"(parts|plan|faces\.npy|(rows|rejects)(-\d+)?\.parquet|store\.json|report\.png)(\.partial)?"
    r"|\.DS_Store|Thumbs\.db"  # which systems put beside pictures unasked
)
JOINED_FACES = 4096
# Columns of two kinds cannot be one column; what is none of these is text.
KINDS = {
    "truth values": pd.api.types.is_bool_dtype,
    "numbers": pd.api.types.is_numeric_dtype,
    "dates": pd.api.types.is_datetime64_any_dtype,
}
NO_REJECTS = pd.DataFrame({"path": [], "reason": []}, dtype=str)


def split_of(name: str) -> str:
    """Return the split of a file name or subject: by its SHA-256, so that it never moves.

    Of 100 hash values, 0 to 9 are holdout (never trained or tuned on), 10 to 19 test, 20 to 29
    validation, and the rest train.

    >>> split_of("10_0_0_20170110220033115.jpg.chip.jpg")
    'train'
    """
    part = int(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest(), 16) % 100
    return "holdout" if part < 10 else "test" if part < 20 else "validation" if part < 30 else "train"


class FaceStore:
    """Faces and their rows, read from a folder that `write_store` made.

    Attributes:
        path: the folder.
        info: the contents of `store.json`.
        faces: uint8, N x 64 x 64 x 3, RGB, memory-mapped and read-only.
        rows: a table of N rows: `path`, `age` (years), `gender` ("female" or "male"), `source`,
            `subject`, `split`, and whatever else the dataset knows.
        rejects: a table of `path` and `reason`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is not a store, or a store that was not finished or was damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"{path}: no such store")
        try:
            self.info = json.loads((self.path / "store.json").read_text())
            self.faces = np.load(self.path / "faces.npy", mmap_mode="r")
            expected = (self.info["counts"]["faces"], *SHAPE)
            self._checksums = {name: self.info["sha256"][name] for name in FILES}
            self._rejects = self.info["counts"]["rejects"]
        except Exception as error:  # of damaged files, the readers raise whatever they meet
            raise ValueError(f"{path}: not a whole face store; prepare it again") from error
        if self.faces.shape != expected or self.faces.dtype != np.uint8:
            raise ValueError(f"{path}: faces.npy does not match store.json; prepare it again")
        if not isinstance(self.info.get("crop"), dict):
            raise ValueError(f"{path}: store.json does not say how the faces were cropped; prepare it again")

    @cached_property
    def rows(self) -> pd.DataFrame:
        return self._table("rows", len(self.faces))

    @cached_property
    def rejects(self) -> pd.DataFrame:
        return self._table("rejects", self._rejects)

    def _table(self, name: str, count: int) -> pd.DataFrame:
        try:
            content = (self.path / f"{name}.parquet").read_bytes()
            table = pd.read_parquet(BytesIO(content))
        except Exception as error:  # of a damaged file, the reader raises whatever it meets
            raise ValueError(f"{self.path}: {name}.parquet cannot be read; prepare it again") from error
        if len(table) != count:
            raise ValueError(
                f"{self.path}: {name}.parquet has {len(table)} rows instead of {count}; prepare it again"
            )
        if hashlib.sha256(content).hexdigest() != self._checksums[f"{name}.parquet"]:
            raise ValueError(
                f"{self.path}: {name}.parquet is not the one that was there when the store was opened; "
                "open it again, or prepare it again if that does not help"
            )
        return table

    def __len__(self) -> int:
        return len(self.faces)

    def __repr__(self) -> str:
        return f"FaceStore({str(self.path)!r}: {len(self):,} faces, {self._rejects:,} rejects)"

    def split(self, name: str) -> tuple[np.ndarray, pd.DataFrame]:
        """Return one split's faces (uint8, n x 64 x 64 x 3, in memory) and rows.

        Raises:
            ValueError: there is no such split, or the table of the rows is damaged.

        >>> from ssrlib.datasets import synthetic
        >>> faces, rows = synthetic.store(200).split("validation")
        >>> len(faces) == len(rows) and set(rows.split) == {"validation"}
        True
        """
        if name not in SPLITS:
            raise ValueError(f"there is no split {name!r}; there are: {', '.join(SPLITS)}")
        chosen = np.flatnonzero(self.rows["split"] == name)
        return self.faces[chosen], self.rows.iloc[chosen].reset_index(drop=True)

    def places(self, split: str) -> np.ndarray:
        """Return the numbers of a split's rows.

        Raises:
            ValueError: no face is in it, or the table of the rows is damaged.

        >>> from ssrlib.datasets import synthetic
        >>> len(synthetic.store(200).places("validation"))
        28
        """
        found = np.flatnonzero(self.rows["split"] == split)
        if not len(found):
            there = ", ".join(sorted(self.rows["split"].unique()))
            raise ValueError(
                f"{self.path}: no face is in the split {split!r}; there are: {there}"
                "; add a split column to your table, or more people"
            )
        return found

    def describe(self) -> pd.DataFrame:
        """Return a table of the splits: faces, share of female faces, and the ages' quartiles.

        `plots.store_report` shows the same as a figure.
        """
        groups = self.rows.groupby("split")
        ages = (
            groups["age"]
            .quantile(np.array([0.25, 0.5, 0.75]))
            .unstack()
            .set_axis(["25 %", "median", "75 %"], axis=1)
        )
        known = self.rows[self.rows["gender"].notna()]
        female = known["gender"].eq("female").groupby(known["split"]).mean().rename("female")
        table = pd.concat([groups.size().rename("faces"), female, ages], axis=1)
        return table.reindex([name for name in SPLITS if name in table.index])

    def verify(self) -> None:
        """Compare every file with its checksum in `store.json`; this reads the whole store.

        Raises:
            ValueError: a file has changed since the store was written.
        """
        for name, checksum in self._checksums.items():
            if _sha256(self.path / name) != checksum:
                raise ValueError(f"{self.path}: {name} has changed since it was written; prepare it again")


Chunk = tuple[np.ndarray, pd.DataFrame, pd.DataFrame]


def write_store(
    path: str | Path,
    chunks: Callable[[int], Iterable[Chunk]],
    crop: CropRecord,
    plan: str | None = None,
    joined: list[dict[str, Any]] | None = None,
) -> FaceStore:
    """Write a store from chunks of (faces, rows, rejects), and open it.

    The store is built in a folder beside its place and moved in whole, so that a store that was
    interrupted is never taken for a finished one, and an older one there is kept until then. Only one
    chunk's faces are in memory at a time.

    Args:
        path: the folder to make; an existing store there is replaced at the end.
        chunks: `chunks(n)` yields faces (uint8, n x 64 x 64 x 3), their rows, and the rejects met
            on the way, from chunk number n on.
        crop: how the faces were cut from their photos, a `face_crop.CropRecord`; kept in `store.json`.
        plan: what tells this job from others. If a job with the same plan was interrupted, this
            one goes on where that one stopped; without a plan, it starts anew.
        joined: of which stores it is made, as `join` writes them; kept in `store.json`.

    Raises:
        ValueError: there is something else at `path`, or where it is built, or no chunk has a face.
        OSError: another process writes there, or the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path / "store.json").is_file():
        raise ValueError(f"{path}: exists and is not a face store; choose another place")
    if path.is_symlink() or path.name in ("", ".."):  # what moves is the folder itself
        path = path.resolve()
    partial, replaced = (path.with_name(path.name + suffix) for suffix in (".partial", ".replaced"))
    with files.alone(path):
        if (replaced / "store.json").is_file() and not path.exists():  # stopped between the two moves below
            replaced.rename(path)
        for folder in (path, partial, replaced):
            _refuse_others(folder)
        if not _finished(partial, plan):
            done = _resume(partial, plan)
            for number, chunk in enumerate(chunks(done), start=done):
                _append(partial, number, chunk)
            _finish(partial, crop, plan, joined)
        with files.naming(path.parent):
            shutil.rmtree(partial / "parts", ignore_errors=True)
            shutil.rmtree(replaced, ignore_errors=True)
            if path.exists():
                path.rename(replaced)
            partial.rename(path)
            shutil.rmtree(replaced, ignore_errors=True)
        return FaceStore(path)


def join(stores: Sequence[FaceStore], out: str | Path) -> FaceStore:
    """Write one store with the faces of several, for instance to train on them together.

    The rows' `source` says where each face comes from, and every face keeps its split. A column that one
    of the stores lacks is empty for its faces. In `info`, the whole has the crop of the first store whose
    faces were found, and `"joined"` has each store's own: its name, how many faces it has, and their crop.

    Args:
        stores: each cropped alike. Faces that others had cropped already join those that a detector found.
        out: the folder to make.

    Raises:
        ValueError: a store's faces show another part of the face than the first one's, or another detector
            found them; a column is of another kind in one of them: text and numbers, say; one of them is
            named twice; or `out` is one of them.

    >>> from tempfile import TemporaryDirectory
    >>> from ssrlib.datasets import synthetic
    >>> with TemporaryDirectory() as folder:
    ...     len(join([synthetic.store(20), synthetic.store(30, seed=1)], f"{folder}/both"))
    50
    """
    if Path(out).exists() and any(store.path.samefile(out) for store in stores):
        raise ValueError(f"{out}: is one of the stores to join, and would be replaced; choose another place")
    for number, store in enumerate(stores):
        if store.path.resolve() in [other.path.resolve() for other in stores[:number]]:
            raise ValueError(f"{store.path}: named twice, so each of its faces would be there twice")
    crop = _crop_of_all(stores)
    _check_columns(stores)

    def chunks(done: int) -> Iterable[Chunk]:
        parts = [
            (store, start, store.rejects if start == 0 else NO_REJECTS)
            for store in stores
            for start in range(0, len(store), JOINED_FACES)
        ]
        for store, start, rejects in parts[done:]:
            part = slice(start, start + JOINED_FACES)
            yield np.asarray(store.faces[part]), store.rows.iloc[part], rejects

    plan = json.dumps([store.info["sha256"] for store in stores])
    return write_store(out, chunks, crop, plan, [part for store in stores for part in _parts(store)])


def _crop_of_all(stores: Sequence[FaceStore]) -> CropRecord:
    """Refuse faces that were cut out otherwise than the first ones, before all are copied."""
    crop: CropRecord = stores[0].info["crop"]
    for store in stores[1:]:
        for name in ("margin", "shift"):
            if store.info["crop"].get(name) != crop.get(name):
                raise ValueError(
                    f"{store.path}: cropped with another {name} than {stores[0].path}; prepare both alike"
                )
    first, *others = [store for store in stores if "detector" in store.info["crop"]] or stores
    crop = first.info["crop"]
    for store in others:
        if (by := store.info["crop"].get("detector")) != crop.get("detector"):
            raise ValueError(
                f"{store.path}: its faces were found by {by}, and those of {first.path} by "
                f"{crop['detector']}; prepare both with the same --detector"
            )
    return crop


def _parts(store: FaceStore) -> list[dict[str, Any]]:
    """What `store.json` says of the stores that this one was joined from, or else of this one."""
    known = store.info.get("joined")  # only a store that was joined has it
    own = {"store": store.path.resolve().name, "faces": len(store), "crop": store.info["crop"]}
    return known if isinstance(known, list) else [own]


def _check_columns(stores: Sequence[FaceStore]) -> None:
    """Refuse columns that no one table could hold, before all faces are copied."""
    known: dict[str, tuple[str, FaceStore]] = {}
    for store in stores:
        for name, values in store.rows.dropna(axis="columns", how="all").items():
            kind = next((word for word, is_kind in KINDS.items() if is_kind(values)), "text")
            before, first = known.setdefault(str(name), (kind, store))
            if kind != before:
                raise ValueError(
                    f"{store.path}: its column {name} is {kind}, and that of {first.path} is {before}; "
                    "prepare both alike, or one without it"
                )


def _refuse_others(folder: Path) -> None:
    """Refuse a folder with anything in it that no store has: what is in it will be removed."""
    for path in folder.rglob("*"):
        if not OURS.fullmatch(path.name):
            raise ValueError(
                f"{folder}: has {path.name} in it, which is no part of a store and would be lost; "
                "move that folder, or choose another place for the store"
            )


def _finished(partial: Path, plan: str | None) -> bool:
    """Whether a job with this plan was stopped after its last file was written, before the move."""
    try:
        return plan is not None and bool(json.loads((partial / "store.json").read_text())["plan"] == plan)
    except (OSError, ValueError, KeyError, TypeError):  # it is not there, or damaged
        return False


def _resume(partial: Path, plan: str | None) -> int:
    """Return the number of chunks that are there already, after removing what is there of the next one."""
    known = partial / "parts" / "plan"
    with files.naming(partial):
        if plan is None or not known.is_file() or known.read_text() != plan:
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "parts").mkdir(parents=True)
            (partial / "faces.npy").touch()
            known.write_text(plan or "")
        rows = sorted((partial / "parts").glob("rows-*.parquet"))
        count = sum(pd.read_parquet(part, columns=["path"]).shape[0] for part in rows)
        os.truncate(partial / "faces.npy", HEADER + count * FACE_BYTES)
    return len(rows)


def _append(partial: Path, number: int, chunk: Chunk) -> None:
    """Add a chunk. Its rows appear last, in one move: with them, the chunk counts as done."""
    faces, rows, rejects = chunk
    if faces.shape[1:] != SHAPE or faces.dtype != np.uint8 or len(faces) != len(rows):
        raise ValueError(f"faces must be uint8, n x 64 x 64 x 3, with n rows; got {faces.shape}")
    parts = partial / "parts"
    with files.naming(partial):
        with (partial / "faces.npy").open("ab") as file:
            file.write(np.ascontiguousarray(faces).data)
        files.flush(partial / "faces.npy")
        refused = parts / f"rejects-{number:06}.parquet"
        if len(rejects) or number == 0:  # the first has the columns, if all others are empty
            rejects.to_parquet(refused)
            files.flush(refused)
        else:
            refused.unlink(missing_ok=True)  # of a run that stopped here, when a photo was still missing
        with files.atomic_write(parts / f"rows-{number:06}.parquet") as new:
            rows.to_parquet(new)


def _finish(partial: Path, crop: CropRecord, plan: str | None, joined: list[dict[str, Any]] | None) -> None:
    """Make whole files of the parts. `store.json` comes last: with it, the store is complete."""
    rows, rejects = (
        pd.concat([pd.read_parquet(part) for part in sorted((partial / "parts").glob(f"{name}-*.parquet"))])
        for name in ("rows", "rejects")
    )
    if rows.empty:
        shutil.rmtree(partial)  # or the same command, given again with what was missing, would end here again
        reasons = rejects["reason"].value_counts()
        why = f"; the most frequent reason: {reasons.index[0]}" if len(reasons) else ""
        raise ValueError(f"{partial.with_suffix('')}: not one photo gave a face{why}")
    with files.naming(partial):
        rows.to_parquet(partial / "rows.parquet", index=False)
        rejects.to_parquet(partial / "rejects.parquet", index=False)
        with (partial / "faces.npy").open("r+b") as file:
            _write_header(file, len(rows))
        for name in FILES:
            files.flush(partial / name)
        info = {
            "format": 1,
            "crop": crop,
            **({"joined": joined} if joined else {}),
            "plan": plan,
            "counts": {"faces": len(rows), "rejects": len(rejects)},
            "sha256": {name: _sha256(partial / name) for name in FILES},
        }
        with files.atomic_write(partial / "store.json") as new:
            new.write_text(json.dumps(info, indent=2) + "\n")


def _write_header(file: BinaryIO, count: int) -> None:
    """A .npy header of always the same length, whatever the count: numpy leaves room to grow."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
    )
    assert file.tell() == HEADER


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
