"""Choose from which score on a find counts as a face. In book/results/finder-threshold.json.

    python -m tools.weights.threshold DATA --pictures FOLDER

Whole photos of the validation splits of All-Age-Faces and APPA-REAL, pasted as benchmarks/photos.py pastes
others, say how many faces are found at each threshold; pictures that training spared say how much else is.
The lowest threshold with at most one false find in 100 pictures is `detectors.CERTAIN`, and a test compares.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.photos import QUESTIONS, hit, part_of, scene
from ssrlib import detectors, results
from tools.weights.finder import SPARED, Photos, pictures_in, rows_of

THRESHOLDS = np.round(np.arange(0.3, 0.96, 0.05), 2)
EMPTY, EACH, MOST = 600, 100, 0.01


def scores(photos: Photos, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each face that was pasted, 0 if nothing was found there; and of each false find."""
    rng, faces = np.random.default_rng(3), []
    for number in range(EACH * len(QUESTIONS)):
        _, sides, tilts = QUESTIONS[number % len(QUESTIONS)]
        side = float(np.exp(rng.uniform(*np.log(sides))))
        tilt = float(rng.uniform(*tilts)) * rng.choice([-1, 1])
        portrait = photos[int(rng.integers(len(photos)))]
        frame, points = scene(rng, portrait, pictures[number % len(pictures)], side, tilt)
        found = [score for box, score in detectors.look(frame) if hit(box, points)]
        faces.append(max(found, default=0.0))
    others = [
        score
        for number in range(EMPTY)
        for _, score in detectors.look(part_of(rng, pictures[number % len(pictures)]))
    ]
    return np.array(faces), np.array(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    parser.add_argument("--pictures", type=Path, required=True, help="as for tools/weights/finder.py")
    arguments = parser.parse_args()
    results.check_committed()
    cv2.setNumThreads(1)
    rows = rows_of(arguments.data, ("validation",))
    photos = Photos(rows[rows["source"] != "utkface"])
    faces, others = scores(photos, pictures_in(arguments.pictures)[::SPARED])
    curve = pd.DataFrame(
        {
            "threshold": THRESHOLDS,
            "found": [(faces >= threshold).mean() for threshold in THRESHOLDS],
            "false finds in 100": [100 * (others >= threshold).sum() / EMPTY for threshold in THRESHOLDS],
        }
    )
    print(curve.round(3).to_string(index=False))
    few = curve[curve["false finds in 100"] <= 100 * MOST]
    chosen = float(few["threshold"].min()) if len(few) else float(THRESHOLDS[-1])
    print("chosen:", chosen)
    results.record(
        "book/results/finder-threshold.json",
        {"chosen": chosen, "curve": curve.to_dict("records")},
        weights=(),
        finder=detectors.finder_sha256(),
        data="All-Age-Faces and APPA-REAL, validation splits, on pictures that training spared",
        seed=3,
    )


if __name__ == "__main__":
    main()
