"""Find the faces in a photo."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

# OpenCV's second detector also finds the eyes, the nose and the corners of the mouth. It needs a file
# that no package ships: face_detection_yunet_2023mar.onnx of https://github.com/opencv/opencv_zoo, which
# has the license MIT.
YUNET = Path.home() / ".cache" / "ssrlib" / "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

# Photos are searched for faces at no more than this many pixels on the longer side.
DETECTION_SIDE = 1024


class Box(NamedTuple):
    """Where a face is in a photo, in pixels from the top left corner, as its detector marks it.

    `landmarks` are the five points of `TEMPLATE`, for a detector that finds them.
    """

    x: float
    y: float
    width: float
    height: float
    landmarks: tuple[tuple[float, float], ...] | None = None


def find(photo: np.ndarray, detector: str = "haar") -> list[Box]:
    """Find upright, roughly frontal faces, the largest first.

    OpenCV's Haar cascade does not look for faces narrower than a thirtieth of the photo's longer side, or
    than 24 pixels. YuNet finds more, and also their landmarks. Either misses faces, and now and then
    sees one in a pattern.

    Args:
        photo: uint8, height x width x 3, RGB.
        detector: a key of `DETECTORS`: "haar", or "yunet", whose file must be at `YUNET`.

    Raises:
        ValueError: there is no such detector, or its file is another one.
        FileNotFoundError: its file is missing.

    >>> find(np.zeros((100, 100, 3), np.uint8))
    []
    """
    search = detector_named(detector)
    scale = max(1.0, max(photo.shape[:2]) / DETECTION_SIDE)
    size = tuple(max(1, round(side / scale)) for side in photo.shape[1::-1])
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return sorted((_scaled(box, scale) for box in search(small)), key=lambda box: box.width, reverse=True)


def detector_named(name: str) -> Callable[[np.ndarray], list[Box]]:
    """Return what finds faces in a photo as it is, in no order.

    Raises:
        ValueError, FileNotFoundError: as `find` does.

    >>> detector_named("eyes")
    Traceback (most recent call last):
    ValueError: there is no detector 'eyes'; there are: haar, yunet
    """
    if name not in DETECTORS:
        raise ValueError(f"there is no detector {name!r}; there are: {', '.join(DETECTORS)}")
    if name == "yunet":
        _yunet()
    return DETECTORS[name]


def _find_haar(photo: np.ndarray) -> list[Box]:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    smallest = max(24, max(grey.shape) // 30)
    found = _cascade().detectMultiScale(grey, 1.08, 5, minSize=(smallest, smallest))
    return [Box(*box.tolist()) for box in np.reshape(found, (-1, 4))]


def _find_yunet(photo: np.ndarray) -> list[Box]:
    detector = _yunet()
    detector.setInputSize(photo.shape[1::-1])
    _, found = detector.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    rows = [] if found is None else found.tolist()
    # YuNet names the eyes and corners from the person's side: right comes first, and is left in the photo.
    marks = [tuple(zip(row[4:14:2], row[5:14:2], strict=True)) for row in rows]
    return [Box(row[0], row[1], row[2], row[3], points) for row, points in zip(rows, marks, strict=True)]


def _scaled(box: Box, scale: float) -> Box:
    landmarks = box.landmarks and tuple((x * scale, y * scale) for x, y in box.landmarks)
    x, y, width, height = (round(value * scale) for value in box[:4])
    return Box(x, y, width, height, landmarks)


@cache
def _cascade() -> cv2.CascadeClassifier:
    folder = cv2.data.haarcascades  # type: ignore[attr-defined]
    return cv2.CascadeClassifier(folder + "haarcascade_frontalface_alt2.xml")


@cache
def _yunet() -> cv2.FaceDetectorYN:
    if not YUNET.is_file():
        source = "https://github.com/opencv/opencv_zoo"
        raise FileNotFoundError(f"{YUNET}: missing, and YuNet needs it; get the file from {source}")
    if hashlib.sha256(YUNET.read_bytes()).hexdigest() != YUNET_SHA256:
        raise ValueError(f"{YUNET}: not the file that this name stands for; remove it or get it again")
    return cv2.FaceDetectorYN.create(str(YUNET), "", (320, 320), 0.8)


DETECTORS = {"haar": _find_haar, "yunet": _find_yunet}
