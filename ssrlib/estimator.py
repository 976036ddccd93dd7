"""A photo in, faces with ages and genders out."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ssrlib import FACE_SIZE, runtime
from ssrlib.calibration import age_interval, probability
from ssrlib.cards import crop_of
from ssrlib.detectors import (
    DETECTORS,
    OUTSIDE,
    SURE,
    Box,
    can_look,
    detector_named,
    find,
    lies_otherwise,
    points_of,
    straightened,
)
from ssrlib.face_crop import MAX_SIDE, check_landmarks, check_square, crop_face, read_photo, resize
from ssrlib.inference import flip_average
from ssrlib.landmarks import share_outside, square

# A crop that is read as a whole is doubted if its face is turned by more degrees than the first, or is more
# than the second beside where the networks know it, larger or smaller: a share of its size.
ASKEW, OFF = 20.0, 0.25
AMBER, WHITE = (255, 190, 60), (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Reading(NamedTuple):
    """What the networks read from one face.

    `box` is where the face is in the photo. `age` is in years; `age_low` and `age_high` bound the
    ages that the face is compatible with: in each decade of age, at least 90 % of people are meant
    to be inside. `p_male` is the probability that an annotator would have labeled the face male. Weights
    without a calibration in their card give NaN for both bounds, and for `p_male` a mere score from 0
    to 1. `sure` is False for a face that its detector gave a score below `detectors.SURE`; for a box
    without a score, which another detector found or a user placed, and for a crop read as a whole, in which
    the built-in finder sees no face; for one that looks at least as much like a face at another quarter turn;
    and for one with more than a quarter of its square outside the photo. Without ONNX Runtime only scores and
    borders are looked at.
    """

    box: Box
    age: float
    age_low: float
    age_high: float
    p_male: float
    sure: bool = True

    @property
    def gender(self) -> str:
        """The likelier of "female" and "male", as the training data's labels use the words."""
        return "male" if self.p_male > 0.5 else "female"


class FaceReadings(NamedTuple):
    """What the networks read from N faces: a `Reading`'s four numbers, each an array of N."""

    age: np.ndarray
    age_low: np.ndarray
    age_high: np.ndarray
    p_male: np.ndarray


class AgeGenderEstimator:
    """Find the faces of a photo and read age and gender from each.

    Each face is read twice, as it is and as its mirror image. The answer is the mean, and how far the
    two are apart helps to tell how sure the age is.

    Args:
        age, gender: weights files; by default the built-in ones, for research and teaching only.
        backend: "torch", or "onnx" for files that `python -m ssrlib export` made; "onnx" gives the same
            answers, needs ONNX Runtime instead of PyTorch, and reads a face several times as fast.
        detector: what finds the faces, a key of `detectors.DETECTORS`; by default the one that found
            the faces which the network for age learned from, or the built-in finder.

    >>> AgeGenderEstimator().predict(np.zeros((100, 100, 3), np.uint8))
    []
    """

    def __init__(
        self,
        age: str | Path | None = None,
        gender: str | Path | None = None,
        backend: str = "torch",
        detector: str | None = None,
    ):
        self.age, self._read_age, age_card = runtime.open_network("age", age, backend)
        self.gender, self._read_gender, gender_card = runtime.open_network("gender", gender, backend)
        self.age_calibration = age_card.get("calibration")
        self.gender_calibration = gender_card.get("calibration")
        self.crop = crop_of(age_card)
        if crop_of(gender_card) != self.crop:
            message = "the networks for age and gender learned from faces that were cropped differently"
            warnings.warn(f"{message}; using the crop of the first", stacklevel=2)
        if detector:
            self.crop = replace(self.crop, detector=detector)
        detector_named(self.crop.detector)  # to hear now that there is no such detector
        found_by = age_card.get("crop", {}).get("detector", self.crop.detector)
        if found_by != self.crop.detector:
            message = f"the network for age learned from faces that {found_by} found"
            warnings.warn(f"{message}; those that {detector} finds may be read worse", stacklevel=2)

    def predict(
        self,
        photo: np.ndarray | str | Path,
        boxes: Sequence[Box | Sequence[float]] | None = None,
        any_angle: bool = False,
    ) -> list[Reading]:
        """Return one reading per face, the largest face first; an empty list if there is none.

        Args:
            photo: a file, or an RGB image: uint8, height x width x 3, 0 to 255.
            boxes: where its faces are, if that is known, each a `Box` or left, top, width and height: then
                they are not looked for, and the readings come in the order of the boxes. Where the
                detector "finder" sees a face in a box without landmarks, the points that it sees turn it
                upright, and are in the reading's box; else the square is read as it is.
            any_angle: find faces that lie on their side or stand on their head, too; see `detectors.find`.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: the photo is neither a path nor an array.
            ValueError: the file is not an image, the array breaks the contract above, a box is empty, lies
                outside the photo or has landmarks that are no face's, or the detector cannot search at any
                angle.
        """
        photo = _pixels(photo)
        if boxes is None:
            places = find(photo, self.crop.detector, any_angle)
        else:
            places = [self._placed(photo, box) for box in boxes]
        return self._read(photo, places, self._sure(photo, places))

    def predict_again(self, photo: np.ndarray, boxes: Sequence[Box]) -> list[Reading]:
        """Return one reading per face of a frame soon after one that `predict` has read, in the boxes' order.

        It does not ask whether each surely is a face, which takes time: `sure` is False. `predict` has said
        so, or will.

        >>> AgeGenderEstimator().predict_again(np.zeros((100, 100, 3), np.uint8), [])
        []
        """
        return self._read(photo, boxes, [False] * len(boxes))

    def _read(self, photo: np.ndarray, places: Sequence[Box], sure: list[bool]) -> list[Reading]:
        if not places:
            return []
        found = np.stack([crop_face(photo, place, self.crop) for place in places])
        columns = [values.tolist() for values in self.predict_faces(found)]
        return [Reading(*values) for values in zip(places, *columns, sure, strict=True)]

    def predict_whole(self, photo: np.ndarray | str | Path) -> Reading:
        """Return the reading of a photo that is cropped already, to the square which the networks know.

        Its box is the whole photo, and the pixels are read as they are. If the finder sees a face in it that
        is turned by more than 20 degrees, or whose center or size is off by more than a quarter of its size,
        it is not `sure`. See `predict` for what a photo may be, and what is raised.

        >>> AgeGenderEstimator().predict_whole(np.zeros((80, 80, 3), np.uint8)).sure
        False
        """
        photo = _pixels(photo)
        face, (height, width) = resize(photo), photo.shape[:2]
        age, low, high, p_male = (float(column[0]) for column in self.predict_faces(face[None]))
        return Reading(Box(0, 0, width, height), age, low, high, p_male, self._is_cropped(face))

    def _is_cropped(self, face: np.ndarray) -> bool:
        """Whether there surely is a face in a square (64 x 64), and about where the networks know it."""
        if not can_look():
            return True
        template = Box(0, 0, FACE_SIZE, FACE_SIZE, tuple((x, y) for x, y in self.crop.template().tolist()))
        seen = straightened(face, template)
        if not seen or any(lies_otherwise(face, [seen])):
            return False
        centers, sides, rolls = square(np.stack([points_of(template), points_of(seen)]))
        off = [np.linalg.norm(centers[1] - centers[0]) / sides[0], abs(sides[1] / sides[0] - 1)]
        return bool(max(off) <= OFF and abs(rolls[1]) <= ASKEW)

    def _placed(self, photo: np.ndarray, box: Box | Sequence[float]) -> Box:
        """A box that was given, checked, and with the points of the face that the finder sees in it."""
        place = _checked_box(box)
        check_square(photo, self.crop.square(place), place)
        if place.landmarks is not None:
            check_landmarks(photo, place.landmarks)
            return place._replace(landmarks=tuple(map(tuple, np.array(place.landmarks, float).tolist())))
        straighten = DETECTORS[self.crop.detector].straighten
        seen = straighten(photo, place) if straighten else None
        return seen or place

    def _sure(self, photo: np.ndarray, places: Sequence[Box]) -> list[bool]:
        """Whether there surely is a face in each box: most of it, and not at another turn."""
        likely = [self._is_likely(photo, place) for place in places]
        if not can_look():
            return likely
        seen = [
            self._seen(photo, place) if is_one else None for place, is_one in zip(places, likely, strict=True)
        ]
        otherwise = iter(lies_otherwise(photo, [face for face in seen if face]))
        return [face is not None and not next(otherwise) for face in seen]

    def _is_likely(self, photo: np.ndarray, place: Box) -> bool:
        inside = share_outside(points_of(place), *photo.shape[:2]) <= OUTSIDE
        return inside and (place.score is None or place.score >= SURE)

    def _seen(self, photo: np.ndarray, place: Box) -> Box | None:
        """A face as its detector found it and scored it, or as the finder sees one there, if it does."""
        scored = place.landmarks is not None and place.score is not None
        return place if scored else straightened(photo, place)

    def predict_faces(self, faces: np.ndarray) -> FaceReadings:
        """Return what the networks read from faces that are cropped already.

        Args:
            faces: uint8, N x 64 x 64 x 3, RGB, 0 to 255.

        Raises:
            ValueError: the array breaks the contract above, or the weights are damaged.
        """
        if faces.dtype != np.uint8 or faces.shape[1:] != (FACE_SIZE, FACE_SIZE, 3):
            shape = " x ".join(map(str, faces.shape))
            raise ValueError(
                f"faces must be uint8 from 0 to 255, N x 64 x 64 x 3, not {faces.dtype}, {shape}"
            )
        ages, differences = flip_average(self._read_age, faces)
        scores, _ = flip_average(self._read_gender, faces)
        if not (np.isfinite(ages).all() and np.isfinite(scores).all()):
            raise ValueError("the networks make no numbers of these faces: their weights are damaged")
        low, high = age_interval(self.age_calibration, ages, differences)
        return FaceReadings(ages, low, high, probability(self.gender_calibration, scores))


def draw(photo: np.ndarray, readings: list[Reading]) -> np.ndarray:
    """Return a copy of an RGB photo with each face's box, age, and likelier gender drawn on it.

    No label covers another face or label. One that finds no room is a number on its face, and a line below
    the photo: by those lines the copy is higher. Where a photo is narrower than a label, the copy is wider.
    """
    unit = _unit(photo)
    texts = [in_words(reading) for reading in readings]
    lines = [f"{number}: {text}" for number, text in enumerate(texts, start=1)]
    width = max([photo.shape[1], *(_size(line, unit)[0] for line in lines)])
    drawn = cv2.copyMakeBorder(photo, 0, 0, 0, width - photo.shape[1], cv2.BORDER_CONSTANT, value=WHITE)
    labels = [[text, str(number)] for number, text in enumerate(texts, start=1)]
    written = write_labels(drawn, [reading.box for reading in readings], labels)
    legend = [line for line, text, shown in zip(lines, texts, written, strict=True) if shown != text]
    return np.vstack([drawn, *(_line(line, width, unit) for line in legend)])


def write_labels(picture: np.ndarray, boxes: Sequence[Box], labels: Sequence[Sequence[str]]) -> list[str]:
    """Draw boxes and a label at each; changes the picture (uint8, RGB).

    Args:
        picture: what all labels lie in.
        boxes: where the faces are.
        labels: for each face its texts, from the best to the shortest. Written is the first that covers no
            other face or label; if none does, the last one, on the face.

    Returns:
        What was written at each face.
    """
    unit = _unit(picture)
    areas = [_Area(*(round(value) for value in box[:4])) for box in boxes]
    for area in areas:
        corners = (area.x, area.y), (area.x + area.width, area.y + area.height)
        cv2.rectangle(picture, *corners, AMBER, max(1, round(1.5 * unit)))
    taken, written = list(areas), []
    for area, texts in zip(areas, labels, strict=True):
        found = ((text, _room(text, area, taken, picture, unit)) for text in texts[:-1])
        on_face = texts[-1], _label(texts[-1], area.x, area.y, picture, unit)
        text, place = next(((text, place) for text, place in found if place), on_face)
        taken.append(place)
        _write(picture, text, place, unit)
        written.append(text)
    return written


def in_words(reading: Reading) -> str:
    """Return the label of a face: its age with the interval, the likelier gender, and whether it is doubted.

    >>> in_words(Reading(Box(10, 10, 50, 50), age=34.0, age_low=25.0, age_high=44.0, p_male=0.9, sure=False))
    '34 (25-44), male 90 %, a face?'
    """
    likely = 100 * max(reading.p_male, 1 - reading.p_male)
    doubt = "" if reading.sure else ", a face?"
    return f"{reading.age:.0f}{_range(reading)}, {reading.gender} {likely:.0f} %{doubt}"


def _unit(photo: np.ndarray) -> float:
    """How large letters and lines are in a photo."""
    unit: float = max(1.0, max(photo.shape[:2]) / 640)
    return unit


class _Area(NamedTuple):
    """Part of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def meets(self, other: "_Area") -> bool:
        apart = self.x >= other.x + other.width or other.x >= self.x + self.width
        return not (apart or self.y >= other.y + other.height or other.y >= self.y + self.height)


def _room(text: str, box: _Area, taken: list[_Area], picture: np.ndarray, unit: float) -> _Area | None:
    """Where a label covers nothing: above its face, below it, or else in its upper border."""
    width, height = _size(text, unit)
    if width > picture.shape[1] or height > picture.shape[0]:
        return None
    for y in (box.y - height, box.y + box.height, max(0, box.y)):
        label = _label(text, box.x, y, picture, unit)
        covered = [area for area in taken if label.meets(area) and area is not box]
        if label.y == y and not covered:
            return label
    return None


def _size(text: str, unit: float) -> tuple[int, int]:
    """The width and height of a label."""
    (width, height), _ = cv2.getTextSize(text, FONT, 0.55 * unit, max(1, round(1.5 * unit)))
    pad = round(4 * unit)
    return width + 2 * pad, height + 2 * pad


def _label(text: str, x: int, y: int, picture: np.ndarray, unit: float) -> _Area:
    """The area of a label, moved into the picture."""
    width, height = _size(text, unit)
    most_x, most_y = picture.shape[1] - width, picture.shape[0] - height
    return _Area(max(0, min(x, most_x)), max(0, min(y, most_y)), width, height)


def _write(picture: np.ndarray, text: str, area: _Area, unit: float) -> None:
    """Write on a filled area; changes the picture."""
    corners = (area.x, area.y), (area.x + area.width, area.y + area.height)
    cv2.rectangle(picture, *corners, AMBER, -1)
    pad, line = round(4 * unit), max(1, round(1.5 * unit))
    start = (area.x + pad, area.y + area.height - pad)
    cv2.putText(picture, text, start, FONT, 0.55 * unit, (20, 20, 20), line, cv2.LINE_AA)


def _line(text: str, width: int, unit: float) -> np.ndarray:
    """A line of the legend."""
    area = _Area(0, 0, *_size(text, unit))
    line = np.full((area.height + round(2 * unit), width, 3), AMBER, np.uint8)
    _write(line, text, area, unit)
    return line


def _range(reading: Reading) -> str:
    return "" if np.isnan(reading.age_low) else f" ({reading.age_low:.0f}-{reading.age_high:.0f})"


def _checked_box(box: Sequence[Any]) -> Box:
    numbers = np.array(box[:4] if isinstance(box, Box) else box, float)
    if numbers.shape != (4,) or not np.isfinite(numbers).all() or not (numbers[2:] >= 1).all():
        raise ValueError(
            f"{box} is no box: that is left, top, width and height, at least one pixel wide and high"
        )
    return box if isinstance(box, Box) else Box(*numbers.tolist())


def _pixels(photo: np.ndarray | str | Path) -> np.ndarray:
    if isinstance(photo, str | Path):
        return read_photo(photo)
    if not isinstance(photo, np.ndarray):
        kind = type(photo).__name__
        raise TypeError(f"a photo is a path or an RGB array, not {kind}: np.asarray(image.convert('RGB'))")
    right = photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3 and 0 not in photo.shape
    if not right or max(photo.shape) > MAX_SIDE:
        raise ValueError(
            "a photo must be an RGB array, uint8 from 0 to 255, height x width x 3, "
            f"at most {MAX_SIDE:,} high and wide; "
            f"got {photo.dtype}, {' x '.join(map(str, photo.shape))}"
        )
    return photo
