"""Photos and the faces in them: read, find, crop."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ssrlib.network import FACE_SIZE

# The square that UTKFace shows, told from the box that `find` puts on the same face: the medians, rounded,
# that tools/measure_crop.py measures and writes to book/results/crop.json.
MARGIN, SHIFT = 0.0, 0.1

# Photos are searched for faces at no more than this many pixels on the longer side.
DETECTION_SIDE = 1024


def read(source: str | Path | bytes, name: str = "photo") -> np.ndarray:
    """Decode a photo from a file or from a file's bytes: uint8, height x width x 3, RGB, upright.

    Grey, 16-bit, CMYK and RGBA images are converted; EXIF rotation is applied; alpha is dropped.

    Args:
        source: a path, or the bytes of an image file.
        name: what to call the bytes in an error.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, or not an image that can be decoded.
    """
    if isinstance(source, str | Path):
        name = str(source)
        if Path(source).is_dir():
            raise ValueError(f"{name}: a folder, not a photo")
        if not Path(source).exists():
            raise FileNotFoundError(f"{name}: no such photo")
        source = Path(source).read_bytes()
    if not source:
        raise ValueError(f"{name}: the file is empty")
    try:
        photo = cv2.imdecode(np.frombuffer(source, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError(f"{name}: cannot be decoded ({error.err})") from error
    if photo is None:
        raise ValueError(f"{name}: not an image, or a damaged one")
    return photo


def resize(photo: np.ndarray) -> np.ndarray:
    """Resize a photo that shows one face to 64 x 64, by area where it shrinks."""
    shrinks = min(photo.shape[:2]) >= FACE_SIZE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(photo, (FACE_SIZE, FACE_SIZE), interpolation=interpolation)


class Box(NamedTuple):
    """Where a face is in a photo, in pixels from the top left corner, as its detector marks it."""

    x: int
    y: int
    width: int
    height: int


def find(photo: np.ndarray) -> list[Box]:
    """Find upright, roughly frontal faces with OpenCV's Haar cascade, the largest first.

    Faces narrower than a thirtieth of the photo's longer side, or than 24 pixels, are not looked
    for. A cascade has no sense of doubt: it misses turned faces, and now and then it sees a face
    in a pattern.

    Args:
        photo: uint8, height x width x 3, RGB.

    >>> find(np.zeros((100, 100, 3), np.uint8))
    []
    """
    scale = max(1.0, max(photo.shape[:2]) / DETECTION_SIDE)
    width, height = (max(1, round(side / scale)) for side in photo.shape[1::-1])
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    smallest = max(24, max(width, height) // 30)
    found = _cascade().detectMultiScale(grey, 1.08, 5, minSize=(smallest, smallest))
    boxes = [Box(*(round(float(value) * scale) for value in box)) for box in found]
    return sorted(boxes, key=lambda box: box.width, reverse=True)


@cache
def _cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")


def crop_square(box: Box, margin: float = MARGIN, shift: float = SHIFT) -> Box:
    """Return the square that `crop` cuts out for a box."""
    side = max(1, round(box.width * (1 + 2 * margin)))
    left = round(box.x + (box.width - side) / 2)
    top = round(box.y + (box.height - side) / 2 + shift * box.width)
    return Box(left, top, side, side)


def crop(photo: np.ndarray, box: Box, margin: float = MARGIN, shift: float = SHIFT) -> np.ndarray:
    """Cut a square around a box out of a photo and resize it to 64 x 64.

    Args:
        photo: uint8, height x width x 3, RGB.
        box: from `find`.
        margin: what to add on each side, as a share of the box's width.
        shift: how far to move the square down, as a share of the box's width.

    Returns:
        uint8, 64 x 64 x 3. What lies outside the photo repeats its border.

    Raises:
        ValueError: the square does not touch the photo.

    >>> crop(np.zeros((50, 40, 3), np.uint8), Box(-5, 10, 30, 30)).shape
    (64, 64, 3)
    """
    left, top, side, _ = crop_square(box, margin, shift)
    height, width = photo.shape[:2]
    inside = photo[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if inside.size == 0:
        raise ValueError(f"{box} lies outside a photo of {width} x {height} pixels")
    outside = (-top, top + side - height, -left, left + side - width)
    padding = [max(0, pixels) for pixels in outside]
    return resize(cv2.copyMakeBorder(inside, *padding, cv2.BORDER_REPLICATE))


def write(photo: np.ndarray, path: str | Path) -> None:
    """Save an RGB image in the format of the path's suffix, such as `.png` or `.jpg`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1].tobytes())
