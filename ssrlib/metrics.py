"""How good a network is: metrics over all faces and by group, each with its interval.

Every metric is the mean of one number per face, so one bootstrap gives the interval of each of them.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from ssrlib.calibration import Calibration
from ssrlib.inference import predict_split
from ssrlib.network import FaceNetwork
from ssrlib.store import FaceStore
from ssrlib.targets import AGE, Target, target_of

RESAMPLES = 1000
# How many years the cumulative score goes up to, and how many words a column may have that sorts faces.
CURVE, MOST_GROUPS = 20, 20
# Columns of a store's rows that make no groups of faces.
NAMES = ("path", "subject", "split", "part", "age")


def score(values: np.ndarray, truth: np.ndarray, target: Target) -> dict[str, float]:
    """Return the metrics that training watches, leaving out what has no label.

    For a number: `mae`, the mean absolute error, and `ca5`, the share of errors smaller than 5. The
    paper defines CA(n) so, strictly; labels are whole years and answers are not, so an error of exactly
    5 hardly occurs. For two classes: `accuracy`, with the border at 0.5, and `mae`.

    Raises:
        ValueError: no face has a label.

    >>> from ssrlib.targets import AGE
    >>> score(np.array([20.0, 31.0]), np.array([22.0, 40.0]), AGE)
    {'mae': 5.5, 'ca5': 0.5}
    """
    known = ~np.isnan(truth)
    if not known.any():
        raise ValueError(f"no face here has a known {target.name}")
    values, truth = values[known], truth[known]
    errors = np.abs(values - truth)
    if target.classes:
        return {"mae": float(errors.mean()), "accuracy": float(((values > 0.5) == (truth > 0.5)).mean())}
    return {"mae": float(errors.mean()), "ca5": float((errors < 5).mean())}


def evaluate(
    network: FaceNetwork, store: FaceStore, split: str = "test", calibration: Calibration | None = None
) -> dict[str, Any]:
    """Return all metrics of a network on one split of a store, ready for JSON.

    They are those of `summary`, each with its interval; `without_flip`, the `score` without the mirror
    image; `constant`, from `constant_baseline`; `groups`, from `by_group` for decades of age, gender and
    every other column of text in the rows; for age also `by_age`, for any number the curve `cs`, and for two
    classes `calibration_curve`. Arguments and errors are those of `inference.predict_split`.
    """
    table, target = predict_split(network, store, split, calibration), target_of(network)
    values, truth = table["value"].to_numpy(), table["truth"].to_numpy()
    per_face = metrics_per_face(table, target)
    measured = {"target": target.name, "split": split, "faces": len(table)} | summary(per_face)
    measured["without_flip"] = score(table["without_flip"].to_numpy(), truth, target)
    measured["constant"] = constant_baseline(store.rows, truth, target)
    measured["groups"] = {name: by_group(per_face, names) for name, names in groupings(table, target).items()}
    if target.classes:
        measured["calibration_curve"] = calibration_curve(values, truth)
    else:
        measured["cs"] = cs_curve(values, truth)
    if target is AGE:
        measured["by_age"] = errors_by_age(values, truth)
    return measured


def metrics_per_face(table: pd.DataFrame, target: Target) -> pd.DataFrame:
    """Return columns whose means are the metrics, one row per face, from `inference.predict_split`.

    For a number: `mae`, `rmse` (squared here; the root is taken of the mean), `bias` (above 0: too old),
    `ca3` and `ca5` (errors strictly smaller than 3 and 5 years), and with a calibration `coverage`
    (is the true value inside the interval?) and `width`. For two classes: `accuracy`, `bias` (the
    probability of the second less the label) and `brier`, the squared error of the probability.
    """
    error, truth = table["value"] - table["truth"], table["truth"]
    if target.classes:
        right = (table["value"] > 0.5) == (truth > 0.5)
        return pd.DataFrame({"accuracy": right, "bias": error, "brier": error**2}).astype(float)
    size = error.abs()
    columns = {"mae": size, "rmse": error**2, "bias": error, "ca3": size < 3, "ca5": size < 5}
    if table["low"].notna().all():
        columns["coverage"] = (table["low"] <= truth) & (truth <= table["high"])
        columns["width"] = table["high"] - table["low"]
    return pd.DataFrame(columns).astype(float)


def summary(per_face: pd.DataFrame) -> dict[str, Any]:
    """Return each column's mean (the root of it for `rmse`), and under `intervals` its 95 % interval.

    The intervals come from the bootstrap: 1,000 times, as many faces are drawn from the faces, with
    repetition, and measured again; the interval spans the middle 95 % of the results. One face has
    no interval (null). Faces count as independent: where one person is in many photos, the truth is
    less sure than the interval says.

    >>> measured = summary(pd.DataFrame({"mae": [1.0, 3.0], "rmse": [1.0, 9.0]}))
    >>> measured["mae"], round(measured["rmse"], 3), measured["intervals"]["mae"]
    (2.0, 2.236, [1.0, 3.0])
    """
    columns, n = per_face.to_numpy(), len(per_face)
    rng = np.random.default_rng(0)
    means = columns.mean(axis=0)
    drawn = np.stack([columns[rng.integers(n, size=n)].mean(axis=0) for _ in range(RESAMPLES)])
    bounds = np.percentile(drawn, [2.5, 97.5], axis=0)
    roots = per_face.columns == "rmse"
    means[roots], bounds[:, roots] = np.sqrt(means[roots]), np.sqrt(bounds[:, roots])
    intervals = bounds.T.tolist() if n > 1 else [None] * len(means)
    names = [str(name) for name in per_face]
    return dict(zip(names, means.tolist(), strict=True)) | {
        "intervals": dict(zip(names, intervals, strict=True))
    }


def groupings(table: pd.DataFrame, target: Target) -> dict[str, pd.Series]:
    """Return the ways to sort faces into groups: by decade of age, and by every column of text.

    For an age network also by decade of its answer, the one age that its user knows, and in quarters
    by how far the answers to the face and to its mirror image are apart.
    """
    found: dict[str, pd.Series] = {}
    if "age" in table and table["age"].notna().any():
        found["age"] = decades(table["age"])
    if target is AGE:
        found["predicted age"] = decades(table["value"].clip(lower=0))
        quarter = (4 * table["difference"].rank(method="first", pct=True)).map(math.ceil)
        found["mirror disagreement"] = "quarter " + quarter.astype(str)
    for name in table.columns.difference(list(NAMES), sort=False):
        if pd.api.types.is_string_dtype(table[name]) and 2 <= table[name].nunique() <= MOST_GROUPS:
            found[name] = table[name].fillna("unknown")
    return found


def decades(ages: pd.Series) -> pd.Series:
    """Name the decade of each age.

    >>> decades(pd.Series([0.5, 34, np.nan])).tolist()
    ['0-9', '30-39', 'unknown']
    """
    start = ages // 10 * 10
    return start.map(lambda age: "unknown" if np.isnan(age) else f"{age:.0f}-{age + 9:.0f}")


def by_group(per_face: pd.DataFrame, names: pd.Series) -> list[dict[str, Any]]:
    """Return `summary` for each group of faces, with its name and number of faces, the worst first.

    Worst is by the first column: the largest `mae`, or the smallest `accuracy`.

    >>> for group in by_group(pd.DataFrame({"mae": [1.0, 5, 3]}), pd.Series(["a", "b", "a"])):
    ...     print(group["group"], group["faces"], group["mae"], group["intervals"]["mae"])
    b 1 5.0 None
    a 2 2.0 [1.0, 3.0]
    """
    first = per_face.columns[0]
    groups = [
        {"group": name, "faces": len(part)} | summary(part)
        for name, part in per_face.groupby(names.to_numpy(), sort=True)
    ]
    return sorted(groups, key=lambda group: group[first], reverse=first != "accuracy")


def cs_curve(values: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Return the cumulative score: for n = 1 to 20 years CA(n), the share of errors smaller than n.

    >>> curve = cs_curve(np.array([20.0, 31.0]), np.array([22.0, 40.0]))
    >>> [(point["years"], point["share"]) for point in curve if point["years"] in (2, 3, 10)]
    [(2, 0.0), (3, 0.5), (10, 1.0)]
    """
    size, years = np.abs(values - truth), range(1, CURVE + 1)
    shares = summary(pd.DataFrame({str(n): (size < n).astype(float) for n in years}))
    intervals = shares["intervals"]
    return [{"years": n, "share": shares[str(n)], "interval": intervals[str(n)]} for n in years]


def calibration_curve(p: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Return, for each tenth of probability, the mean of what was predicted, and how often the
    label was the second class: near each other, if p is honest. Names are those of scikit-learn's curve.

    >>> calibration_curve(np.array([0.2, 0.22, 0.9]), np.array([0.0, 1.0, 1.0]))[0]["fraction_positive"]
    0.5
    """
    tenth = np.minimum((p * 10).astype(int), 9)
    return [
        {"faces": len(part)} | summary(part)
        for _, part in pd.DataFrame({"mean_predicted": p, "fraction_positive": truth})
        .astype(float)
        .groupby(tenth)
    ]


def constant_baseline(rows: pd.DataFrame, truth: np.ndarray, target: Target) -> dict[str, Any]:
    """Return the best answer that never looks at a face, and its `score` on `truth`.

    That is the median of a store's train split, or its more frequent class; none where the train
    split has no label.
    """
    train = rows[rows["split"] == "train"]
    labels = target.labels(train)
    if np.isnan(labels).all():
        return {}
    value = float(np.nanmedian(labels) if not target.classes else np.nanmean(labels) > 0.5)
    guess = target.classes[int(value)] if target.classes else value
    return {"guess": guess} | score(np.full_like(truth, value), truth, target)


def errors_by_age(values: np.ndarray, truth: np.ndarray, step: int = 10) -> list[dict[str, Any]]:
    """Return each age group's number of faces, mean absolute error and mean error, in years.

    The mean error is above 0 where the network guesses too old.

    >>> for group in errors_by_age(np.array([12.0, 25]), np.array([10.0, 29])):
    ...     print(group)
    {'ages': '10-19', 'faces': 1, 'mae': 2.0, 'bias': 2.0}
    {'ages': '20-29', 'faces': 1, 'mae': 4.0, 'bias': -4.0}
    """
    groups = []
    for start in range(0, int(np.nanmax(truth)) + 1, step):
        errors = (values - truth)[(truth >= start) & (truth < start + step)]
        if len(errors):
            name = f"{start}-{start + step - 1}"
            measured = {"mae": float(np.abs(errors).mean()), "bias": float(errors.mean())}
            groups.append({"ages": name, "faces": len(errors)} | measured)
    return groups


def best_epoch(history: pd.DataFrame, target: Target) -> int:
    """Return the first epoch of a training's history with the best metric of its target.

    >>> best_epoch(pd.DataFrame({"epoch": [1, 2, 3], "mae": [9.0, 8.0, 8.5]}), AGE)
    2
    """
    return int(history["epoch"].iloc[target.best(history[target.metric].tolist())])


def compare(errors: np.ndarray, rival: np.ndarray) -> dict[str, Any]:
    """Return how much larger one method's errors are than a rival's, with an interval: a paired bootstrap.

    Both methods read the same faces, so a hard face is hard for both, and drops out of the difference. 1,000
    times, faces are drawn with repetition, the same for both, and each method's training runs are, too: the
    interval is about other faces and other seeds. With few runs it is too narrow for the seeds.

    Args:
        errors, rival: runs x faces.

    Returns:
        `difference`, the mean of `errors` less that of `rival`, and `interval`, the middle 95 %.

    >>> compare(np.array([[2.0, 4.0]]), np.array([[1.0, 3.0]]))
    {'difference': 1.0, 'interval': [1.0, 1.0]}
    """
    rng = np.random.default_rng(0)

    def one_draw() -> float:
        faces = rng.integers(errors.shape[1], size=errors.shape[1])
        means = [part[rng.integers(len(part), size=len(part))][:, faces].mean() for part in (errors, rival)]
        return float(means[0] - means[1])

    bounds = np.percentile([one_draw() for _ in range(RESAMPLES)], [2.5, 97.5])
    return {"difference": float(errors.mean() - rival.mean()), "interval": bounds.tolist()}
