"""Pictures with faces pasted into them, and where those are: what the finder learns from and is judged by.

A photo is turned, scaled, perhaps mirrored and pasted whole, with its surroundings, so the edge of what was
pasted says little about where the face is. Five points of each face are known before and moved along.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from ssrlib.landmarks import MIRRORED, square

# Sides of faces, in pixels: those to find, and how far beyond nobody asks. Others are not faces at this size.
SIDES, DOUBTFUL = (16.0, 56.0), (12.0, 80.0)
# A face counts as long as so many of its five points are in sight.
SEEN = 3
TILE = 128


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


def draw_scene(
    rng: np.random.Generator,
    portraits: Portraits,
    pictures: Sequence[np.ndarray],
    size: int = TILE,
    wide: float = 0.15,
) -> Scene:
    """Draw one picture to learn from: a background, up to six faces in it, and what spoils photos.

    A face that lies on its side or stands on its head is pasted as well now and then, and is none to find.

    Args:
        rng: where all chance comes from.
        portraits: what is pasted; there may be none.
        pictures: backgrounds without a face, uint8, height x width x 3.
        size: height and width of the scene.
        wide: the share of faces that are wider than 56 pixels.
    """
    scene, everywhere = background(rng, pictures, size), np.ones((size, size), bool)
    faces: list[tuple[np.ndarray, bool, np.ndarray]] = []  # points, whether exact, which are in sight
    count = rng.choice([0, 1, 3, 4, 6], p=[0.15, 0.2, 0.25, 0.25, 0.15]) if len(portraits) else 0
    for _ in range(count):
        portrait = portraits[int(rng.integers(len(portraits)))]
        portrait = mirrored(portrait) if rng.random() < 0.5 else portrait
        low, high = SIDES if rng.random() > wide else (SIDES[1], 4 * DOUBTFUL[1])
        side = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        roll = float(rng.uniform(-60, 60) if rng.random() < 0.6 else rng.normal(0, 12))
        center = rng.uniform(0.02 * size, 0.98 * size, 2).tolist()
        fallen = rng.random() < 0.08
        roll = float(rng.uniform(80, 280)) if fallen else roll
        put = paste if portrait.exact else _paste_oval
        points, covered = put(scene, portrait, center, side, roll)
        faces = [(other, exact, seen & ~_covers(covered, other)) for other, exact, seen in faces]
        faces = [face for face in faces if face[2].any()]
        if fallen:
            continue
        if rng.random() < 0.1:
            _cover(scene, points, background(rng, pictures, size))
            continue
        faces.append((points, portrait.exact, _covers(everywhere, points)))
        if rng.random() < 0.15:
            _occlude(rng, scene, points, pictures)
    return Scene(
        spoil(rng, scene),
        np.reshape([points for points, _, _ in faces], (-1, 5, 2)),
        np.array([exact for _, exact, _ in faces], bool),
        np.array([seen.sum() < SEEN for _, _, seen in faces], bool),
    )


def background(rng: np.random.Generator, pictures: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Return a part of a picture at some scale and turn, or a pattern: uint8, size x size x 3."""
    kind = rng.random()
    if kind < 0.1:
        return np.full((size, size, 3), rng.integers(0, 256, 3), np.uint8)
    if kind < 0.25:
        grain = int(2 ** rng.uniform(1, 7))
        noise = rng.integers(0, 256, (max(2, size // grain), max(2, size // grain), 3)).astype(np.uint8)
        smooth = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
        return cv2.resize(noise, (size, size), interpolation=smooth)
    if kind < 0.33:
        return _stones(rng, size)
    picture = pictures[int(rng.integers(len(pictures)))]
    height, width = picture.shape[:2]
    smallest = max(0.15, size / max(height, width) / 1.5)
    scale = float(np.exp(rng.uniform(np.log(smallest), np.log(max(1.5, 2 * smallest)))))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-90, 90)), scale)
    middle = rng.uniform(0, 1, 2) * [width, height]
    matrix[:, 2] = size / 2 - matrix[:, :2] @ middle
    if scale < 0.5:
        small = cv2.resize(picture, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        matrix = matrix * [[width / small.shape[1], height / small.shape[0], 1]]
        picture = small
    border = cv2.BORDER_REFLECT if rng.random() < 0.7 else cv2.BORDER_CONSTANT
    turned = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.ascontiguousarray(turned)


def _stones(rng: np.random.Generator, size: int) -> np.ndarray:
    """Round things that lie on each other, each darker at its rim: gravel, fruit, crowds seen from afar."""
    typical = float(2 ** rng.uniform(3, 5.5))
    shade, color = rng.uniform(40, 210), rng.uniform(0.8, 1.2, 3)
    picture = np.full((size, size, 3), 0.3 * shade * color, np.float32)
    for _ in range(int(4 * (size / typical) ** 2)):
        x, y = rng.uniform(0, size, 2).tolist()
        long, broad = (typical * rng.uniform(0.4, 1.4, 2)).tolist()
        tone, angle = (shade + rng.normal(0, 0.3 * shade)) * color, float(rng.uniform(0, 180))
        cv2.ellipse(picture, ((x, y), (long, broad), angle), (0.6 * tone).tolist(), -1)
        light = (x - 0.06 * typical, y - 0.06 * typical)
        cv2.ellipse(picture, (light, (0.75 * long, 0.75 * broad), angle), tone.tolist(), -1)
    soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, typical / 10)))
    return np.clip(soft, 0, 255).astype(np.uint8)


def spoil(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Return a picture as a poor camera has it: darker, grayer, blurred, noisy, compressed; or as it is."""
    picture = picture.astype(np.float32)
    if rng.random() < 0.7:
        gamma, gain = np.exp(rng.normal(0, 0.25)), np.exp(rng.uniform(-1.0, 0.25))
        picture = 255 * gain * (picture / 255) ** gamma + rng.normal(0, 12)
    if rng.random() < 0.15:
        picture = picture * rng.uniform(0.08, 0.4)
    if rng.random() < 0.3:
        picture = picture * rng.uniform(0.75, 1.25, 3).astype(np.float32)
    if rng.random() < 0.12:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.8)))
    if rng.random() < 0.35:
        picture = picture + rng.normal(0, rng.uniform(1, 14), picture.shape)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 95))]
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1]
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB))
    return picture


def _covers(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points lie where a mask is true; outside it, none do."""
    x, y = np.floor(points + 0.5).astype(int).T
    inside = (x >= 0) & (y >= 0) & (y < mask.shape[0]) & (x < mask.shape[1])
    covered = np.zeros(len(points), bool)
    covered[inside] = mask[y[inside], x[inside]]
    return covered


def _paste_oval(
    scene: np.ndarray, portrait: Portrait, center: Sequence[float], side: float, roll: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a photo that ends at the face with a soft oval edge, for its own is as good as a label."""
    layer = scene.copy()
    points, covered = paste(layer, portrait, center, side, roll)
    oval = np.zeros(scene.shape[:2], np.float32)
    axes = (side, 1.16 * side)
    cv2.ellipse(oval, (tuple(center), axes, roll), 1.0, -1)
    oval = cv2.GaussianBlur(oval * covered, (0, 0), max(0.5, side / 25))[..., None]
    scene[:] = (scene + (layer.astype(np.float32) - scene) * oval).astype(np.uint8)
    return points, oval[..., 0] > 0.5


def _cover(scene: np.ndarray, points: np.ndarray, other: np.ndarray) -> None:
    """Put something else where a face was: what is around a face is not one."""
    (x, y), side, roll = square(points)
    oval = np.zeros(scene.shape[:2], np.uint8)
    cv2.ellipse(oval, ((float(x), float(y)), (1.1 * float(side), 1.3 * float(side)), float(roll)), 255, -1)
    scene[oval > 0] = other[oval > 0]


def _occlude(
    rng: np.random.Generator, scene: np.ndarray, points: np.ndarray, pictures: Sequence[np.ndarray]
) -> None:
    """Cover a part of a face, at a side, above or below, with a piece of another picture."""
    (x, y), side, _ = square(points)
    size = scene.shape[0]
    reach = side * rng.uniform(0.18, 0.42)
    where = rng.integers(4)
    left, top, right, bottom = x - side / 2, y - side / 2, x + side / 2, y + side / 2
    if where == 0:
        bottom = top + reach
    elif where == 1:
        top = bottom - reach
    elif where == 2:
        right = left + reach
    else:
        left = right - reach
    a, b, c, d = (int(np.clip(value, 0, size)) for value in (left, top, right, bottom))
    if c > a and d > b:
        scene[b:d, a:c] = background(rng, pictures, size)[b:d, a:c]
