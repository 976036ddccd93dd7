"""A dataset's rows and photos become a FaceStore: in parallel, resumable, nothing lost."""

import hashlib
import json
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ssrlib.face_crop import Crop, PhotoError, extract_face
from ssrlib.store import SHAPE, Chunk, FaceStore, write_store

CHUNK = 256
FEW_PARTS = 80
Extracted = tuple[np.ndarray, dict[int, str]]
WHERE = ["file", "offset", "size"]


def prepare(
    rows: pd.DataFrame,
    rejects: pd.DataFrame,
    out: str | Path,
    crop: Crop,
    executor: Executor | None = None,
) -> FaceStore:
    """Read every row's photo, get a face from it, and write them all to a FaceStore.

    A photo that cannot be used goes to the rejects with the reason, and the run goes on. A run that
    was interrupted at any moment goes on where it stopped when it is started again the same way, and
    ends with the same files, byte for byte.

    Args:
        rows, rejects: what a dataset's `rows` returned.
        out: the store's folder.
        crop: the dataset's `CROP`, see `face_crop.extract_face`.
        executor: where the work is done, for instance `distributed.Client().get_executor()` for the
            machines of a Dask cluster, which must see the photos under the same paths; by default
            one process per core, or for up to 20,000 photos one thread per core. In a script, call this below
            `if __name__ == "__main__":`.

    Raises:
        ValueError: not one photo gave a face, or there is something else at `out`.
        OSError: another process writes there, the folder cannot be written, or a helper was ended.
    """
    rows = rows.reset_index(drop=True)  # joined tables can have one label twice

    def chunks(start: int) -> Iterator[Chunk]:
        if start == 0:
            yield np.empty((0, *SHAPE), np.uint8), rows.iloc[:0].drop(columns=WHERE), rejects
        first = max(0, start - 1)
        parts = [rows.iloc[i : i + CHUNK] for i in range(first * CHUNK, len(rows), CHUNK)]
        pool = nullcontext(executor) if executor else _pool(len(parts))
        with (
            tqdm(total=len(rows), initial=first * CHUNK, unit="photo", desc="prepare") as bar,
            pool as workers,
        ):
            for part, (faces, reasons) in zip(parts, _in_order(workers, parts, crop), strict=True):
                bad = part.index[list(reasons)]
                refused = pd.DataFrame({"path": part.loc[bad, "path"], "reason": list(reasons.values())})
                yield faces, part.drop(index=bad, columns=WHERE), refused
                bar.update(len(part))

    with warnings.catch_warnings(action="ignore"):  # for all threads that read photos
        return write_store(out, chunks, crop.record(), plan=_fingerprint(rows, rejects, crop))


def extract_all(places: Sequence[tuple[str, str, int, int]], crop: Crop) -> Extracted:
    """Get the faces of a few photos: uint8, n x 64 x 64 x 3, and the reason for each that has none.

    Args:
        places: path, file, offset and size of each photo, as in a dataset's rows.
        crop: see `face_crop.extract_face`.
    """
    faces, count = np.empty((len(places), *SHAPE), np.uint8), 0
    reasons: dict[int, str] = {}
    for number, (path, file, offset, size) in enumerate(places):
        try:
            faces[count] = extract_face(photo_bytes(file, offset, size), path, crop)
            count += 1
        except (OSError, PhotoError) as error:
            # The path has a column of its own; without it, equal reasons can be counted.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reasons[number] = reason.removeprefix(f"{path}: ")
    return faces[:count], reasons


def photo_bytes(file: str, offset: int, size: int) -> bytes:
    """Read a photo's bytes: `size` of them, or up to the end for -1."""
    with Path(file).open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def _in_order(workers: Executor, parts: list[pd.DataFrame], crop: Crop) -> Iterator[Extracted]:
    """The results of `extract_all` for each part, with only a few parts on their way at a time."""
    jobs = ([*zip(*(part[name].tolist() for name in ["path", *WHERE]), strict=True)] for part in parts)
    under_way: deque[Future[Extracted]] = deque()
    try:
        for job in jobs:
            under_way.append(_submit(workers, job, crop))
            if len(under_way) > (os.cpu_count() or 1):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenExecutor as error:
        _end(workers)
        raise ChildProcessError(
            "a helper process was ended from outside, perhaps because memory ran out; "
            "what is done is kept, and the same command goes on from there"
        ) from error


def _end(broken: Executor) -> None:
    """End a broken pool's processes. One that had just started would wait for a lock that a killed one holds.

    The pool ends those that it knew when it broke, and waits for all. From Python 3.14 on there is
    `kill_workers`.
    """
    for process in list((getattr(broken, "_processes", None) or {}).values()):
        process.kill()


def _pool(parts: int) -> Executor:
    """Threads for a job of seconds: decoding runs beside Python. Processes, slow to start, for more."""
    if parts < FEW_PARTS:
        return ThreadPoolExecutor(os.cpu_count())
    # Forked processes can inherit a lock that some thread holds, and then wait for it forever.
    return ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_quiet)


def _submit(workers: Executor, job: Sequence[tuple[str, str, int, int]], crop: Crop) -> Future[Extracted]:
    """Give work away. A process that starts for it sees no Ctrl-C, not even while it starts."""
    if not isinstance(workers, ProcessPoolExecutor) or not hasattr(signal, "pthread_sigmask"):
        return workers.submit(extract_all, job, crop)
    resource_tracker.ensure_running()  # before: its start would let signals through
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return workers.submit(extract_all, job, crop)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _quiet() -> None:
    """One thread a process; Ctrl-C is for the process that started this one, and its end is ours."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess | None) -> None:
    """A killed process cannot end its helpers: they would wait for work forever."""
    if parent:
        parent.join()
        os._exit(1)


def _fingerprint(rows: pd.DataFrame, rejects: pd.DataFrame, crop: Crop) -> str:
    """Tells this job from another one that writes to the same place."""
    digest = hashlib.sha256(json.dumps([CHUNK, crop.record()], sort_keys=True).encode())
    for table in (rows, rejects):
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()
