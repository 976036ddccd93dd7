"""How good a network is: its answers on a split, and the figures that sum them up.

Every figure is the mean of one number a face, so one bootstrap gives the interval of each of them.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from ssrlib import calibration as sure
from ssrlib.store import FaceStore

BATCH = 512
RESAMPLES = 1000
CURVE = 20
# Columns of a store's rows that name a face rather than a group of faces.
NAMES = ("path", "subject", "split", "source", "age")


def predict(network: nn.Module, faces: np.ndarray) -> np.ndarray:
    """Return a network's N values for N faces (uint8, N x 64 x 64 x 3, RGB), in float32.

    The network is switched to inference for it, and back again if it was training.

    >>> from ssrlib.network import SSRNet
    >>> predict(SSRNet(), np.zeros((2, 64, 64, 3), np.uint8)).shape
    (2,)
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    values = []
    with torch.inference_mode():
        for start in range(0, len(faces), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(faces[start : start + BATCH]))
            values.append(network(batch.permute(0, 3, 1, 2).to(device)).float().cpu())
    network.train(was_training)
    return torch.cat(values).numpy() if values else np.empty(0, np.float32)


def targets(rows: pd.DataFrame, target: str) -> np.ndarray:
    """Return what a network should answer for each row, as float32, NaN where it is unknown.

    That is the age in years, or for gender 1 for male and 0 for female.

    >>> targets(pd.DataFrame({"gender": ["male", "female", None]}), "gender")
    array([ 1.,  0., nan], dtype=float32)
    """
    if target not in rows:
        raise ValueError(f"this store has no column {target!r}")
    values = rows[target] if target == "age" else rows[target].map({"female": 0.0, "male": 1.0})
    return values.to_numpy(np.float32, na_value=np.nan)


def score(values: np.ndarray, truth: np.ndarray, target: str) -> dict[str, float]:
    """Return the figures that training watches, leaving out what has no label.

    For age: `mae`, the mean absolute error in years, and `ca5`, the share of errors smaller than 5
    years. The paper defines CA(n) so, strictly; labels are whole years and answers are not, so an
    error of exactly 5 hardly occurs. For gender: `accuracy`, with the border at 0.5, and `mae`.

    >>> score(np.array([20.0, 31.0]), np.array([22.0, 40.0]), "age")
    {'mae': 5.5, 'ca5': 0.5}
    """
    known = ~np.isnan(truth)
    if not known.any():
        raise ValueError(f"no face here has a known {target}")
    values, truth = values[known], truth[known]
    errors = np.abs(values - truth)
    if target == "age":
        return {"mae": float(errors.mean()), "ca5": float((errors < 5).mean())}
    return {"mae": float(errors.mean()), "accuracy": float(((values > 0.5) == (truth > 0.5)).mean())}


def predictions(
    network: nn.Module, store: FaceStore, split: str, calibration: dict | None = None
) -> pd.DataFrame:
    """Read one split's faces as `AgeGenderEstimator` does, each with its mirror image.

    The faces are read from disk in batches of 512, so memory does not grow with the store.

    Args:
        network: for age or for gender, told apart by its value range.
        store, split: the faces; those without a label are left out.
        calibration: from the card of the network's weights.

    Returns:
        The split's rows, and beside them `truth` (years, or 1 for male and 0 for female), `value`
        (the answer: years, or the probability of male), `one_look` (the network's output for the
        face alone), `difference` (from the mirror image's), and for age `low` and `high`.

    Raises:
        ValueError: the split has no face with a known label, or the network's answer to a face is
            not a number.
    """
    target = target_of(network)
    places = np.flatnonzero(store.rows["split"] == split)
    if not len(places):
        there = ", ".join(sorted(store.rows["split"].unique()))
        raise ValueError(f"{store.path}: no face is in the split {split!r}; there are: {there}")
    rows = store.rows.iloc[places]
    rows = rows.assign(truth=targets(rows, target))
    known = rows["truth"].notna().to_numpy()
    if not known.any():
        raise ValueError(f"{store.path}: no face of the {split} split has a known {target}")
    rows, places = rows[known].reset_index(drop=True), places[known]
    batches = [_looks(network, store.faces[places[i : i + BATCH]]) for i in range(0, len(places), BATCH)]
    looks, values, differences = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise ValueError(
            f"the network's answer is not a number for {wrong.sum()} of {len(values)} faces, first for "
            f"{rows['path'][wrong.argmax()]}; its weights are damaged, or training went wrong"
        )
    rows = rows.assign(value=values, one_look=looks, difference=differences)
    if target == "gender":
        return rows.assign(value=sure.probability(calibration, values))
    low, high = sure.age_interval(calibration, values, differences)
    return rows.assign(low=low, high=high)


def target_of(network: nn.Module) -> str:
    """Return "gender" for a network whose values range from 0 to 1, else "age"."""
    return "gender" if network.settings["value_range"] == 1 else "age"


def _looks(network: nn.Module, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a network says about faces, the mean with their mirror images, and the differences."""
    looks = predict(network, faces)
    return looks, *sure.both_ways(lambda seen: looks if seen is faces else predict(network, seen), faces)


def evaluate(
    network: nn.Module, store: FaceStore, split: str = "test", calibration: dict | None = None
) -> dict:
    """Return all figures of a network on one split of a store, ready for JSON.

    They are those of `summary`, each with its interval; `one_look`, the `score` without the mirror
    image; `constant`, from `constant_guess`; `groups`, from `by_group` for decades of age, gender and
    every other column of text in the rows; for age also `by_age` and the curve `cs`, and for gender
    `reliability`. Arguments and errors are those of `predictions`.
    """
    table, target = predictions(network, store, split, calibration), target_of(network)
    values, truth = table["value"].to_numpy(), table["truth"].to_numpy()
    per_face = figures_per_face(table)
    figures = {"target": target, "split": split, "faces": len(table)} | summary(per_face)
    figures["one_look"] = score(table["one_look"].to_numpy(), truth, target)
    figures["constant"] = constant_guess(store.rows, truth, target)
    figures["groups"] = {name: by_group(per_face, names) for name, names in groupings(table).items()}
    if target == "age":
        figures["by_age"] = errors_by_age(values, truth)
        figures["cs"] = cs_curve(values, truth)
    else:
        figures["reliability"] = reliability(values, truth)
    return figures


def figures_per_face(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns whose means are the figures of merit, one row a face, from `predictions`.

    For age: `mae`, `rmse` (squared here; the root is taken of the mean), `bias` (above 0: too old),
    `ca3` and `ca5` (errors strictly smaller than 3 and 5 years), and with a calibration `coverage`
    (is the true age inside the interval?) and `width` (years). For gender: `accuracy`, `bias` (the
    probability of male less the label) and `brier`, the squared error of the probability.
    """
    error, truth = table["value"] - table["truth"], table["truth"]
    if "low" not in table:
        right = (table["value"] > 0.5) == (truth > 0.5)
        return pd.DataFrame({"accuracy": right, "bias": error, "brier": error**2}).astype(float)
    size = error.abs()
    columns = {"mae": size, "rmse": error**2, "bias": error, "ca3": size < 3, "ca5": size < 5}
    if table["low"].notna().all():
        columns["coverage"] = (table["low"] <= truth) & (truth <= table["high"])
        columns["width"] = table["high"] - table["low"]
    return pd.DataFrame(columns).astype(float)


def summary(per_face: pd.DataFrame) -> dict:
    """Return each column's mean (the root of it for `rmse`), and under `intervals` its 95 % interval.

    The intervals come from the bootstrap: 1,000 times, as many faces are drawn from the faces, with
    repetition, and measured again; the interval spans the middle 95 % of the results. One face has
    no interval (null). Faces count as independent: where one person is in many photos, the truth is
    less sure than the interval says.

    >>> figures = summary(pd.DataFrame({"mae": [1.0, 3.0], "rmse": [1.0, 9.0]}))
    >>> figures["mae"], round(figures["rmse"], 3), figures["intervals"]["mae"]
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
    return dict(zip(per_face, means.tolist(), strict=True)) | {
        "intervals": dict(zip(per_face, intervals, strict=True))
    }


def groupings(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the ways to sort faces into groups: by decade of age, and by every column of text.

    For an age network also by decade of its answer, the one age that its user knows, and in quarters
    by how far the answers to the face and to its mirror image are apart.
    """
    found = {}
    if "age" in table and table["age"].notna().any():
        found["age"] = decades(table["age"])
    if "low" in table:
        found["predicted age"] = decades(table["value"].clip(lower=0))
        quarter = np.ceil(4 * table["difference"].rank(method="first", pct=True)).astype(int)
        found["mirror disagreement"] = "quarter " + quarter.astype(str)
    for name in table.columns.difference(NAMES, sort=False):
        if pd.api.types.is_string_dtype(table[name]) and 2 <= table[name].nunique() <= CURVE:
            found[name] = table[name].fillna("unknown")
    return found


def decades(ages: pd.Series) -> pd.Series:
    """Name the decade of each age.

    >>> decades(pd.Series([0.5, 34, np.nan])).tolist()
    ['0-9', '30-39', 'unknown']
    """
    start = ages // 10 * 10
    return start.map(lambda age: "unknown" if np.isnan(age) else f"{age:.0f}-{age + 9:.0f}")


def by_group(per_face: pd.DataFrame, names: pd.Series) -> list[dict]:
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


def cs_curve(values: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Return the cumulative score: for n = 1 to 20 years CA(n), the share of errors smaller than n.

    >>> curve = cs_curve(np.array([20.0, 31.0]), np.array([22.0, 40.0]))
    >>> [(point["years"], point["share"]) for point in curve if point["years"] in (2, 3, 10)]
    [(2, 0.0), (3, 0.5), (10, 1.0)]
    """
    size, years = np.abs(values - truth), range(1, CURVE + 1)
    shares = summary(pd.DataFrame({n: (size < n).astype(float) for n in years}))
    intervals = shares["intervals"]
    return [{"years": n, "share": shares[n], "interval": intervals[n]} for n in years]


def reliability(p: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Return, for each tenth of probability, how often the label was male: near `said`, if p is honest.

    >>> reliability(np.array([0.2, 0.22, 0.9]), np.array([0.0, 1.0, 1.0]))[0]["was"]
    0.5
    """
    tenth = np.minimum((p * 10).astype(int), 9)
    return [
        {"faces": len(part)} | summary(part)
        for _, part in pd.DataFrame({"said": p, "was": truth}).astype(float).groupby(tenth)
    ]


def constant_guess(rows: pd.DataFrame, truth: np.ndarray, target: str) -> dict:
    """Return the best answer that never looks at a face, and its `score` on `truth`.

    That is the median age of a store's train split, or its more frequent gender; none where the train
    split has no label.
    """
    train = rows.loc[rows["split"] == "train", target].dropna()
    if train.empty:
        return {}
    guess = float(train.median()) if target == "age" else train.mode()[0]
    value = guess if target == "age" else float(guess == "male")
    return {"guess": guess} | score(np.full_like(truth, value), truth, target)


def errors_by_age(values: np.ndarray, truth: np.ndarray, step: int = 10) -> list[dict]:
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
            figures = {"mae": float(np.abs(errors).mean()), "bias": float(errors.mean())}
            groups.append({"ages": name, "faces": len(errors)} | figures)
    return groups


def record(path: str | Path, figures: dict, **origin) -> None:
    """Write figures to a JSON file, with what is needed to get them again.

    That is the command, the commit, the day and the machine, and what `origin` adds: the data, the
    seeds, the weights.
    """
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    origin |= {
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "commit": commit.stdout.strip() or "unknown",
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": figures, "origin": origin}, indent=2) + "\n")


def results(name: str) -> dict:
    """Return one of the book's results, `book/results/NAME.json`, as `record` wrote it.

    It is found from any working folder: in the checkout, or in the installed package, which carries it.

    >>> sorted(results("age-test"))
    ['figures', 'origin']

    Raises:
        FileNotFoundError: there is no result of this name; the message lists those that there are.
    """
    package = Path(__file__).parent
    checkout, installed = package.parent / "book" / "results", package / "published"
    folder = installed if installed.is_dir() else checkout
    if not (folder / f"{name}.json").is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise FileNotFoundError(f"the book has no result {name!r}; it has {known}")
    return json.loads((folder / f"{name}.json").read_text())


def recorded(path: str | Path) -> dict:
    """Return the figures of `evaluate` that `record` wrote to a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is another one.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of figures")
    try:
        figures = json.loads(Path(path).read_text())["figures"]
        if {"target", "split", "groups"} <= figures.keys():
            return figures
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    raise ValueError(f"{path}: not the figures that `python -m ssrlib evaluate --out` writes")
