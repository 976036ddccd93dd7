"""A face's five points: where they lie in an aligned face, and how a face lies by them.

Always in this order: the eyes, the tip of the nose and the corners of the mouth, each pair from left to right
in the picture.
"""

import cv2
import numpy as np

# Where the eyes, the nose tip and the mouth's corners lie in a 64 x 64 face, x and y: the eyes as
# measured on UTKFace, the rest in the usual proportions of five-point templates.
TEMPLATE = np.array([[19.5, 18.8], [44.5, 18.8], [32.0, 33.1], [21.6, 47.6], [42.4, 47.6]])

# The middle of a 64 x 64 face: as everywhere, a whole number is the middle of a pixel.
MIDDLE = 31.5
# However large a face is, no more of a photo's pixels than these go into one of the square's, each way.
MAX_REDUCTION = 64

# In a mirror, a face's left eye is its right one.
MIRRORED = [1, 0, 2, 4, 3]


def square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tell how faces lie from their points: the center, side and turn of the template's square on them.

    Points are taken as complex numbers, for which turning and scaling is one multiplication.

    Args:
        points: ... x 5 x 2.

    Returns:
        center (... x 2, pixels), side (..., pixels), roll (..., degrees, positive where the head is
        turned clockwise in the picture).

    >>> center, side, roll = square(TEMPLATE)
    >>> center.round(6), side.round(6), abs(roll.round(6))
    (array([31.5, 31.5]), np.float64(64.0), np.float64(0.0))
    """
    template = (TEMPLATE - TEMPLATE.mean(0)) @ [1, 1j]
    points = np.asarray(points, float)
    middle = points.mean(-2)
    factor = ((points - middle[..., None, :]) @ [1, 1j]) @ template.conj() / (abs(template) ** 2).sum()
    away = factor * ((MIDDLE - TEMPLATE.mean(0)) @ [1, 1j])
    center = middle + np.stack([away.real, away.imag], -1)
    return center, 64 * np.abs(factor), np.degrees(np.angle(factor))


def placed(
    center: np.ndarray,
    side: float | np.ndarray,
    roll: float | np.ndarray,
    points: np.ndarray = TEMPLATE,
) -> np.ndarray:
    """Return where points of an aligned face lie in a picture: what `square` tells, the other way round.

    Args:
        center: ... x 2, pixels.
        side: ..., pixels.
        roll: ..., degrees, positive where the head is turned clockwise in the picture.
        points: N x 2, in the 64 x 64 pixels of the aligned face.

    Returns:
        ... x N x 2.

    >>> placed(np.array([31.5, 31.5]), 64.0, 90.0)[0].round(1)
    array([44.2, 19.5])
    """
    factor = np.asarray(side / 64 * np.exp(1j * np.radians(roll)))
    away = factor[..., None] * ((points - MIDDLE) @ [1, 1j])
    there: np.ndarray = np.asarray(center)[..., None, :] + np.stack([away.real, away.imag], -1)
    return there


def share_outside(points: np.ndarray, height: int, width: int) -> float:
    """Tell how much of a face's square lies outside its photo: a share of its area, from 0 to 1.

    Args:
        points: 5 x 2.
        height, width: of the photo, in pixels.

    >>> share_outside(TEMPLATE, 64, 64), share_outside(TEMPLATE, 48, 64), share_outside(TEMPLATE - 99, 64, 64)
    (0.0, 0.25, 1.0)
    """
    pixels = np.argwhere(np.ones((64, 64)))
    places = placed(*square(points), pixels)
    inside = (places >= -0.5) & (places <= [width - 0.5, height - 0.5])
    return float(1 - inside.all(-1).mean())


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the 2 x 3 matrix of the turn, scale and shift that best moves points (N x 2) onto others.

    >>> matrix = similarity(np.array([[0, 0], [2, 0]]), np.array([[1, 1], [1, 5]]))
    >>> matrix @ [1, 0, 1]  # halfway between the two points
    array([1., 3.])
    """
    x, y = source.T
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    system = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    (a, b, right, down), *_ = np.linalg.lstsq(system, target.T.ravel(), rcond=None)
    return np.array([[a, -b, right], [b, a, down]])


def warp(photo: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """Cut a square out of a photo by a 2 x 3 matrix from the photo's pixels to the square's.

    What lies outside the photo repeats its border. Where the square is smaller than what it shows, it is
    first drawn large and then averaged.

    >>> warp(np.full((9, 9, 3), 7, np.uint8), np.array([[0.5, 0, 0], [0, 0.5, 0]]), 4).shape
    (4, 4, 3)
    """
    reduction = min(MAX_REDUCTION, max(1, round(1 / np.hypot(*matrix[0, :2]))))
    larger = matrix * reduction
    # The middle of a pixel that is cut into smaller ones is the middle of those.
    larger[:, 2] += (reduction - 1) / 2
    size, border = (side * reduction, side * reduction), cv2.BORDER_REPLICATE
    cut = cv2.warpAffine(photo, larger, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
