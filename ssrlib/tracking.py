"""Faces over time: which face is the one of a moment ago, and a calmer reading of it.

Two neighboring frames show the same face in nearly the same place. So each new reading goes to the
track whose box overlaps its own most (intersection over union, IoU), and what overlaps nothing
begins a track. A track's numbers are exponential averages of its readings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ssrlib import detectors
from ssrlib.detectors import Box, iou, moved
from ssrlib.estimator import AgeGenderEstimator, Reading

MIN_IOU = 0.3
# A label's age, low and high bound and p_male, rounded to so many digits, each stay until the average is this
# far from them. Else they would flicker between two numbers. The bounds swing more than the age, and nobody
# needs them to a year: they are ten years apart.
STEADY, DIGITS = (0.7, 1.5, 1.5, 0.05), (0, 0, 0, 2)
# After this time, 63 % of a change has arrived in a track's box, in its age and gender, and in how far the
# bounds are from the age.
BOX_SECONDS, READING_SECONDS, BOUNDS_SECONDS = 0.1, 1.0, 4.0
# Ages that scatter by more years than this from frame to frame get more time, up to so many times as much.
SCATTER, LONGEST = 1.5, 8.0
# The standard deviation of normal numbers, if this is the mean step from one to the next.
PER_STEP = math.sqrt(math.pi) / 2
# A face that was not seen for so long is gone. A pattern that looks like a face for one frame is not shown.
LOST_SECONDS, SHOWN_FROM = 0.6, 2

# A frame with this many faces or fewer is searched only near them, and as a whole this often (seconds).
FEW_FACES, SEARCH_EVERY = 6, 0.5

# A face narrower than this (pixels) has fewer pixels than the network reads.
SMALL = 48
# In a dark picture only one in twenty of all values, from 0 to 255, is above this. Its bright places are
# asked, not the face: that may be of a dark color.
DARK = 70
# While nobody is found, faces that are turned too far are looked for this often (seconds).
TURN_EVERY = 1.0

# A detector without a `search_again` looks for a face that is known at this width.
KNOWN_WIDTH = 60


@dataclass
class Track:
    """One face over time.

    Attributes:
        number: the same for as long as the face is followed; never given twice.
        latest: the last reading as it was.
        smooth: its averages over the last second or so, its box the average of a shorter time. Once one
            reading was sure, it is: else the doubt would flicker.
        seen: when the last reading came, in seconds.
        readings: how many there were.
        scatter: the standard deviation of single ages, in years, as the steps from one to the next tell it:
            a change that stays is one step, and hardly counts.
        label: the average age and its bounds in whole years, and the average p_male in hundredths, which keep
            still where the averages hardly move.
    """

    number: int
    latest: Reading
    smooth: Reading
    seen: float
    readings: int = 1
    scatter: float = 0.0
    label: tuple[float, float, float, float] = field(init=False)

    def __post_init__(self) -> None:
        age, low, high, p_male = map(round, self.smooth[1:5], DIGITS)
        self.label = age, low, high, p_male

    @property
    def steady(self) -> Reading:
        """What is shown: the average box with the label's numbers."""
        return Reading(self.smooth.box, *self.label, self.smooth.sure)

    def add(self, reading: Reading, now: float) -> None:
        """Take in what was read at the time `now`, in seconds."""
        self.readings += 1
        passed = max(0.0, now - self.seen)
        # The first readings count equally: one that came first should not weigh longer than the next.
        slow = max(1 / self.readings, 1 - math.exp(-passed / BOUNDS_SECONDS))
        self.scatter += (abs(reading.age - self.latest.age) * PER_STEP - self.scatter) * slow
        longer = min(LONGEST, max(1.0, (self.scatter / SCATTER) ** 2))
        share = max(1 / self.readings, 1 - math.exp(-passed / (longer * READING_SECONDS)))
        box_share = 1 - math.exp(-passed / BOX_SECONDS)
        x, y, width, height = _toward(self.smooth.box[:4], reading.box[:4], box_share)
        age, p_male = _toward((self.smooth.age, self.smooth.p_male), (reading.age, reading.p_male), share)
        below, above = _toward(_reach(self.smooth), _reach(reading), slow)
        # The bounds go with the age, and nobody is younger than 0. (Without bounds, both are NaN.)
        low, high = float(np.maximum(0.0, age - below)), age + above
        sure = self.smooth.sure or reading.sure
        self.smooth = Reading(Box(x, y, width, height), age, low, high, p_male, sure)
        self.latest, self.seen = reading, now
        age, low, high, p_male = (
            old if abs(new - old) < far else round(new, digits)
            for old, new, far, digits in zip(self.label, self.smooth[1:5], STEADY, DIGITS, strict=True)
        )
        self.label = age, min(low, age), max(high, age), p_male  # a bound that stayed may have been passed


def _toward(old: Sequence[float], new: Sequence[float], share: float) -> list[float]:
    """Numbers that have gone a share of the way from the old to the new ones."""
    return [before + (after - before) * share for before, after in zip(old, new, strict=True)]


def _reach(reading: Reading) -> tuple[float, float]:
    """How far an age's bounds are from it."""
    return reading.age - reading.age_low, reading.age_high - reading.age


class Tracker:
    """Follow faces from frame to frame.

    >>> tracker = Tracker()
    >>> face = Reading(Box(10, 10, 50, 50), age=30.0, age_low=24.0, age_high=37.0, p_male=0.2)
    >>> [track.number for track in tracker.update([face], now=0.0)]  # not yet: it may be a pattern
    []
    >>> [track.number for track in tracker.update([face._replace(box=Box(14, 10, 50, 50))], now=0.1)]
    [1]
    """

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._count = 0

    def update(self, readings: Sequence[Reading], now: float) -> list[Track]:
        """Take in one frame's readings at the time `now` (seconds); return the tracks it shows.

        The best overlap is matched first; each track gets at most one reading. The largest face comes
        first.
        """
        pairs = [
            (iou(track.latest.box, reading.box), t, r)
            for t, track in enumerate(self.tracks)
            for r, reading in enumerate(readings)
        ]
        tracked, matched = set(), set()
        for overlap, t, r in sorted(pairs, reverse=True):
            if overlap >= MIN_IOU and t not in tracked and r not in matched:
                self.tracks[t].add(readings[r], now)
                tracked.add(t)
                matched.add(r)
        for r in sorted(set(range(len(readings))) - matched):
            self._count += 1
            self.tracks.append(Track(self._count, readings[r], readings[r], now))
        self.tracks = [track for track in self.tracks if now - track.seen < LOST_SECONDS]
        shown = [track for track in self.tracks if track.seen == now and track.readings >= SHOWN_FROM]
        return sorted(shown, key=lambda track: track.smooth.box.width, reverse=True)


class Following:
    """The faces of one stream of frames, and when it was last searched as a whole.

    >>> frame = np.zeros((48, 64, 3), np.uint8)
    >>> Following().follow(frame, 0.0, AgeGenderEstimator(backend="onnx"))
    []
    """

    def __init__(self) -> None:
        self.tracker, self.searched, self.asked = Tracker(), -math.inf, -math.inf
        self.turned, self.lies = -math.inf, False

    def follow(self, photo: np.ndarray, now: float, estimator: AgeGenderEstimator) -> list[Track]:
        """Take in the frame (uint8, height x width x 3, RGB) of the time `now` (s); return what it shows."""
        boxes = [track.latest.box for track in self.tracker.tracks]
        if 0 < len(boxes) <= FEW_FACES and now - self.searched < SEARCH_EVERY:
            again = find_again(photo, boxes, estimator.crop.detector)
            return self.tracker.update(estimator.predict_again(photo, again), now)
        boxes, self.searched = find_new(photo, estimator.crop.detector), now
        # Many faces are sought in each frame. Whether they surely are faces is asked as often as of few.
        if self.tracker.tracks and now - self.asked < SEARCH_EVERY:
            return self.tracker.update(estimator.predict_again(photo, boxes), now)
        self.asked = now
        return self.tracker.update(estimator.predict(photo, boxes), now)

    def hint(self, photo: np.ndarray, now: float, detector: str = "finder") -> str:
        """Return what keeps the faces of the frame that `follow` took in last from being read well.

        That is "dark", "small" (of the largest face), "tilted" (nobody is found, unless the frame is turned
        by a quarter or a half), or nothing.
        """
        if is_dark(photo):
            return "dark"
        if sides := [track.latest.box.width for track in self.tracker.tracks]:
            return "small" if max(sides) < SMALL else ""
        if now - self.turned >= TURN_EVERY:
            self.turned, self.lies = now, bool(find_new(photo, detector, any_angle=True))
        return "tilted" if self.lies else ""


def is_dark(photo: np.ndarray) -> bool:
    """Whether hardly anything in a picture (uint8, RGB) is bright.

    >>> is_dark(np.full((48, 64, 3), 40, np.uint8))
    True
    """
    return bool(np.percentile(photo[::8, ::8], 95) < DARK)


def find_new(photo: np.ndarray, detector: str = "finder", any_angle: bool = False) -> list[Box]:
    """Find faces in a frame (uint8, height x width x 3, RGB), quickly: at reduced size.

    Asked for any angle, a detector that knows only upright faces finds nobody.
    """
    known = detectors.DETECTORS[detector]
    if any_angle and not known.search_any_angle:
        return []
    scale = max(1.0, max(photo.shape[:2]) / known.frame_side)
    return [moved(box, scale) for box in detectors.find(_shrunk(photo, scale), detector, any_angle)]


def find_again(photo: np.ndarray, boxes: Sequence[Box], detector: str = "finder") -> list[Box]:
    """Find the faces that were at `boxes` a moment ago, near there and of about that size.

    For a few faces this takes a small part of the time that a search of the whole frame takes.
    """
    if search_again := detectors.DETECTORS[detector].search_again:
        return search_again(photo, boxes)
    found: list[Box] = []
    for box in boxes:
        x, y, width, height = (round(value) for value in box[:4])
        left, top = max(0, x - width // 2), max(0, y - height // 2)
        right, bottom = max(0, x + width + width // 2), max(0, y + height + height // 2)
        region = photo[top:bottom, left:right]
        scale = max(1.0, width / KNOWN_WIDTH)
        if min(region.shape[:2]) >= scale:
            again = detectors.find(_shrunk(region, scale), detector)
            near = [moved(new, scale, left, top) for new in again]
            near = [new for new in near if all(iou(new, other) < MIN_IOU for other in found)]
            found += sorted(near, key=lambda new: iou(new, box))[-1:]
    return found


def _shrunk(photo: np.ndarray, scale: float) -> np.ndarray:
    size = tuple(max(1, round(side / scale)) for side in photo.shape[1::-1])
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
