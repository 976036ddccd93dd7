"""Choose from which score on a find counts as a face. In book/results/finder-threshold.json.

    python -m tools.weights.threshold DATA --pictures FOLDER

Whole photos of the validation splits of All-Age-Faces and APPA-REAL, pasted as benchmarks/photos.py pastes
others, say how many faces are found at each threshold; pictures that the finder never learned from, those of
`tools.weights.pictures FOLDER --for choosing`, say how much else is.
The lowest threshold with at most one false find in 100 pictures is `detectors.CERTAIN`. The lowest from which
that holds for the count's upper bound, too, is `detectors.SURE`: one in 100 may be luck. A test compares.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.stats import chi2

from benchmarks.photos import QUESTIONS, hit, part_of, scene
from ssrlib import detectors, results
from tools.weights.finder import Photos, pictures_in, rows_of

THRESHOLDS = np.round(np.arange(0.3, 0.96, 0.05), 2)
EMPTY, EACH, MOST = 2000, 100, 0.01
# Columns of the curve: what was counted in 100 pictures, and how many it may be in the long run.
FALSE, AT_MOST = "false finds in 100", "at most, 95 %"


def scores(photos: Photos, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each face that was pasted, 0 if nothing was found there; and of each false find."""
    rng, faces = np.random.default_rng(3), []
    for number in range(EACH * len(QUESTIONS)):
        _, sides, tilts = QUESTIONS[number % len(QUESTIONS)]
        side = float(np.exp(rng.uniform(*np.log(sides))))
        tilt = float(rng.uniform(*tilts)) * rng.choice([-1, 1])
        portrait = photos[int(rng.integers(len(photos)))]
        frame, points = scene(rng, portrait, pictures[number % len(pictures)], side, tilt)
        found = [box.score for box in detectors.look(frame) if hit(box, points)]
        faces.append(max(found, default=0.0))
    others = [
        box.score
        for number in range(EMPTY)
        for box in detectors.look(part_of(rng, pictures[number % len(pictures)]))
    ]
    return np.array(faces), np.array(others)


def upper_bound(count: int) -> float:
    """Return the exact upper bound of a Poisson rate of which `count` were seen, one-sided, at 95 %.

    >>> [round(upper_bound(count), 1) for count in (0, 6)]
    [3.0, 11.8]
    """
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2)


def lowest(curve: pd.DataFrame, column: str) -> float:
    """Return the lowest threshold of a curve at which a column allows few false finds; else the highest one.

    >>> curve = pd.DataFrame({"threshold": [0.6, 0.7, 0.8], FALSE: [1.5, 1.0, 0.0], AT_MOST: [2.7, 2.0, 0.5]})
    >>> lowest(curve, FALSE), lowest(curve, AT_MOST), lowest(curve[:2], AT_MOST)
    (0.7, 0.8, 0.7)
    """
    few = curve[curve[column] <= 100 * MOST]
    return float(few["threshold"].min() if len(few) else curve["threshold"].max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    parser.add_argument("--pictures", type=Path, required=True, help="pictures to choose by")
    arguments = parser.parse_args()
    results.check_committed()
    cv2.setNumThreads(1)
    rows = rows_of(arguments.data, ("validation",))
    photos = Photos(rows[rows["source"] != "utkface"])
    faces, others = scores(photos, pictures_in(arguments.pictures))
    counts = [int((others >= threshold).sum()) for threshold in THRESHOLDS]
    curve = pd.DataFrame(
        {
            "threshold": THRESHOLDS,
            "found": [(faces >= threshold).mean() for threshold in THRESHOLDS],
            FALSE: [100 * count / EMPTY for count in counts],
            AT_MOST: [100 * upper_bound(count) / EMPTY for count in counts],
        }
    )
    print(curve.round(3).to_string(index=False))
    chosen, sure = (lowest(curve, column) for column in (FALSE, AT_MOST))
    print("chosen:", chosen, "sure:", sure)
    results.record(
        "book/results/finder-threshold.json",
        {"chosen": chosen, "sure": sure, "curve": curve.to_dict("records")},
        weights=(),
        finder=detectors.finder_sha256(),
        data="All-Age-Faces and APPA-REAL, validation splits, on pictures it did not learn from",
        seed=3,
    )


if __name__ == "__main__":
    main()
