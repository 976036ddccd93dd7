"""Photos and the faces in them: read, crop, align."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import current_thread, main_thread
from typing import Literal, TypedDict

import cv2
import numpy as np
from PIL import ExifTags, Image

from ssrlib import FACE_SIZE
from ssrlib.detectors import LOWER, Box, find
from ssrlib.files import atomic_write, numbered
from ssrlib.landmarks import MIDDLE, TEMPLATE, similarity, square, warp

# The square that UTKFace shows, told from the box that Haar's cascade puts on the same face: rounded medians
# from tools/weights/utkface.py, which writes them to book/results/utkface.json.
MARGIN, SHIFT = 0.0, LOWER

# A small file can hold a huge image; nobody's photo is larger than this.
MAX_PIXELS = 100_000_000
# OpenCV counts a photo's rows and columns in 16 bits when it turns it.
MAX_SIDE = 32_766

# No square wider than this is cut out of a photo: its border would fill the memory.
MAX_SQUARE = 20_000

# What a camera that was held otherwise notes in EXIF, and what brings the photo upright again.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A photo of one face is decoded no smaller than this, which leaves room for an area average.
DECODED_SIDE = 120

# OpenCV decodes a JPEG at reduced size faster than Pillow, but takes a truncated one for whole.
JPEG_END = b"\xff\xd9"
# The flags of reduced gray plus the one of RGB: OpenCV has no name for reduced RGB.
REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}

# How a photo of an iPhone begins, from its fifth byte on: "ftyp", and one of these.
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# Pillow gives these to another program, which draws what they say.
PROGRAMS = ("EPS", "WMF")
# What Pillow knows by name and is no photo: these, videos, and what it cannot open by itself.
NO_PHOTOS = (*PROGRAMS, "MPEG", "HDF5", "GRIB", "BUFR")


class PhotoError(ValueError):
    """A photo that cannot be used; the message is one sentence about it. A bug of ours is another error."""


class CropRecord(TypedDict, total=False):
    """A crop as JSON, as stores and cards keep it. Old and foreign files may leave any of it out.

    `seed` belongs to drawn faces, which have no margin and no shift.
    """

    kind: Literal["find", "cropped already", "drawn"]
    margin: float
    shift: float
    detector: str
    cut_rows: int
    seed: int


@dataclass(frozen=True)
class Crop:
    """Which square a face fills: the one that is cut out around a detector's box.

    As a data set's `CROP` it also says that its photos show more than that, and that the largest face of
    each is to be found.

    Attributes:
        margin: what the square adds to the box on each side, as a share of the box's width.
        shift: how far down the square moves, as a share of the box's width.
        detector: what marks the box, a key of `detectors.DETECTORS`.

    >>> Crop(margin=0.25).square(Box(50, 60, 100, 100))[:4]
    (25, 45, 150, 150)
    """

    margin: float = MARGIN
    shift: float = SHIFT
    detector: str = "finder"

    def square(self, box: Box) -> Box:
        """Return the square for a box: whole pixels, at least one, which may lie outside the photo."""
        side = max(1, round(box.width * (1 + 2 * self.margin)))
        left = round(box.x + (box.width - side) / 2)
        top = round(box.y + (box.height - side) / 2 + self.shift * box.width)
        return Box(left, top, side, side)

    def template(self) -> np.ndarray:
        """Return where the five points of an aligned face come to lie: 5 x 2, in pixels of 64 x 64.

        >>> Crop(margin=0.25).template()[0].round(1)
        array([23.5, 23. ])
        """
        lower = np.array([0.0, (SHIFT - self.shift) * FACE_SIZE])
        moved: np.ndarray = MIDDLE + (TEMPLATE - MIDDLE + lower) / (1 + 2 * self.margin)
        return moved

    def record(self) -> CropRecord:
        """Return it as JSON.

        >>> Crop().record()
        {'kind': 'find', 'margin': 0.0, 'shift': 0.1, 'detector': 'finder'}
        """
        return {"kind": "find", "margin": self.margin, "shift": self.shift, "detector": self.detector}


@dataclass(frozen=True)
class CroppedAlready(Crop):
    """A crop that others made: each photo is the square, and is only resized.

    Attributes:
        cut_rows: how many rows of pixels to cut off the top and the bottom before that.

    >>> CroppedAlready(0.4, 0.0, cut_rows=20).record()
    {'kind': 'cropped already', 'margin': 0.4, 'shift': 0.0, 'cut_rows': 20}
    """

    cut_rows: int = 0

    def record(self) -> CropRecord:
        """Return it as JSON."""
        made: CropRecord = {"kind": "cropped already", "margin": self.margin, "shift": self.shift}
        return made | {"cut_rows": self.cut_rows} if self.cut_rows else made


def read_photo(source: str | Path | bytes, name: str = "photo", at_least: int | None = None) -> np.ndarray:
    """Decode a photo from a file or from a file's bytes: uint8, height x width x 3, RGB, upright.

    All that Pillow reads, and HEIC with `pip install 'ssrlib[heic]'`. Gray, 16-bit, CMYK and RGBA images
    are converted; EXIF rotation is applied; alpha is dropped. Gray of 32 bits may count up to 255 or to
    65535, and in floating-point numbers up to 1.

    Args:
        source: a path, or the bytes of an image file.
        name: what to call the bytes in an error.
        at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size, which is
            fast, as long as both sides keep this many pixels.

    Raises:
        FileNotFoundError: there is no such file.
        PhotoError: a ValueError; it is a folder, not an image, damaged, of 32 bits that are no shades of
            gray, or larger than 100 million pixels or 32,766 on a side.
    """
    if isinstance(source, str | Path):
        name, source = str(source), _bytes(Path(source))
    if not source:
        raise PhotoError(f"{name}: the file is empty")
    unknown = source[4:8] == b"ftyp" and source[8:12] in HEIC and not _reads_heic()
    try:
        with _no_warnings(), Image.open(BytesIO(source)) as image:
            if image.width * image.height <= MAX_PIXELS and max(image.size) <= MAX_SIDE:
                return _decoded(image, source, at_least)
    except Image.DecompressionBombError:
        pass
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from None
    except Exception as error:  # each decoder has errors of its own, and a damaged file meets them all
        if unknown:
            heic = "perhaps a HEIC photo; to read those, pip install 'ssrlib[heic]'"
            raise PhotoError(f"{name}: {heic}") from error
        raise PhotoError(f"{name}: not an image, or a damaged one") from error
    millions = MAX_PIXELS // 1_000_000
    raise PhotoError(f"{name}: larger than {millions} million pixels, or than {MAX_SIDE:,} on a side")


def _no_warnings() -> AbstractContextManager[None]:
    """Ignore what Pillow warns of: a damaged photo raises. Filters are for all threads, so one sets them."""
    alone = current_thread() is main_thread()
    return warnings.catch_warnings(action="ignore") if alone else nullcontext()


@cache
def _reads_heic() -> bool:
    """Let Pillow read HEIC, which it does not by itself, if that can be had."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise PhotoError(f"{path}: a folder without photos")
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such photo") from None
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from error


def _decoded(image: Image.Image, source: bytes, at_least: int | None) -> np.ndarray:
    """The pixels of an opened image: only decoders and conversions, whose errors `read_photo` names."""
    if image.format in PROGRAMS:
        raise OSError(f"{image.format} is a program, not a photo")
    if at_least and image.format == "JPEG" and source.endswith(JPEG_END):
        photo = _read_reduced(source, min(image.size) // at_least)
        if photo is not None:
            return photo
    image.load()  # which turns a TIFF, and takes its tag away
    # ImageOps.exif_transpose would write the EXIF data again, too, and fail where one odd tag is in it.
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    image = image if turn is None else image.transpose(turn)
    if image.mode[0] in "IF":  # more than 8 bits of gray, which Pillow would cut off at 255
        image = Image.fromarray(_in_8_bits(np.asarray(image), image.mode))
    return np.asarray(image.convert("RGB"))


def _in_8_bits(gray: np.ndarray, mode: str) -> np.ndarray:
    """Shades of gray from 0 to 255, of which all that were given tell how far up they count."""
    most = 65535 if mode.startswith("I;16") else gray.max()
    if not (gray.min() >= 0 and most <= 65535):
        raise PhotoError(
            f"its 32-bit values go from {gray.min():g} to {most:g}, and are no shades of gray; "
            "save it with 8 or 16 bits"
        )
    if most > 255:
        gray = gray // 256
    elif mode == "F" and most <= 1:
        gray = np.rint(gray * 255)
    return gray.astype(np.uint8)


def _read_reduced(jpeg: bytes, reduction: int) -> np.ndarray | None:
    """Decode a JPEG at the smallest size that is not reduced further than asked; None for a broken one."""
    flag = next((flag for factor, flag in REDUCED.items() if reduction >= factor), 0)
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), flag | cv2.IMREAD_COLOR_RGB)


def resize(photo: np.ndarray) -> np.ndarray:
    """Resize a photo that shows one face to 64 x 64, by area where it shrinks."""
    shrinks = min(photo.shape[:2]) >= FACE_SIZE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(photo, (FACE_SIZE, FACE_SIZE), interpolation=interpolation)


def align(photo: np.ndarray, landmarks: Sequence[Sequence[float]], rule: Crop | None = None) -> np.ndarray:
    """Turn, scale and shift a photo so that a face's landmarks come to lie where they belong.

    Args:
        photo: uint8, height x width x 3, RGB.
        landmarks: five points (x, y) in the template's order: the eyes, the nose tip and the mouth's
            corners, each pair from left to right in the photo.
        rule: whose `template` they are brought to; by default `TEMPLATE`.

    Returns:
        The face: uint8, 64 x 64 x 3. What lies outside the photo repeats its border.

    Raises:
        ValueError: the landmarks are not five points.

    >>> align(np.zeros((100, 100, 3), np.uint8), TEMPLATE + 10).shape
    (64, 64, 3)
    """
    matrix = similarity(_five_points(landmarks), (rule or Crop()).template())
    return warp(photo, matrix, FACE_SIZE)


def _five_points(landmarks: Sequence[Sequence[float]]) -> np.ndarray:
    try:
        points = np.array(landmarks, float)
    except (TypeError, ValueError):  # ragged, or no numbers
        points = np.zeros(0)
    if points.shape != TEMPLATE.shape or not np.isfinite(points).all():
        raise ValueError(
            f"landmarks must be five points x, y, of eyes, nose tip and mouth's corners, not {landmarks}"
        )
    return points


def crop(photo: np.ndarray, box: Box, margin: float = MARGIN, shift: float = SHIFT) -> np.ndarray:
    """Cut a square around a box out of a photo and resize it to 64 x 64.

    Args:
        photo: uint8, height x width x 3, RGB.
        box: from `find`.
        margin, shift: which square, see `Crop`.

    Returns:
        uint8, 64 x 64 x 3. What lies outside the photo repeats its border.

    Raises:
        ValueError: see `check_square`.

    >>> crop(np.zeros((50, 40, 3), np.uint8), Box(-5, 10, 30, 30)).shape
    (64, 64, 3)
    """
    square = Crop(margin, shift).square(box)
    check_square(photo, square, box)
    left, top, side = (int(value) for value in square[:3])
    height, width = photo.shape[:2]
    inside = photo[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    outside = (-top, top + side - height, -left, left + side - width)
    above, below, before, after = (max(0, pixels) for pixels in outside)
    return resize(cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE))


def check_square(photo: np.ndarray, square: Box, box: Box | None = None) -> None:
    """Refuse a square with nothing of a photo, or next to nothing: its border would fill the memory.

    Args:
        photo: uint8, height x width x 3, RGB.
        square: what is going to be cut out.
        box: the one that the square is for, which an error names in its place.

    Raises:
        ValueError: the square does not touch the photo, or its side is more than eight times as long, or
            longer than 20,000 pixels.

    >>> check_square(np.zeros((50, 40, 3), np.uint8), Box(-5, 10, 30, 30))
    """
    if not _is_in(photo, square):
        height, width = photo.shape[:2]
        given = ", ".join(f"{number:g}" for number in (box or square)[:4])
        raise ValueError(
            f"the box {given} lies outside a photo of {width} x {height}"
            " pixels, or is far larger; boxes count from the upper left corner"
        )


def check_landmarks(photo: np.ndarray, landmarks: Sequence[Sequence[float]]) -> None:
    """Refuse landmarks that no face in a photo has: `check_square` for the square that `align` cuts by them.

    Raises:
        ValueError: they are not five points, all in one place, outside the photo or far larger than it.

    >>> check_landmarks(np.zeros((100, 100, 3), np.uint8), TEMPLATE + 10)
    """
    with np.errstate(all="ignore"):  # numbers so large that their square is infinite fit no photo
        center, length, _ = square(_five_points(landmarks))
    (x, y), side = center.tolist(), float(length)
    if not (side >= 1 and _is_in(photo, Box(x - side / 2, y - side / 2, side, side))):
        height, width = photo.shape[:2]
        raise ValueError(
            f"landmarks {landmarks} are no face's in a photo of {width} x {height} pixels; "
            "give its eyes, nose tip and mouth's corners in pixels, each pair from left to right"
        )


def _is_in(photo: np.ndarray, place: Box) -> bool:
    height, width = photo.shape[:2]
    side = place.width
    touches = -side < place.x < width and -side < place.y < height
    return touches and bool(side <= min(8 * max(width, height), MAX_SQUARE))


def crop_face(photo: np.ndarray, box: Box, rule: Crop | None = None) -> np.ndarray:
    """Get a found face: aligned where its landmarks are known, else cropped; by default as `Crop()` says.

    Returns:
        uint8, 64 x 64 x 3.

    Raises:
        ValueError: the square does not touch the photo, or is far larger; or the landmarks are not five.
    """
    rule = rule or Crop()
    if box.landmarks is not None:
        return align(photo, box.landmarks, rule)
    return crop(photo, box, rule.margin, rule.shift)


def extract_face(data: bytes, name: str, rule: Crop) -> np.ndarray:
    """Get the one face that a dataset's photo shows: uint8, 64 x 64 x 3, RGB.

    Args:
        data: the bytes of an image file.
        name: what to call the photo in an error.
        rule: by a plain `Crop` the largest face is found, and aligned or cropped; a photo that is
            `CroppedAlready` is resized.

    Raises:
        PhotoError: the photo cannot be read, or no face was found in it.
    """
    if not isinstance(rule, CroppedAlready):
        photo = read_photo(data, name)
        boxes = find(photo, rule.detector)
        if not boxes:
            raise PhotoError(f"{name}: no face was found")
        return crop_face(photo, boxes[0], rule)
    rows = rule.cut_rows
    photo = read_photo(data, name, at_least=None if rows else DECODED_SIDE)
    if photo.shape[0] <= 2 * rows:
        raise PhotoError(f"{name}: too small to cut {rows} rows off its top and bottom")
    return resize(photo[rows : photo.shape[0] - rows])


def write_photo(photo: np.ndarray, path: str | Path) -> None:
    """Save an RGB image, whole, in the format of the path's suffix, such as `.png` or `.jpg`.

    Raises:
        ValueError: no format has this suffix, or it cannot hold this picture.
        OSError: it cannot be written there.
    """
    content = _encoded(photo, Path(path))
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def write_new_photo(photo: np.ndarray, path: str | Path) -> Path:
    """Save an RGB image, but over no other file: as `NAME-2.png` if there is a `NAME.png`, and so on.

    Returns:
        Where it is.

    Raises:
        ValueError: no format has this suffix, or it cannot hold this picture.
        OSError: it cannot be written there; no part of it is left.
    """
    path = Path(path)
    content = _encoded(photo, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for place in numbered(path):
            with suppress(FileExistsError), place.open("xb") as file:
                try:
                    file.write(content)
                    file.flush()
                except BaseException:
                    place.unlink()
                    raise
                return place
    except OSError as error:
        raise OSError(f"{path}: not saved ({error.strerror})") from error
    raise AssertionError  # `numbered` has no end


def _encoded(photo: np.ndarray, path: Path) -> bytes:
    pixels = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    try:
        if not cv2.haveImageWriter(path.suffix):
            raise ValueError(f"{path}: no picture format that can be written has the suffix {path.suffix!r}")
        written, content = cv2.imencode(path.suffix, pixels)
    except cv2.error:  # of a format that is switched off
        written = False
    if not written:
        raise ValueError(
            f"{path}: OpenCV cannot write this picture as {path.suffix}; take another, such as .png"
        )
    return content.tobytes()
