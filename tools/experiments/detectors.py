"""Which faces do the two detectors miss, and what do they take for a face? In book/results/detectors.json.

    python -m tools.experiments.detectors

Looked at are pictures that anyone may use: drawn faces and the portrait of scikit-image's astronaut,
pasted at random places on its photos without people, at several sizes, turns and lights; and those
photos alone. So the table tells how the detectors compare, not how often they fail on your photos.
YuNet's columns are filled where its file is at `detectors.YUNET`.
"""

import cv2
import numpy as np
import pandas as pd
from skimage import data

from ssrlib import detectors, results
from ssrlib.datasets import synthetic

WIDTH, HEIGHT = 640, 480
EACH = 20  # pictures a condition, every second one with the astronaut
EMPTY = ["brick", "cat", "coffee", "coins", "grass", "gravel", "page", "retina", "rocket"]
USUAL = {"side": 128, "turn": 0, "light": 1.0, "noise": 0}
CONDITIONS: list[tuple[str, str, list[float], str]] = [
    ("size", "side", [24, 32, 48, 64, 128, 256], "{} px wide"),
    ("turn", "turn", [0, 10, 20, 30, 45, 90], "{} degrees"),
    ("light", "light", [0.1, 0.25, 0.5, 1.0, 2.0], "{} times as bright"),
    ("noise", "noise", [0, 10, 20, 40], "noise of {} levels"),
]
# Where the astronaut's face is: the square that a crop would show.
ASTRONAUT = (slice(64, 184), slice(164, 284))


def photo(name: str) -> np.ndarray:
    """Return one of scikit-image's photos as uint8, height x width x 3, RGB."""
    image = np.asarray(getattr(data, name)())
    return image[..., :3].copy() if image.ndim == 3 else np.stack([image] * 3, axis=-1)


def turned(face: np.ndarray, side: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a face at a size and turn, and an oval mask (0 to 1) with a soft border."""
    oval: np.ndarray = np.zeros(face.shape[:2], np.float32)
    middle = face.shape[0] // 2
    cv2.ellipse(oval, (middle, middle), (int(middle * 0.86), int(middle * 0.96)), 0, 0, 360, 1.0, -1)
    oval = cv2.GaussianBlur(oval, (0, 0), 0.03 * face.shape[0])
    turn = cv2.getRotationMatrix2D((middle - 0.5, middle - 0.5), degrees, 1.0)

    def at_its_turn(picture: np.ndarray) -> np.ndarray:
        moved = cv2.warpAffine(picture, turn, face.shape[:2], borderMode=cv2.BORDER_REPLICATE)
        return cv2.resize(moved, (side, side), interpolation=cv2.INTER_AREA)

    return at_its_turn(face), at_its_turn(oval)


def scene(
    face: np.ndarray, background: np.ndarray, rng, side, turn, light, noise
) -> tuple[np.ndarray, tuple]:
    """Return a picture of 640 x 480 with one face in it, and the face's left, top and side."""
    image = cv2.resize(background, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    face, mask = turned(face, side, turn)
    left, top = (int(rng.integers(0, most - side)) for most in (WIDTH, HEIGHT))
    place = image[top : top + side, left : left + side]
    place += (face - place) * mask[..., None]
    image = image * light + rng.normal(0, noise, image.shape) if noise else image * light
    return np.clip(image, 0, 255).astype(np.uint8), (left, top, side)


def is_hit(box: detectors.Box, left: int, top: int, side: int) -> bool:
    """Whether a box is about where the face is: its middle in the middle half, its size within a factor 2."""
    away = max(abs(box.x + box.width / 2 - left - side / 2), abs(box.y + box.height / 2 - top - side / 2))
    return away < side / 4 and side / 2 < box.width < 2 * side


def compared(detectors: dict) -> tuple[list[dict], list[dict]]:
    """Count the misses and the false finds, by condition, and the false finds in photos without people."""
    drawn = synthetic.generate(EACH, seed=3)[0]
    astronaut = photo("astronaut")[ASTRONAUT]
    backgrounds = [photo(name) for name in EMPTY]
    rows = []
    for kind, name, values, text in CONDITIONS:
        for value in values:
            rng = np.random.default_rng(0)
            row = {"what": kind, "value": text.format(value), "faces": EACH}
            counts = {
                f"{detector} {count}": 0 for detector in detectors for count in ("misses", "false finds")
            }
            for i in range(EACH):
                face = astronaut if i % 2 else drawn[i]
                image, where = scene(face, backgrounds[i % len(EMPTY)], rng, **USUAL | {name: value})
                for detector, find in detectors.items():
                    hits = [is_hit(box, *where) for box in find(image)]
                    counts[f"{detector} misses"] += not any(hits)
                    counts[f"{detector} false finds"] += hits.count(False)
            rows.append(row | counts)
    empty = [
        {"photo": name} | {detector: len(find(image)) for detector, find in detectors.items()}
        for name, image in zip(EMPTY, backgrounds, strict=True)
    ]
    return rows, empty


def main() -> None:
    results.check_committed()
    ways = {"Haar": detectors.detector_named("haar")}
    if detectors.YUNET.is_file():
        ways["YuNet"] = detectors.detector_named("yunet")
    rows, empty = compared(ways)
    print(pd.DataFrame(rows).to_string(index=False), "\n")
    print(pd.DataFrame(empty).to_string(index=False))
    measured = {
        "detectors": list(ways),
        "pasted faces": rows,
        "false finds in photos without people": empty,
    }
    source = f"{EACH} pictures a row: drawn faces (seed 3) and scikit-image's astronaut, on its photos"
    results.record("book/results/detectors.json", measured, weights=(), data=source, seed=0)


if __name__ == "__main__":
    main()
