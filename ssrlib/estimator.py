"""A photo in, faces with ages and genders out."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ssrlib import runtime
from ssrlib.calibration import age_interval, probability
from ssrlib.cards import crop_of
from ssrlib.detectors import Box, detector_named, find
from ssrlib.face_crop import crop_face, read_photo
from ssrlib.inference import flip_average


class Reading(NamedTuple):
    """What the networks read from one face.

    `box` is where the face is in the photo. `age` is in years; `age_low` and `age_high` bound the
    ages that the face is compatible with: in each decade of age, 90 % of people are meant to be
    inside. `p_male` is the probability that an annotator would have labeled the face male. Weights
    without a calibration in their card give NaN for both bounds, and for `p_male` a mere score from 0
    to 1.
    """

    box: Box
    age: float
    age_low: float
    age_high: float
    p_male: float

    @property
    def gender(self) -> str:
        """The likelier of "female" and "male", as the training data's labels use the words."""
        return "male" if self.p_male > 0.5 else "female"


class FaceReadings(NamedTuple):
    """What the networks read from N faces: a `Reading`'s four answers, each an array of N."""

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
            answers, needs ONNX Runtime instead of PyTorch, and is several times as fast.
        detector: what finds the faces, a key of `detectors.DETECTORS`; by default the one that found
            the faces which the network for age learned from, or the Haar cascade.

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

    def predict(self, photo: np.ndarray | str | Path, boxes: Sequence[Box] | None = None) -> list[Reading]:
        """Return one reading a face, the largest face first; an empty list if there is none.

        Args:
            photo: a file, or an RGB image: uint8, height x width x 3, 0 to 255.
            boxes: where its faces are, if that is known: then they are not looked for, and the
                readings come in the order of the boxes.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not an image, or the array breaks the contract above.
        """
        photo = _checked(photo) if isinstance(photo, np.ndarray) else read_photo(photo)
        boxes = find(photo, self.crop.detector) if boxes is None else boxes
        if not boxes:
            return []
        found = np.stack([crop_face(photo, box, self.crop) for box in boxes])
        columns = [values.tolist() for values in self.predict_faces(found)]
        return [Reading(*values) for values in zip(boxes, *columns, strict=True)]

    def predict_faces(self, faces: np.ndarray) -> FaceReadings:
        """Return what the networks read from faces that are cropped already.

        Args:
            faces: uint8, N x 64 x 64 x 3, RGB, 0 to 255.

        Raises:
            ValueError: the array breaks the contract above.
        """
        if faces.dtype != np.uint8:
            raise ValueError(f"faces must be uint8 from 0 to 255, not {faces.dtype}")
        ages, differences = flip_average(self._read_age, faces)
        scores, _ = flip_average(self._read_gender, faces)
        low, high = age_interval(self.age_calibration, ages, differences)
        return FaceReadings(ages, low, high, probability(self.gender_calibration, scores))


def draw(photo: np.ndarray, readings: list[Reading]) -> np.ndarray:
    """Return a copy of an RGB photo with each face's box, age and gender drawn on it."""
    drawn = photo.copy()
    unit = max(1.0, max(photo.shape[:2]) / 640)
    for reading in readings:
        x, y, width, height = (round(value) for value in reading.box[:4])
        text = f"{reading.age:.0f}{_range(reading)}, {reading.gender}"
        size, line = 0.55 * unit, max(1, round(1.5 * unit))
        (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, line)
        pad = round(4 * unit)
        x_text = max(0, min(x, photo.shape[1] - text_width - 2 * pad))
        bottom = max(y, text_height + 2 * pad)
        cv2.rectangle(drawn, (x, y), (x + width, y + height), (255, 190, 60), line)
        corners = (x_text, bottom), (x_text + text_width + 2 * pad, bottom - text_height - 2 * pad)
        cv2.rectangle(drawn, *corners, (255, 190, 60), -1)
        cv2.putText(
            drawn,
            text,
            (x_text + pad, bottom - pad),
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            (20, 20, 20),
            line,
            cv2.LINE_AA,
        )
    return drawn


def _range(reading: Reading) -> str:
    return "" if np.isnan(reading.age_low) else f" ({reading.age_low:.0f}-{reading.age_high:.0f})"


def _checked(photo: np.ndarray) -> np.ndarray:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ValueError(
            "a photo must be an RGB array, uint8 from 0 to 255, height x width x 3; "
            f"got {photo.dtype}, {' x '.join(map(str, photo.shape))}"
        )
    return photo
