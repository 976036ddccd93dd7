"""Drawn faces with known ages and genders: no download, no license, no one's likeness.

Each face is drawn from a list of numbers: the shape of skull and jaw, skin, hair, wrinkles, glasses
and beard follow age and gender, each with chance of its own; pose, light, color and background
carry no information. These are cartoons of what people associate with age and gender. They stand in
for photos where a chapter or a test needs faces that may be shown, not for people.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ssrlib import FACE_SIZE, files
from ssrlib.face_crop import CropRecord
from ssrlib.store import NO_REJECTS, SHAPE, FaceStore, split_of, write_store

CANVAS = 3 * FACE_SIZE
MAX_AGE = 90

Points = Sequence[Sequence[float]] | np.ndarray
Color = Sequence[float] | np.ndarray

SKINS = np.array(
    [(255, 224, 200), (240, 198, 165), (214, 164, 125), (172, 118, 82), (122, 78, 54), (82, 52, 38)]
)
HAIRS = np.array([(24, 20, 20), (48, 32, 24), (88, 58, 36), (140, 98, 58), (196, 158, 98), (150, 72, 40)])
EYES = np.array([(70, 45, 28), (96, 66, 36), (88, 104, 72), (86, 116, 150), (52, 34, 26)])


def store(count: int = 4000, seed: int = 0, path: str | Path | None = None) -> FaceStore:
    """Return a store of drawn faces; draw it first if it is not there.

    Args:
        count: how many faces.
        seed: another seed gives other faces.
        path: the store's folder; by default one in `~/.cache/ssrlib`, named after what it holds. If
            another process draws that one just now, wait for it.

    Raises:
        ValueError: there is a store at `path` already, with other faces.
        OSError: another process writes to `path`, or it cannot be written.

    >>> len(store(200))
    200
    """
    crop: CropRecord = {"kind": "drawn", "seed": seed}
    kept = path is None
    if path is None:
        version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
        path = files.cache_folder() / f"synthetic-{version}-{count}-{seed}"
    if not _is_there(path):
        with files.alone(path, wait=kept):
            if not _is_there(path):
                faces, rows = generate(count, seed)
                write_store(path, lambda _: [(faces, rows, NO_REJECTS)], crop)
    drawn = FaceStore(path)
    if len(drawn) != count or drawn.info["crop"] != crop:
        raise ValueError(f"{path}: holds other faces than the {count} asked for with seed {seed}")
    return drawn


def _is_there(path: str | Path) -> bool:
    return (Path(path) / "store.json").is_file()


def generate(count: int, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw faces of ages 0 to 90, half of them female: uint8, count x 64 x 64 x 3, and their rows.

    Face number i of a seed is the same whatever the count.

    >>> faces, rows = generate(3)
    >>> faces.shape, list(rows.columns)
    ((3, 64, 64, 3), ['path', 'age', 'gender', 'source', 'subject', 'split'])
    """
    faces, rows = np.empty((count, *SHAPE), np.uint8), []
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        age = round(rng.uniform(0, MAX_AGE), 1)
        gender = ("female", "male")[rng.integers(2)]
        faces[i] = draw(age, gender, rng)
        name = f"synthetic-{seed}-{i:06}"
        rows.append((name, age, gender, "synthetic", name, split_of(name)))
    return faces, pd.DataFrame(rows, columns=["path", "age", "gender", "source", "subject", "split"])


class Canvas:
    """A square image with a face's own coordinates: x from -1 to 1, y from -1 (crown) to 1 (chin)."""

    def __init__(self, background: np.ndarray, matrix: np.ndarray, yaw: float, pitch: float):
        self.image, self.matrix, self.turn = background, matrix, np.array([yaw, pitch])

    def place(self, points: Points) -> np.ndarray:
        """Face coordinates to pixels in 1/16; a turn of the head moves what is nearer the viewer more."""
        points = np.asarray(points, float).reshape(-1, 2)
        depth = np.sqrt(np.maximum(1 - (points**2).sum(axis=1, keepdims=True), 0))
        points = points + self.turn * depth
        pixels: np.ndarray = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.round(pixels * 16).astype(np.int32)

    def fill(self, points: Points, color: Color) -> None:
        cv2.fillPoly(self.image, [self.place(points)], tuple(map(float, color)), cv2.LINE_AA, shift=4)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        self.fill(_oval(x, y, rx, ry), color)

    def line(self, points: Points, color: Color, width: float) -> None:
        thickness = max(1, round(width * CANVAS))
        cv2.polylines(
            self.image, [self.place(points)], False, tuple(map(float, color)), thickness, cv2.LINE_AA, 4
        )

    def mask(self) -> "Canvas":
        """An empty one-channel canvas in the same pose, to draw what is blended in softly."""
        return Canvas(np.zeros(self.image.shape[:2], np.uint8), self.matrix, *self.turn)

    def blend(self, mask: "Canvas", color: Color, softness: float) -> None:
        """Move the image toward a color where a mask is set, after blurring the mask."""
        sigma, color = softness * CANVAS, np.clip(np.asarray(color, np.float32), 0, 255)
        # Most masks are small. A blur reaches no further than half of this beyond what is set.
        reach = 2 * math.ceil(3 * sigma + 1)
        x, y, width, height = cv2.boundingRect(mask.image)
        part = np.s_[max(0, y - reach) : y + height + reach, max(0, x - reach) : x + width + reach]
        weight = cv2.GaussianBlur(mask.image[part], (0, 0), sigma)[..., None] / np.float32(255)
        image = self.image[part]
        image[:] = image + (color - image) * weight


def _oval(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 2 * np.pi) -> np.ndarray:
    return _arc(start, end) * (rx, ry) + (x, y)


@cache
def _arc(start: float, end: float) -> np.ndarray:
    """24 points of a circle; angles grow from x to y."""
    t = np.linspace(start, end, 24)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def _ramp(age: float, start: float, end: float) -> float:
    """0 below `start`, 1 above `end`, smooth between."""
    t = np.clip((age - start) / (end - start), 0, 1)
    return float(t * t * (3 - 2 * t))


def draw(age: float, gender: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one face: uint8, 64 x 64 x 3, RGB.

    Args:
        age: in years.
        gender: "female" or "male".
        rng: everything else about the face is drawn from it.
    """
    looks = age + rng.normal(0, 3.0)  # people look older or younger than they are
    grown = _ramp(looks + rng.normal(0, 1.0), 0, 19)
    old = _ramp(looks + rng.normal(0, 3.0), 28, 88)
    # How male the drawn signs are: weak in children, and never the same in two adults.
    male = np.clip((1.0 if gender == "male" else 0.0) + rng.normal(0, 0.18), -0.2, 1.2) * (
        0.35 + 0.65 * grown
    )

    tone = rng.uniform(0, len(SKINS) - 1.001)
    skin = SKINS[int(tone)] + (tone % 1) * (SKINS[int(tone) + 1] - SKINS[int(tone)])
    skin = skin * rng.uniform(0.94, 1.04) + np.array([6, 0, 0]) * (1 - grown) - np.array([4, 6, 10]) * old
    hair = HAIRS[rng.integers(2 if tone > 2.5 else len(HAIRS))] * rng.uniform(0.8, 1.2)
    gray = _ramp(looks + rng.normal(0, 6), 38, 78)
    hair = hair * (1 - gray) + np.array([208, 208, 212]) * gray
    shade = skin * np.array([0.62, 0.52, 0.48])

    canvas = Canvas(_background(rng), *_pose(rng))
    width = 0.84 - 0.12 * grown + 0.05 * male + rng.normal(0, 0.02)
    jaw = 0.86 - 0.22 * male * grown + rng.normal(0, 0.04) + 0.05 * grown
    head = _head(width, jaw)
    eye_y = 0.24 - 0.26 * grown + rng.normal(0, 0.015)
    mouth_y = 0.64 - 0.04 * grown + rng.normal(0, 0.015)

    long_hair = rng.random() < (0.08 if gender == "male" else 0.78 - 0.35 * old) * _ramp(looks, 1, 8)
    bald = rng.random() < 0.75 if gender == "male" else False
    recession = (0.05 + 0.55 * _ramp(looks + rng.normal(0, 7), 25, 75)) if bald else rng.uniform(0, 0.06)
    fullness = _ramp(looks, -1, 5)

    _clothes(canvas, skin, rng)
    if long_hair:
        _long_hair(canvas, width, hair * 0.8, rng)
    else:
        volume = (0.02 + 0.10 * fullness) * (1 - 0.5 * recession)
        canvas.fill(_oval(0, -0.22, width + volume, 0.84 + volume), hair * 0.85)
    for side in (-1, 1):
        canvas.oval(side * (width + 0.02), eye_y + 0.15, 0.09, 0.17 + 0.04 * old, skin * 0.86)
    canvas.fill(head, skin)
    soft = canvas.mask()
    _wrinkles(soft, eye_y, mouth_y, old, rng)
    canvas.blend(soft, shade, 0.006)
    _hair_front(canvas, width, hair, recession, fullness, rng)
    _cheeks(canvas, eye_y, mouth_y, skin, grown, old, rng)
    _beard(canvas, mouth_y, jaw, width, hair, looks, gender, rng)
    _nose(canvas, eye_y, mouth_y, skin, shade, grown, old, male)
    _mouth(canvas, mouth_y, skin, grown, old, male, gender, looks, rng)
    _eyes(canvas, eye_y, skin, shade, hair, grown, old, male, rng)
    if rng.random() < 0.08 * _ramp(looks, 3, 10) + 0.45 * _ramp(looks, 35, 60):
        _glasses(canvas, eye_y, rng)
    return _photograph(canvas.image, rng)


def _background(rng: np.random.Generator) -> np.ndarray:
    corners = rng.uniform(30, 220) + rng.normal(0, 22, 3) + rng.normal(0, 18, (2, 2, 3))
    image = cv2.resize(np.clip(corners, 0, 255).astype(np.float32), (CANVAS, CANVAS))
    for _ in range(rng.integers(0, 4)):
        x, y, r = rng.integers(0, CANVAS, 3)
        color = rng.uniform(30, 220) + rng.normal(0, 25, 3)
        cv2.circle(image, (int(x), int(y)), int(r) // 3 + 5, color.tolist(), -1, cv2.LINE_AA)
    return np.clip(cv2.blur(image, (15, 15)), 0, 255).astype(np.uint8)


def _pose(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    angle, scale = np.deg2rad(rng.normal(0, 5)), CANVAS * 0.44 * rng.normal(1, 0.05)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = CANVAS * (np.array([[0.5], [0.52]]) + rng.normal(0, 0.02, (2, 1)))
    return np.hstack([rotation, center]), rng.normal(0, 0.09), rng.normal(0, 0.04)


def _head(width: float, jaw: float) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 60)
    power = np.where(np.sin(t) > 0, jaw, 1.0)  # below the middle a smaller power makes a squarer jaw
    x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    return np.stack([width * x, np.where(np.sin(t) > 0, 1.0, 0.95) * np.sin(t)], axis=1)


def _clothes(canvas: Canvas, skin: np.ndarray, rng: np.random.Generator) -> None:
    canvas.fill([[-0.42, 0.5], [0.42, 0.5], [0.5, 2], [-0.5, 2]], skin * 0.78)
    canvas.fill(_oval(0, 1.75, 1.5, 0.62), rng.uniform(20, 235, 3))


def _long_hair(canvas: Canvas, width: float, hair: np.ndarray, rng: np.random.Generator) -> None:
    """What falls behind the face on both sides, straight or wavy."""
    length, flare, wave = rng.uniform(0.6, 1.5), rng.uniform(0.0, 0.2), rng.uniform(0, 0.05)
    y = np.linspace(-0.25, length, 20)
    edge = width + 0.17 + flare * (y + 0.25) / (length + 0.25) + wave * np.sin(9 * y)
    top = _oval(0, -0.25, width + 0.17, 0.93, np.pi, 2 * np.pi)
    right = np.stack([edge, y], axis=1)
    canvas.fill(np.concatenate([top, right, right[::-1] * [-1, 1]]), hair)


def _hair_front(
    canvas: Canvas,
    width: float,
    hair: np.ndarray,
    recession: float,
    fullness: float,
    rng: np.random.Generator,
) -> None:
    """The hair above the forehead, down to a hairline that recedes."""
    line = -0.52 - 0.45 * recession + rng.normal(0, 0.04) - 0.22 * (1 - fullness)
    top = _oval(0, -0.3, width + 0.06, 0.74 + 0.04 * fullness, np.pi, 2 * np.pi)
    part = rng.uniform(-0.4, 0.4)
    x = np.linspace(width + 0.04, -width - 0.04, 25)
    y = line + 0.12 + 0.35 * (x / width) ** 4 + 0.12 * np.abs(x - part) + rng.normal(0, 0.018, 25)
    y -= 0.25 * recession * np.clip(1 - (x / 0.6) ** 2, 0, 1)
    if recession < 0.45:
        canvas.fill(np.concatenate([top, np.stack([x, np.minimum(y, 0.05)], axis=1)]), hair)
    else:
        for side in (-1, 1):
            canvas.fill(
                [
                    [side * (width + 0.08), -0.45],
                    [side * (width - 0.06), -0.5],
                    [side * (width - 0.04), 0.05],
                    [side * (width + 0.07), 0.1],
                ],
                hair,
            )
    strands = canvas.mask()
    if recession < 0.45:
        for s in rng.uniform(-width, width, 10):
            strands.line([[s, -0.98], [s * 1.1, line]], [rng.uniform(40, 110)], 0.006)
        canvas.blend(strands, hair * rng.choice([0.6, 1.3]), 0.008)


def _wrinkles(soft: Canvas, eye_y: float, mouth_y: float, old: float, rng: np.random.Generator) -> None:
    strength = 235 * np.clip(old * rng.normal(1, 0.15), 0, 1)
    x = np.linspace(-0.45, 0.45, 9)
    for i in range(3):
        y = eye_y - 0.38 - 0.1 * i + 0.03 * (x / 0.45) ** 2 + rng.normal(0, 0.008, 9)
        soft.line(np.stack([x, y], axis=1), [strength * rng.uniform(0.3, 0.9)], 0.008)
    for side in (-1, 1):
        for angle in (-0.5, 0.0, 0.5):
            soft.line(
                [[side * 0.53, eye_y + 0.02 + 0.06 * angle], [side * 0.68, eye_y + 0.05 + 0.22 * angle]],
                [strength * rng.uniform(0.4, 0.9)],
                0.007,
            )
        fold = 50 + strength
        soft.line(
            [[side * 0.17, mouth_y - 0.24], [side * 0.30, mouth_y - 0.10], [side * 0.33, mouth_y + 0.1]],
            [min(fold * 0.75, 230)],
            0.009,
        )
        soft.line(_oval(side * 0.32, eye_y + 0.06, 0.17, 0.09, 0.3, np.pi - 0.3), [strength], 0.012)
        soft.line([[side * 0.07, eye_y - 0.18], [side * 0.06, eye_y - 0.04]], [strength * 0.6], 0.007)
        soft.line([[side * 0.38, mouth_y + 0.12], [side * 0.45, mouth_y + 0.27]], [strength * 0.6], 0.010)
    for _ in range(int(12 * old * rng.random())):
        px, py = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.7)
        soft.oval(px, py, 0.02, 0.02, [120])


def _cheeks(
    canvas: Canvas,
    eye_y: float,
    mouth_y: float,
    skin: np.ndarray,
    grown: float,
    old: float,
    rng: np.random.Generator,
) -> None:
    """Rosy in children; hollow, with shadows, in the old."""
    rosy, hollow = canvas.mask(), canvas.mask()
    for side in (-1, 1):
        rosy.oval(
            side * 0.42, (eye_y + mouth_y) / 2 + 0.06, 0.2, 0.15, [130 - 90 * grown + rng.uniform(0, 30)]
        )
        hollow.oval(side * 0.55, mouth_y - 0.05, 0.10, 0.2, [150 * old])
        hollow.oval(side * 0.32, eye_y - 0.02, 0.2, 0.12, [40 + 60 * old])
    canvas.blend(rosy, skin * [1.0, 0.72, 0.70], 0.03)
    canvas.blend(hollow, skin * [0.72, 0.66, 0.64], 0.03)


def _beard(
    canvas: Canvas,
    mouth_y: float,
    jaw: float,
    width: float,
    hair: np.ndarray,
    looks: float,
    gender: str,
    rng: np.random.Generator,
) -> None:
    style = rng.random()
    if gender != "male" or looks < 16:
        return
    strength = 60 if style < 0.55 else 110 if style < 0.75 else 225
    mask = canvas.mask()
    if style < 0.85:
        outline = _head(width, jaw)
        lower = outline[outline[:, 1] > mouth_y - 0.2]
        order = np.argsort(lower[:, 0])
        inner = [[0.5, mouth_y - 0.12], [0.0, mouth_y - 0.17], [-0.5, mouth_y - 0.12]]
        mask.fill(np.concatenate([lower[order], inner]), [strength * _ramp(looks, 14, 22)])
    else:
        mask.fill(
            [[-0.3, mouth_y - 0.02], [0, mouth_y - 0.15], [0.3, mouth_y - 0.02], [0, mouth_y - 0.05]],
            [strength],
        )
    canvas.blend(mask, hair * 0.9, 0.014)


def _nose(
    canvas: Canvas,
    eye_y: float,
    mouth_y: float,
    skin: np.ndarray,
    shade: np.ndarray,
    grown: float,
    old: float,
    male: float,
) -> None:
    tip = eye_y + (mouth_y - eye_y) * (0.56 + 0.05 * old)
    wide = 0.10 + 0.03 * grown + 0.025 * male + 0.03 * old
    soft = canvas.mask()
    soft.line([[0.05, eye_y], [0.07, tip - 0.1], [wide, tip]], [60 + 70 * grown], 0.012)
    soft.line(_oval(0, tip, wide, 0.07, 0.1, np.pi - 0.1), [170], 0.012)
    canvas.blend(soft, shade, 0.008)
    for side in (-1, 1):
        canvas.oval(side * wide * 0.5, tip + 0.04, 0.028, 0.018, shade * 0.7)
    light = canvas.mask()
    light.oval(-0.01, tip - 0.06, 0.035, 0.12 * grown + 0.05, [80])
    canvas.blend(light, np.minimum(skin * 1.25, 255), 0.012)


def _mouth(
    canvas: Canvas,
    y: float,
    skin: np.ndarray,
    grown: float,
    old: float,
    male: float,
    gender: str,
    looks: float,
    rng: np.random.Generator,
) -> None:
    wide = 0.19 + 0.07 * grown + 0.01 * male
    full = 0.075 - 0.02 * male - 0.035 * old + rng.normal(0, 0.006)
    smile = rng.normal(0.03, 0.035)
    lipstick = gender == "female" and looks > 14 and rng.random() < 0.55
    lips = skin * [0.86, 0.60, 0.58] if not lipstick else np.array([185, 50, 70]) * rng.uniform(0.75, 1.1)
    x = np.linspace(-wide, wide, 13)
    bow = 1 - (x / wide) ** 2
    middle = y + smile * bow
    upper = middle - full * bow * (0.75 + 0.25 * np.cos(x / wide * 2 * np.pi - np.pi))
    lower = middle + 1.25 * full * bow
    canvas.fill(np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]]), lips)
    if smile > 0.05:
        canvas.fill(
            np.concatenate(
                [np.stack([x, middle - 0.01 * bow], 1), np.stack([x, middle + 0.45 * smile * bow], 1)[::-1]]
            ),
            (240, 236, 228) if looks > 1.5 else (120, 50, 50),
        )
    canvas.line(np.stack([x, middle], 1), lips * 0.5, 0.006)


def _eyes(
    canvas: Canvas,
    y: float,
    skin: np.ndarray,
    shade: np.ndarray,
    hair: np.ndarray,
    grown: float,
    old: float,
    male: float,
    rng: np.random.Generator,
) -> None:
    iris = EYES[rng.integers(len(EYES))] * rng.uniform(0.8, 1.2)
    half = 0.195 - 0.045 * grown - 0.02 * old
    opening = (0.125 - 0.035 * grown - 0.035 * old) * rng.normal(1, 0.08)
    gaze = rng.normal(0, 0.02)
    brow_y = y - 0.19 - 0.02 * grown + 0.05 * male * grown
    brow = hair * 0.75 if rng.random() < 0.8 else hair * 0.55
    for side in (-1, 1):
        cx = side * 0.33
        x = np.linspace(-half, half, 11)
        bow = 1 - (x / half) ** 2
        droop = 0.05 * old * side * x / half
        upper = y - opening * bow + droop
        lower = y + 0.6 * opening * bow + droop
        canvas.fill(
            np.concatenate([np.stack([cx + x, upper], 1), np.stack([cx + x, lower], 1)[::-1]]),
            np.array([244, 242, 240]) - np.array([8, 14, 24]) * old,
        )
        radius = 0.088 - 0.012 * grown
        canvas.fill(
            np.clip(_oval(cx + gaze, y - 0.01, radius, radius), [-2, y - opening], [2, y + 0.6 * opening]),
            iris,
        )
        canvas.oval(cx + gaze, y - 0.01, 0.036, min(0.036, opening * 0.7), (14, 12, 12))
        canvas.oval(cx + gaze - 0.03, y - 0.035, 0.014, 0.014, (250, 250, 250))
        lash = shade * 0.35 if male < 0.5 else shade * 0.6
        canvas.line(np.stack([cx + x, upper], 1), lash, 0.014 - 0.006 * np.clip(male, 0, 1))
        canvas.line(np.stack([cx + x, upper - 0.05 + 0.03 * old], 1), shade, 0.006)
        bx = np.linspace(-0.2, 0.2, 7)
        by = brow_y - 0.05 * (1 - (bx / 0.2) ** 2) * (1.2 - male) + 0.03 * old * side * bx / 0.2
        thick = (0.012 + 0.010 * grown + 0.014 * np.clip(male, 0, 1)) * rng.normal(1, 0.1)
        canvas.line(np.stack([cx + bx, by], 1), brow, max(thick, 0.006))


def _glasses(canvas: Canvas, y: float, rng: np.random.Generator) -> None:
    color = rng.choice([25, 60, 120]) * np.array([1.0, 0.9, 0.85])
    rx, ry, thick = rng.uniform(0.22, 0.26), rng.uniform(0.14, 0.2), rng.choice([0.008, 0.014])
    for side in (-1, 1):
        canvas.line(_oval(side * 0.33, y + 0.02, rx, ry), color, thick)
        canvas.line([[side * (0.33 + rx), y], [side * 0.8, y - 0.04]], color, thick)
    canvas.line([[-0.33 + rx, y - 0.02], [0.33 - rx, y - 0.02]], color, thick)


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, color, focus and noise, at the final size."""
    small: np.ndarray = cv2.resize(image, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.8))
    x, y = np.meshgrid(*[np.linspace(-1, 1, FACE_SIZE, dtype=np.float32)] * 2)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    light = 1 + strength * (x * np.cos(angle) + y * np.sin(angle)) - 0.22 * (x**2 + 0.6 * y**2)
    small *= (light * rng.normal(1.0, 0.12))[..., None] * rng.normal(1, 0.05, 3).astype(np.float32)
    small = (small - 128) * np.float32(rng.uniform(0.75, 1.15)) + 128
    small += rng.normal(0, rng.uniform(1, 5), small.shape)
    return np.clip(np.round(small), 0, 255).astype(np.uint8)
