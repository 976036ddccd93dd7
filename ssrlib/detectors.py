"""Find the faces in a photo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import local
from typing import Any, NamedTuple

import cv2
import numpy as np

from ssrlib.files import cache_folder
from ssrlib.landmarks import MIDDLE, TEMPLATE, placed, similarity, square, warp

# OpenCV's second detector also finds the eyes, the nose and the corners of the mouth. It needs a file
# that no package ships: face_detection_yunet_2023mar.onnx of https://github.com/opencv/opencv_zoo, which
# has the license MIT.
YUNET = cache_folder() / "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"

# Photos are searched for faces at no more than this many pixels on the longer side.
DETECTION_SIDE = 1024


# The built-in finder is two networks, see `ssrlib.finder`. The first gives one answer for so many pixels, and
# points in so many.
NETWORKS = ("finder", "refiner")
STRIDE, REACH = 8, 32.0
# The second sees a square of this side, with a face of that one upright in it; its points are told from where
# they would be in a face of the template, in so many pixels.
PATCH, PATCH_FACE, NUDGE = 64, 40, 8.0
UPRIGHT = (TEMPLATE - MIDDLE) * PATCH_FACE / 64 + (PATCH - 1) / 2
FINDER = Path(__file__).parent / "pretrained" / "finder"
# An aligned face lies lower than its box by this share of the box's width: it ends at the chin.
LOWER = 0.1
# The finder's photo is halved until its longer side has at most this many pixels.
SMALLEST_COPY = 48
# What deserves a second look, what all looks together take for a face, and what is still one a moment later:
# chances from 0 to 1. tools/weights/threshold.py chose the second on validation photos.
POSSIBLE, CERTAIN, STILL = 0.25, 0.75, 0.5
# What is found below this score is doubted: `estimator.Reading.sure`. tools/weights/threshold.py chose it.
SURE = 0.8
# With more of its square than this share outside the photo, a face is doubted. In validation photos that were
# cut off at one side, ages moved by 1.6 years up to 0.15, by 3.7 from 0.2 to 0.25, and by 7 beyond 0.35.
OUTSIDE = 0.25
# A face on its side, sought in its other turns: in squares so much wider, since its middle is known badly.
WIDER = 1.25
# Two finds that share more than this part of what they cover together are one face.
SAME = 0.35


class Box(NamedTuple):
    """Where a face is in a photo, in pixels from the top left corner, as its detector marks it.

    `landmarks` are the five points of `TEMPLATE`, for a detector that finds them. `score` is how sure its
    detector is that it is a face, from 0 to 1; None if it does not say.
    """

    x: float
    y: float
    width: float
    height: float
    landmarks: tuple[tuple[float, float], ...] | None = None
    score: float | None = None


@dataclass(frozen=True)
class Detector:
    """A way to find faces. Photos are uint8, height x width x 3, RGB.

    Attributes:
        search: from a photo to the boxes of its faces, in no order.
        check: raises what keeps it from working, such as a file that is missing.
        frame_side: live pictures are searched at this many pixels on the longer side. More would find
            smaller faces, and take longer.
        search_any_angle: as `search`, also for faces that lie on their side or stand on their head.
        search_again: finds the faces that were at some boxes a moment ago, faster than a search nearby would.
        straighten: sees a face in a box that somebody placed, and its points; None if there is none.

    What a detector cannot do is None. A new one is one more `Detector` in `DETECTORS`.
    """

    search: Callable[[np.ndarray], list[Box]]
    check: Callable[[], object]
    frame_side: int
    search_any_angle: Callable[[np.ndarray], list[Box]] | None = None
    search_again: Callable[[np.ndarray, Sequence[Box]], list[Box]] | None = None
    straighten: Callable[[np.ndarray, Box], Box | None] | None = None


def find(photo: np.ndarray, detector: str = "finder", any_angle: bool = False) -> list[Box]:
    """Find the faces in a photo, the largest first.

    The built-in finder sees faces from about 24 pixels on, and from about an 85th of the photo's longer
    side, tilted by up to 45 degrees, and their landmarks. Of faces tilted further it finds some, at a turn
    that may be wrong: `estimator.Reading.sure` is False for most that lie on their side. OpenCV's Haar
    cascade sees faces from 24 pixels on and from a thirtieth of the photo's longer side, loses most that are
    tilted by 30 degrees, and knows no landmarks. Each misses faces, and now and then sees one in a pattern;
    the built-in finder's boxes have a score, which is low where that is likelier.

    Args:
        photo: uint8, height x width x 3, RGB.
        detector: a key of `DETECTORS`: "finder", "haar", or "yunet", whose file must be at `YUNET`.
        any_angle: search also the photo turned by 90, 180 and 270 degrees, as the built-in finder can. It
            takes four times as long, and sees four times as many faces where there are none.

    Raises:
        ValueError: there is no such detector, its file is another one, or it cannot search at any angle.
        FileNotFoundError: its file is missing.
        ImportError: ONNX Runtime is not installed, which the finder needs.

    >>> find(np.zeros((100, 100, 3), np.uint8))
    []
    """
    known = detector_named(detector)
    search = known.search_any_angle if any_angle else known.search
    if not search:
        can = [repr(name) for name, other in DETECTORS.items() if other.search_any_angle]
        raise ValueError(f"only the detector {' or '.join(can)} searches at any angle, not {detector!r}")
    scale = max(1.0, max(photo.shape[:2]) / DETECTION_SIDE)
    size = tuple(max(1, round(side / scale)) for side in photo.shape[1::-1])
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return sorted((moved(box, scale) for box in search(small)), key=lambda box: box.width, reverse=True)


def detector_named(name: str) -> Detector:
    """Return a detector that is ready to search.

    Raises:
        ValueError, FileNotFoundError, ImportError: as `find` does.

    >>> detector_named("eyes")
    Traceback (most recent call last):
    ValueError: there is no detector 'eyes'; there are: finder, haar, yunet
    """
    if name not in DETECTORS:
        raise ValueError(f"there is no detector {name!r}; there are: {', '.join(DETECTORS)}")
    DETECTORS[name].check()
    return DETECTORS[name]


def iou(a: Box, b: Box) -> float:
    """Return the area that two boxes share, as a share of the area that they cover together.

    >>> iou(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == 50 / 150
    True
    """
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(0, width) * max(0, height)
    return shared / (a.width * a.height + b.width * b.height - shared) if shared else 0.0


def _find_haar(photo: np.ndarray) -> list[Box]:
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    smallest = max(24, max(gray.shape) // 30)
    found = _cascade().detectMultiScale(gray, 1.08, 5, minSize=(smallest, smallest))
    return [Box(*box.tolist()) for box in np.reshape(found, (-1, 4))]


def _find_yunet(photo: np.ndarray) -> list[Box]:
    detector = _yunet()
    detector.setInputSize(photo.shape[1::-1])
    _, found = detector.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))
    rows = [] if found is None else found.tolist()
    # Each row ends with YuNet's own score. `SURE` was not chosen for it, so no box gets it.
    # YuNet names the eyes and corners from the person's side: right comes first, and is left in the photo.
    marks = [tuple(zip(row[4:14:2], row[5:14:2], strict=True)) for row in rows]
    return [Box(row[0], row[1], row[2], row[3], points) for row, points in zip(rows, marks, strict=True)]


def _find_finder(photo: np.ndarray) -> list[Box]:
    return _certain(look(photo))


def _certain(boxes: list[Box]) -> list[Box]:
    return [box for box in boxes if box.score is not None and box.score >= CERTAIN]


def _find_any_angle(photo: np.ndarray) -> list[Box]:
    """Find faces in a photo and in its turns by 90, 180 and 270 degrees: the surest find of each place.

    Parts of a face that stands on its head look like another face, of another size. So a find whose center
    lies in a surer one is none.
    """
    points, scores = [], []
    for quarters in range(4):
        for box in look(np.ascontiguousarray(np.rot90(photo, quarters))):
            points.append(_turned_back(points_of(box), quarters, photo))
            scores.append(box.score)
    found: list[Box] = []
    for box in _certain(_boxes(np.reshape(points, (-1, 5, 2)), np.array(scores))):
        if not any(_holds_center(surer, box) for surer in found):
            found.append(box)
    return found


def _holds_center(box: Box, other: Box) -> bool:
    x, y = other.x + other.width / 2, other.y + other.height / 2
    return 0 <= x - box.x <= box.width and 0 <= y - box.y <= box.height


def _turned_back(points: np.ndarray, quarters: int, photo: np.ndarray) -> np.ndarray:
    """Points in `np.rot90(photo, quarters)` in the photo's own pixels; the left eye stays the first."""
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarters)
    middle = (np.array(photo.shape[1::-1]) - 1) / 2
    turned_middle = middle[::-1] if quarters % 2 else middle
    back: np.ndarray = (points - turned_middle) @ turn.T + middle
    return back


def look(photo: np.ndarray) -> list[Box]:
    """Find all that could be a face with the built-in finder, the surest first.

    The first network knows faces of one size. So it looks at the photo, at its half, its quarter and so on.
    The second looks at each place where the first saw something, turned upright and at one size, and places
    the points. Then it looks once more, at the face as it has just seen it, which lies straighter in its
    square. A box's score is the geometric mean of the three chances.

    >>> look(np.zeros((100, 100, 3), np.uint8))
    []
    """
    points, first = first_look(photo)
    kept = _nms(points, first)
    points, second = _second_look(photo, points[kept])
    points, third = _second_look(photo, points)
    return _boxes(points, np.cbrt(first[kept] * second * third))


def look_again(photo: np.ndarray, boxes: Sequence[Box]) -> list[Box]:
    """Find faces that were at `boxes` a moment ago: the built-in finder's second look alone.

    It takes a small part of a search's time. A face that moved far is lost. Each keeps the score that its box
    came with: the second look's alone is on another scale.

    Args:
        photo: uint8, height x width x 3, RGB.
        boxes: where they were; a box without landmarks is taken for an upright face.

    >>> look_again(np.zeros((100, 100, 3), np.uint8), [])
    []
    """
    points, chances = _second_look(photo, np.reshape([points_of(box) for box in boxes], (-1, 5, 2)))
    kept = [number for number in _nms(points, chances) if chances[number] >= STILL]
    return [box_of(points[number], boxes[number].score) for number in kept]


def straightened(photo: np.ndarray, box: Box) -> Box | None:
    """Return a box with the points of the face in it, as the built-in finder's second look sees them.

    It looks three times, each time at the face as it saw it last: a box tells little of how a face lies. If
    the first look sees no face, there is None.

    >>> straightened(np.zeros((100, 100, 3), np.uint8), Box(10, 10, 60, 60))
    """
    points, scores = _second_look(photo, points_of(box)[None])
    if scores[0] < STILL:
        return None
    for _ in range(2):
        points, _ = _second_look(photo, points)
    return box._replace(landmarks=tuple(map(tuple, points[0].tolist())))


def lies_otherwise(photo: np.ndarray, boxes: Sequence[Box]) -> list[bool]:
    """Whether each face looks at least as much like one when it is turned by 90, 180 or 270 degrees.

    A search that is not for any angle finds some faces that lie on their side or stand on their head, at a
    turn that is wrong. Then the second look, twice at each other turn, sees more of a face than at this one.

    Args:
        photo: uint8, height x width x 3, RGB.
        boxes: where the faces are; a box without landmarks is taken for an upright face.

    >>> lies_otherwise(np.zeros((100, 100, 3), np.uint8), [])
    []
    """
    if not boxes:
        return []
    points = np.stack([points_of(box) for box in boxes])
    centers, sides, rolls = square(points)
    turned = [placed(centers, WIDER * sides, rolls + turn) for turn in (90, 180, 270)]
    seen, scores = _second_look(photo, np.concatenate([points, *turned]))
    _, others = _second_look(photo, seen[len(boxes) :])
    doubted: list[bool] = (others.reshape(3, -1).max(0) >= scores[: len(boxes)]).tolist()
    return doubted


def _boxes(points: np.ndarray, scores: np.ndarray) -> list[Box]:
    return [box_of(points[number], float(scores[number])) for number in _nms(points, scores)]


def first_look(photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points (n x 5 x 2) and scores of what could be a face, of any size."""
    found, scale = [], 1
    while True:
        points, scores = _peaks(_answers("finder", photo[None])[0])
        found.append(((points + 0.5) * scale - 0.5, scores))
        if max(photo.shape[:2]) <= SMALLEST_COPY:
            break
        photo, scale = _half(photo), 2 * scale
    all_points, all_scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return all_points, all_scores


def _half(photo: np.ndarray) -> np.ndarray:
    """Half of a photo's size, each pixel the mean of four; an odd last row or column is doubled first."""
    height, width = photo.shape[:2]
    even = cv2.copyMakeBorder(photo, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _second_look(photo: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points and scores of what could be faces, each seen upright and at the same size."""
    if not len(points):
        return points, np.zeros(0)
    matrices = [similarity(five, UPRIGHT) for five in points]
    patches = np.stack([warp(photo, matrix, PATCH) for matrix in matrices])
    answers = _answers("refiner", patches)
    seen = UPRIGHT + NUDGE * answers[:, 1:].reshape(-1, 5, 2)
    back = [
        (five - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        for five, matrix in zip(seen, matrices, strict=True)
    ]
    return np.array(back), answers[:, 0]


def _answers(name: str, pictures: np.ndarray) -> np.ndarray:
    """What a network says to pictures (uint8, N x height x width x 3), a chance in place of the logit."""
    ready = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    answers: np.ndarray = network(name).run(None, {"pictures": ready})[0]
    answers[:, 0] = 1 / (1 + np.exp(-answers[:, 0]))
    return answers


def _peaks(answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where an answer (11 x h x w) is surer than around: points (n x 5 x 2, in pixels) and scores."""
    chances = answer[0]
    highest = chances == cv2.dilate(chances, np.ones((3, 3)))
    places = np.argwhere(highest & (chances > POSSIBLE))
    found = [_points_at(answer, y, x) for y, x in places]
    return np.reshape(found, (-1, 5, 2)), chances[tuple(places.T)]


def _points_at(answer: np.ndarray, row: int, column: int) -> np.ndarray:
    """The five points (5 x 2) that a cell and its neighbors see, weighed by the squares of their chances."""
    height, width = answer.shape[1:]
    near = slice(max(0, row - 1), min(height, row + 2)), slice(max(0, column - 1), min(width, column + 2))
    y, x = np.mgrid[near].reshape(2, -1)
    centers = np.stack([x, y], 1) * STRIDE + (STRIDE - 1) / 2
    seen = answer[1:, y, x].T.reshape(-1, 5, 2) * REACH + centers[:, None]
    weights = answer[0, y, x] ** 2
    points: np.ndarray = np.tensordot(weights / weights.sum(), seen, 1)
    return points


def _nms(points: np.ndarray, scores: np.ndarray) -> list[int]:
    """Which finds to keep, the surest first: none that mostly covers a surer one."""
    boxes = [box_of(five) for five in points]
    kept: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        if all(iou(boxes[number], boxes[other]) < SAME for other in kept):
            kept.append(number)
    return kept


def points_of(box: Box) -> np.ndarray:
    """A box's landmarks, or those of an upright face in it."""
    if box.landmarks:
        return np.array(box.landmarks)
    # A square as wide as the box, around its middle, as `face_crop.Crop` cuts it.
    corner = np.array([box.x, box.y + (box.height - box.width) / 2 + LOWER * box.width])
    return corner + (TEMPLATE + 0.5) * box.width / 64 - 0.5


def box_of(points: np.ndarray, score: float | None = None) -> Box:
    """A box from the forehead to the chin, as Haar's cascade would mark it, with its points and score."""
    center, side, roll = square(points)
    up = np.radians(roll - 90)
    x, y = (center + LOWER * side * np.array([np.cos(up), np.sin(up)])).tolist()
    width = float(side)
    # The middle of a pixel is a half from its edge, where a box begins.
    left, top = x + 0.5 - width / 2, y + 0.5 - width / 2
    return Box(left, top, width, width, tuple(map(tuple, points.tolist())), score)


def moved(box: Box, scale: float, left: int = 0, top: int = 0) -> Box:
    """Return in a photo's pixels a box in a part of it, which begins at (left, top), `scale` times smaller.

    >>> moved(Box(1, 2, 10, 10), scale=2, left=100)
    Box(x=102, y=4, width=20, height=20, landmarks=None, score=None)
    """
    landmarks = box.landmarks and tuple(
        ((x + 0.5) * scale - 0.5 + left, (y + 0.5) * scale - 0.5 + top) for x, y in box.landmarks
    )
    x, y, width, height = (round(value * scale) for value in box[:4])
    return Box(x + left, y + top, width, height, landmarks, box.score)


# OpenCV's detectors remember what they look at: each thread has its own.
OWN = local()


def _cascade() -> cv2.CascadeClassifier:
    if not hasattr(OWN, "cascade"):
        folder = cv2.data.haarcascades  # type: ignore[attr-defined]
        OWN.cascade = cv2.CascadeClassifier(folder + "haarcascade_frontalface_alt2.xml")
    cascade: cv2.CascadeClassifier = OWN.cascade
    return cascade


def _yunet() -> cv2.FaceDetectorYN:
    if not hasattr(OWN, "yunet"):
        if not YUNET.is_file():
            source = "https://github.com/opencv/opencv_zoo"
            raise FileNotFoundError(f"{YUNET}: missing, and YuNet needs it; get the file from {source}")
        if hashlib.sha256(YUNET.read_bytes()).hexdigest() != YUNET_SHA256:
            raise ValueError(f"{YUNET}: not the file that this name stands for; remove it or get it again")
        OWN.yunet = cv2.FaceDetectorYN.create(str(YUNET), "", (320, 320), 0.8)
    detector: cv2.FaceDetectorYN = OWN.yunet
    return detector


@cache
def can_look() -> bool:
    """Whether the built-in finder can be asked, whatever found a face: whether ONNX Runtime works here."""
    try:
        network("refiner")
    except ImportError:
        return False
    return True


@cache
def network(name: str) -> Any:
    """Return one of the finder's two networks, as ONNX Runtime has it: pictures (uint8, N x 3 x h x w) in.

    Raises:
        ImportError: ONNX Runtime is not installed.

    >>> network("refiner").get_inputs()[0].shape[1:]
    [3, 64, 64]
    """
    try:
        import onnxruntime
    except ImportError as error:
        message = "the face finder needs onnxruntime: pip install 'ssrlib[predict]', or use detector=\"haar\""
        raise ImportError(message) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # so small a network gains nothing from more
    return onnxruntime.InferenceSession(FINDER / f"{name}.onnx", options, providers=["CPUExecutionProvider"])


def finder_sha256() -> str:
    """Return the SHA-256 of the built-in finder's two networks, for results to tell what they come from."""
    return hashlib.sha256(b"".join((FINDER / f"{name}.onnx").read_bytes() for name in NETWORKS)).hexdigest()


DETECTORS = {
    "finder": Detector(
        _find_finder, partial(network, "finder"), 640, _find_any_angle, look_again, straightened
    ),
    "haar": Detector(_find_haar, lambda: None, 320),
    "yunet": Detector(_find_yunet, _yunet, 640),
}
