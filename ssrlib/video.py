"""A video in, its faces out: as a table, or drawn in a copy of the video."""

import csv
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ssrlib.estimator import AgeGenderEstimator, in_words, write_labels
from ssrlib.files import alone, atomic_write
from ssrlib.tracking import Following, Track

COLUMNS = [
    *("seconds", "face", "x", "y", "width", "height"),
    *("age", "age_low", "age_high", "gender", "p_male", "sure"),
]

# What is done with a frame: the time of it in seconds, its pixels, and the faces in it.
Take = Callable[[float, np.ndarray, list[Track]], object]

# OpenCV's level of its log for nothing but errors.
LOG_ERRORS = 2

# FFmpeg, which OpenCV reads videos with, would comment on each damaged one; -8 is its word for quiet.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# Videos do not always count their frames exactly; with fewer than this share of them, something is missing.
WHOLE = 0.9


def read_video(
    path: str | Path,
    out: str | Path,
    estimator: AgeGenderEstimator,
    watch: Callable[[int, int], object] = lambda done, of: None,
) -> None:
    """Follow the faces in a video, and write what is read from them.

    As in the webcam demo, a face keeps its number for as long as it is followed, and its numbers are averages
    over the last second or so. A face that is seen in one frame only is left out.

    Args:
        path: a video file that OpenCV reads.
        out: a .csv file, which gets a row for each face in each frame, or an .mp4 file, which gets the
            pictures with the faces drawn in them, without sound. It is there in whole at the end. A face's
            label begins with its number; where there is no room, it is the number and the age, or the number.
        estimator: what reads the faces.
        watch: is told after each frame how many are done, and of how many: 0 if the video does not say.

    Raises:
        FileNotFoundError: there is no such video.
        OSError: `out` cannot be written, or another process is writing it.
        ValueError: it is not a video, no frame of it can be read, or `out` is the same file or ends in
            something else.
    """
    path, out = Path(path), Path(out)
    kinds = {".csv": _table, ".mp4": _copy}
    if out.suffix.lower() not in kinds:
        raise ValueError(f"{out}: must end in .csv, for a table, or in .mp4, for a video")
    if out.exists() and path.exists() and out.samefile(path):
        raise ValueError(f"{out}: is the video itself, and would be lost; give another name")
    video, following, done = _opened(path), Following(), 0
    frames = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    ending = f".partial{out.suffix}"  # OpenCV goes by it
    with (
        alone(out),
        atomic_write(out, ending) as partial,
        kinds[out.suffix.lower()](partial, video) as take,
    ):
        for done, (seconds, photo) in enumerate(_frames(video), start=1):
            take(seconds, photo, following.follow(photo, seconds, estimator))
            watch(done, frames)
        if not done:  # before anything gets its name
            raise ValueError(f"{path}: no frame of it can be read")
    if done < WHOLE * frames:
        warnings.warn(f"{path}: ends after {done} of {frames} frames; the file may be cut off", stacklevel=2)


def _opened(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such video")
    with _silent():
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise ValueError(f"{path}: not a video, or one that OpenCV cannot read")
    return video


@contextmanager
def _silent() -> Iterator[None]:
    """Let OpenCV say nothing below an error."""
    log: Any = getattr(cv2.utils, "logging", cv2)  # where it is depends on OpenCV's version
    before = log.setLogLevel(LOG_ERRORS)
    try:
        yield
    finally:
        log.setLogLevel(before)


def _frames(video: cv2.VideoCapture) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a video, each with its time in seconds: phones do not take them at even distances.

    The time never goes back. Where two clips were joined, the clock begins anew, and ours goes on.
    """
    now, ahead = -math.inf, 0.0
    while True:
        there, frame = video.read()
        if not there:
            return
        told = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if told + ahead < now:
            ahead = now + 1 / _rate(video) - told
        now = told + ahead
        yield now, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def _rate(video: cv2.VideoCapture) -> float:
    """How many frames a video has in a second, or how many most have."""
    return video.get(cv2.CAP_PROP_FPS) or 25.0


@contextmanager
def _table(path: Path, _video: cv2.VideoCapture) -> Iterator[Take]:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        yield lambda seconds, _, tracks: table.writerows(_row(seconds, track) for track in tracks)


def _row(seconds: float, track: Track) -> list[object]:
    box, age, low, high, p_male, sure = track.smooth
    bounds = ["" if np.isnan(bound) else f"{bound:.1f}" for bound in (low, high)]
    place = [round(value) for value in box[:4]]
    return [
        f"{seconds:.3f}",
        track.number,
        *place,
        f"{age:.1f}",
        *bounds,
        track.smooth.gender,
        f"{p_male:.3f}",
        sure,
    ]


def _texts(track: Track) -> list[str]:
    """A face's label and two shorter ones: all frames have one size, and no room for a crowd's legend.

    Each begins with the number that the face has in the table.
    """
    steady = track.steady
    return [f"{track.number}: {in_words(steady)}", f"{track.number}: {steady.age:.0f}", f"{track.number}"]


@contextmanager
def _copy(path: Path, video: cv2.VideoCapture) -> Iterator[Take]:
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    # MPEG-4 is the one that every OpenCV can write.
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), codec, _rate(video), size)

    def take(_seconds: float, photo: np.ndarray, tracks: list[Track]) -> None:
        write_labels(photo, [track.smooth.box for track in tracks], [_texts(track) for track in tracks])
        writer.write(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))

    with _silent():
        try:
            yield take
        finally:
            writer.release()
        written = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).isOpened()
    if not written:  # OpenCV does not say when the disk is full
        raise OSError(f"{path.parent}: the video could not be written; is the disk full?")
