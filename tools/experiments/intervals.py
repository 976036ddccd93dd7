"""Which way to make intervals for ages keeps its promise, and how wide are they?

    python -m tools.experiments.intervals --store data/faces

Four ways, on the validation faces of all data sets: one width for all (split conformal prediction); bands by
decade (label-conditional, or Mondrian, conformal prediction; Vovk et al. 2005); conformalized quantile
regression (Romano et al. 2019), linear in what the others know, too; and what `calibration.fit` does. The
faces are cut in half at random ten times, and each half is measured with what the other has taught. Writes
book/results/intervals.json.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from ssrlib import FaceStore, calibration, results, weights
from ssrlib.calibration import AGES, COVERAGE
from ssrlib.inference import flip_average, predict
from ssrlib.metrics import decades
from ssrlib.targets import AGE

SPLITS = 10
# Of fewer faces the share inside says little.
ENOUGH = 50

Interval = tuple[np.ndarray, np.ndarray]
Rule = Callable[[np.ndarray, np.ndarray], Interval]


def rank(scores: np.ndarray, share: float) -> float:
    """The score that a fresh one exceeds with a chance of at most 1 - share, the fresh one counted in."""
    place = math.ceil(share * (len(scores) + 1))
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else math.inf


def features(readings: np.ndarray, differences: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(readings), readings, differences], axis=1)


def one_width(readings: np.ndarray, differences: np.ndarray, truth: np.ndarray) -> Rule:
    margin = rank(np.abs(readings - truth), COVERAGE)
    return lambda values, _: (values - margin, values + margin)


def by_decade(readings: np.ndarray, differences: np.ndarray, truth: np.ndarray) -> Rule:
    """Each age is in, if an error as large is usual in its decade, in units of what a linear fit expects."""
    fit, *_ = np.linalg.lstsq(features(readings, differences), np.abs(readings - truth), rcond=None)
    scale = partial(calibration._scale, fit.tolist())
    error, tail = (readings - truth) / scale(readings, differences), (1 + COVERAGE) / 2
    starts = calibration._starts(truth)
    group, asked = (calibration._group(starts, ages) for ages in (truth, AGES))
    high = np.array([rank(error[group == g], tail) for g in range(len(starts))])[asked]
    low = -np.array([rank(-error[group == g], tail) for g in range(len(starts))])[asked]

    def rule(values: np.ndarray, apart: np.ndarray) -> Interval:
        unit = (values[:, None] - AGES) / scale(values, apart)[:, None]
        inside = (low <= unit) & (unit <= high)
        lowest, highest = AGES[inside.argmax(axis=1)], AGES[::-1][inside[:, ::-1].argmax(axis=1)]
        some = inside.any(axis=1)
        return np.where(some, lowest, np.inf), np.where(some, highest, -np.inf)

    return rule


def quantile(x: np.ndarray, y: np.ndarray, share: float) -> np.ndarray:
    """Linear quantile regression, as a linear program."""
    n, count = x.shape
    cost = np.concatenate([np.zeros(count), np.full(n, share), np.full(n, 1 - share)])
    equal = np.hstack([x, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * count + [(0, None)] * (2 * n)
    found: np.ndarray = linprog(cost, A_eq=equal, b_eq=y, bounds=bounds, method="highs").x[:count]
    return found


def conformalized(readings: np.ndarray, differences: np.ndarray, truth: np.ndarray) -> Rule:
    """The lines are fitted on one half of what is known, and moved apart by the other."""
    x, half = features(readings, differences), np.arange(len(truth)) % 2 == 0
    low, high = (quantile(x[half], truth[half], share) for share in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
    rest, ages = x[~half], truth[~half]
    more = rank(np.maximum(rest @ low - ages, ages - rest @ high), COVERAGE)

    def rule(values: np.ndarray, apart: np.ndarray) -> Interval:
        seen = features(values, apart)
        return seen @ low - more, seen @ high + more

    return rule


def stretched(readings: np.ndarray, differences: np.ndarray, truth: np.ndarray) -> Rule:
    return partial(calibration.age_interval, calibration.fit(AGE, readings, differences, truth))


WAYS = {
    "one width": one_width,
    "bands by decade": by_decade,
    "quantile regression": conformalized,
    "bands, stretched (built in)": stretched,
}


def main(store: FaceStore) -> None:
    path = weights.pretrained("age")
    faces, rows = store.split("validation")
    truth = AGE.labels(rows).astype(float)
    readings, differences = flip_average(partial(predict, weights.load(path)), faces)
    known = readings.astype(float), differences.astype(float), truth
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in WAYS}
    for seed in range(SPLITS):
        first = np.random.default_rng(seed).permutation(len(truth)) < len(truth) / 2
        for name, way in WAYS.items():
            table = pd.DataFrame({"low": np.nan, "high": np.nan}, index=range(len(truth)))
            for taught in (first, ~first):
                rule = way(*(values[taught] for values in known))
                table.loc[~taught, ["low", "high"]] = np.stack(rule(*(v[~taught] for v in known[:2])), axis=1)
            found[name].append(table)
    measured = []
    for name, tables in found.items():
        inside = np.mean([(table["low"] <= truth) & (truth <= table["high"]) for table in tables], axis=0)
        width = np.mean([np.maximum(table["high"] - table["low"], 0) for table in tables], axis=0)
        row = {"way": name, "inside": inside.mean(), "width": width.mean()}
        for kind, groups in (("decade", decades(rows["age"])), ("source", rows["source"])):
            shares = pd.Series(inside).groupby(groups.to_numpy()).agg(["mean", "size"])
            row[kind] = shares.loc[shares["size"] >= ENOUGH, "mean"].to_dict()
        measured.append(row)
        print(row, flush=True)
    results.record(
        "book/results/intervals.json",
        measured,
        weights=[path],
        stores=[store],
        data="validation splits, cut in half at random",
        seeds=list(range(SPLITS)),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store))
