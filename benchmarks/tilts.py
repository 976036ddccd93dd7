"""What does a tilt of 30 degrees do to an age, by what found the face? In book/results/tilts.json.

    python -m benchmarks.tilts DATA [--each 300] [--peer mediapipe=.others/bin/python]

The same photos of people as in benchmarks/photos.py are pasted upright and tilted. Where a detector gives
landmarks the face is straightened before it is read.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.photos import DATA, EACH, hit, parser_of, scene, setting, things
from ssrlib import AgeGenderEstimator, detectors, results, weights
from ssrlib.scenes import Portrait

TILT = 30


def tilted_ages(ways: dict[str, Any], portraits: list[Portrait], ages: list[float]) -> list[dict[str, Any]]:
    """What a tilt of 30 degrees does to the age of those who are found upright and tilted."""
    behind, rows = things(), []
    estimator = AgeGenderEstimator(backend="onnx")
    with warnings.catch_warnings(action="ignore"):  # that it was trained on the finder's faces
        plain = AgeGenderEstimator(backend="onnx", detector="haar")
    for way, find in ways.items():
        rng, read = np.random.default_rng(5), []
        for i, (portrait, age) in enumerate(zip(portraits, ages, strict=True)):
            answers = []
            for tilt in (0, TILT * (-1) ** i):
                frame, points = scene(rng, portrait, behind[i % len(behind)], 110, tilt)
                hits = [box for box in find(frame) if hit(box, points)][:1]
                # The built-in finder could turn them upright, but a detector without points has only itself.
                reader = estimator if hits and hits[0].landmarks else plain
                answers += [reading.age for reading in reader.predict(frame, hits)]
            if len(answers) == 2:
                read.append((*answers, age))
        if read:
            upright, turned, truth = np.array(read).T
            rows.append(
                {
                    "detector": way,
                    "faces read at both": len(read),
                    "change of the age": float(np.abs(turned - upright).mean()),
                    "MAE upright": float(np.abs(upright - truth).mean()),
                    "MAE tilted": float(np.abs(turned - truth).mean()),
                }
            )
    return rows


def main() -> None:
    arguments = parser_of(__doc__).parse_args()
    each = arguments.each
    results.check_committed(trial=each < EACH)
    ways, rows, portraits = setting(arguments)
    ages = tilted_ages(ways, portraits[:each], rows["age"].tolist()[:each])
    print(pd.DataFrame(ages).round(3).to_string(index=False))
    known, finder = [weights.pretrained("age")], detectors.finder_sha256()
    results.record("book/results/tilts.json", ages, weights=known, finder=finder, data=DATA, seed=0)


if __name__ == "__main__":
    main()
