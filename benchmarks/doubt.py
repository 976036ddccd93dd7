"""When is a reading doubted, and how wrong are those that are not? In book/results/doubt.json.

    python -m benchmarks.doubt DATA [--each 300]

The photos of people of benchmarks/photos.py are pasted on photos of things as there, upright and 110 pixels
wide, and then spoiled: one way a row. Counted is how many the finder finds, how many of those are not
`estimator.Reading.sure`, and how far off the ages are. The last row has no people: boxes anywhere in photos
of things, as somebody might place them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.photos import DATA, EACH, HEIGHT, WIDTH, hit, parser_of, part_of, scene, setting, things
from ssrlib import AgeGenderEstimator, detectors, results, weights
from ssrlib.detectors import Box
from ssrlib.estimator import Reading
from ssrlib.landmarks import square
from ssrlib.scenes import Portrait

SIDE = 110
Seen = tuple[np.ndarray, np.ndarray]  # a frame, and the points of its face


def as_it_is(frame: np.ndarray, points: np.ndarray) -> Seen:
    return frame, points


def cut_off(frame: np.ndarray, points: np.ndarray) -> Seen:
    """Cut a frame so that a third of a face's square is outside."""
    left = round(float(square(points)[0][0] - SIDE / 6))
    return frame[:, left:], points - [left, 0]


def half_covered(frame: np.ndarray, points: np.ndarray) -> Seen:
    """Hold something gray before the lower half of a face."""
    x, y = square(points)[0].astype(int)
    frame[y : y + SIDE, max(0, x - SIDE) : x + SIDE] = 128
    return frame, points


def in_the_dark(frame: np.ndarray, points: np.ndarray) -> Seen:
    return (0.06 * frame).astype(np.uint8), points


def out_of_focus(frame: np.ndarray, points: np.ndarray) -> Seen:
    return cv2.GaussianBlur(frame, (0, 0), SIDE / 16), points


# A name, the tilt in degrees, and what is done to the frame.
WAYS: list[tuple[str, float, Callable[[np.ndarray, np.ndarray], Seen]]] = [
    ("as they are", 0, as_it_is),
    ("tilted by 30 degrees", 30, as_it_is),
    ("on their side", 90, as_it_is),
    ("a third of the square outside", 0, cut_off),
    ("lower half covered", 0, half_covered),
    ("at 0.06 of the light", 0, in_the_dark),
    ("out of focus", 0, out_of_focus),
]


def read(
    estimator: AgeGenderEstimator, portraits: list[Portrait], ages: list[float], tilt: float, spoil: Any
) -> dict[str, float | None]:
    """How many faces are found and doubted, and the mean absolute errors of their ages, in years."""
    rng, behind, found = np.random.default_rng(5), things(), list[tuple[bool, float]]()
    for i, (portrait, age) in enumerate(zip(portraits, ages, strict=True)):
        frame, points = spoil(*scene(rng, portrait, behind[i % len(behind)], SIDE, tilt * (-1) ** i))
        hits = [box for box in detectors.find(frame) if hit(box, points)][:1]
        found += [(one.sure, abs(one.age - age)) for one in estimator.predict(frame, hits)]
    errors = [error for _, error in found]
    errors_when_sure = [error for sure, error in found if sure]
    return {
        "found": len(found) / len(portraits),
        "doubted": mean([not sure for sure, _ in found]),
        "MAE": mean(errors),
        "MAE when it is sure": mean(errors_when_sure),
    }


def mean(values: Sequence[float]) -> float | None:
    """The mean, or None where nothing is counted."""
    return float(np.mean(values)) if values else None


def no_faces(estimator: AgeGenderEstimator, count: int) -> dict[str, float | None]:
    """How many boxes without a face are doubted."""
    rng, behind, readings = np.random.default_rng(6), things(), list[Reading]()
    for i in range(count):
        side = float(np.exp(rng.uniform(*np.log([40, 240]))))
        box = Box(rng.uniform(0, WIDTH - side), rng.uniform(0, HEIGHT - side), side, side)
        readings += estimator.predict(part_of(rng, behind[i % len(behind)]), [box])
    return {"doubted": mean([not one.sure for one in readings])}


def main() -> None:
    arguments = parser_of(__doc__).parse_args()
    results.check_committed(trial=arguments.each < EACH)
    _, rows, portraits = setting(arguments)
    portraits, ages = portraits[: arguments.each], rows["age"].tolist()[: arguments.each]
    estimator = AgeGenderEstimator(backend="onnx")
    table = [
        {"faces": name, "count": len(ages)} | read(estimator, portraits, ages, tilt, spoil)
        for name, tilt, spoil in WAYS
    ]
    table.append({"faces": "boxes without a face", "count": len(ages)} | no_faces(estimator, len(ages)))
    print(pd.DataFrame(table).round(3).to_string(index=False))
    results.record(
        "book/results/doubt.json",
        table,
        weights=[weights.pretrained("age")],
        finder=detectors.finder_sha256(),
        data=DATA,
        seed=5,
    )


if __name__ == "__main__":
    main()
