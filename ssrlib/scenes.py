"""Pictures with faces pasted into them, and where those are: what the finder learns from and is judged by.

A photo is turned, scaled, perhaps mirrored and pasted whole, with its surroundings, so the edge of what was
pasted says little about where the face is. Five points of each face are known before and moved along.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from ssrlib.landmarks import MIRRORED, square


class Portrait(NamedTuple):
    """A photo with one face: uint8, height x width x 3, RGB, and its points (5 x 2, x and y in pixels).

    `exact` says that the points were marked in this photo, and are not just about where such photos
    have them.
    """

    photo: np.ndarray
    points: np.ndarray
    exact: bool = True


class Portraits(Protocol):
    """A list of portraits, or what is used like one and reads them from a disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Portrait: ...


class Scene(NamedTuple):
    """A picture and the faces in it.

    Attributes:
        picture: uint8, height x width x 3, RGB.
        points: n x 5 x 2.
        exact: n, see `Portrait`.
        hidden: n, whether some of a face's points are covered or outside, so that nobody should ask for it.
    """

    picture: np.ndarray
    points: np.ndarray
    exact: np.ndarray
    hidden: np.ndarray


def paste(
    scene: np.ndarray, portrait: Portrait, center: Sequence[float], side: float, roll: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a whole photo into a picture so that its face has a given center, side and turn.

    Args:
        scene: uint8, height x width x 3, which is changed.
        portrait: what is pasted.
        center, side, roll: of the face, as `square` tells them.

    Returns:
        The points in the scene (5 x 2), and what was covered (height x width, bool).

    >>> from ssrlib.landmarks import TEMPLATE
    >>> points, covered = paste(np.zeros((90, 90, 3), np.uint8),
    ...                         Portrait(np.zeros((64, 64, 3), np.uint8), TEMPLATE), (45, 45), 32, 90)
    >>> points[0].round(2), covered.sum() > 900
    (array([51.35, 39.  ]), np.True_)
    """
    photo, points, _ = portrait
    # Averaged down first: what is only sampled shows patterns that no camera makes.
    shrink = 2 * side / float(square(points)[1])
    if shrink < 1:
        size = [max(1, round(length * shrink)) for length in photo.shape[1::-1]]
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        points = (points + 0.5) * np.array(size) / portrait.photo.shape[1::-1] - 0.5
    middle, own_side, own_roll = (part.tolist() for part in square(points))
    matrix = cv2.getRotationMatrix2D(middle, own_roll - roll, side / own_side)
    matrix[:, 2] += np.asarray(center) - middle
    height, width = scene.shape[:2]
    cv2.warpAffine(
        photo, matrix, (width, height), dst=scene, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
    whole = np.full(photo.shape[:2], 255, np.uint8)
    covered = cv2.warpAffine(whole, matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
    return points @ matrix[:, :2].T + matrix[:, 2], covered


def mirrored(portrait: Portrait) -> Portrait:
    """Return a portrait as a mirror shows it.

    >>> from ssrlib.landmarks import TEMPLATE
    >>> mirrored(Portrait(np.zeros((64, 64, 3), np.uint8), TEMPLATE)).points[0]
    array([18.5, 18.8])
    """
    photo, points, exact = portrait
    turned = points[MIRRORED] * [-1, 1] + [photo.shape[1] - 1, 0]
    return Portrait(np.ascontiguousarray(photo[:, ::-1]), turned, exact)
