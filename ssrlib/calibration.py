"""How sure a reading is: an interval for each age, and a probability for each gender.

Both are learned from the validation split, which trained nothing, and are kept as plain numbers in the
card of the weights they belong to. Only numpy is needed here, so that they travel with every export.

References: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2005 (conformal
prediction, and its label-conditional form); J. Platt, "Probabilistic outputs for support vector machines",
Advances in Large Margin Classifiers, 1999.
"""

from itertools import pairwise
from typing import Any, NotRequired, TypedDict, final

import numpy as np

from ssrlib.targets import AGE, Target, log_odds

COVERAGE = 0.9
FOLDS = 5
MIN_FACES = 40
ROUNDS = 30
# Every age that an interval may name.
AGES = np.arange(0, 120.5, 0.5)
PENALTY = 1e-3


@final
class AgeCalibration(TypedDict):
    """What `age_interval` computes with.

    `faces` is how many it was learned from, and `coverage` the share of people who are meant to be inside
    their interval. `scale` are the three weights of the expected error, in years: of 1, of the reading, and
    of its difference from the mirror image's. `bands` are the lowest and the highest usual error in units of
    that, for people as old as the `middles`, in years. `widened`, if it is there, is the factor by
    which they are wider than those faces asked for.
    """

    faces: int
    coverage: float
    scale: list[float]
    middles: list[float]
    bands: list[list[float]]
    widened: NotRequired[float]


@final
class GenderCalibration(TypedDict):
    """What `probability` computes with.

    `faces` is how many it was learned from. `platt` are the slope and the offset of Platt scaling: of
    8 * value - 4, which the logistic loss takes for the logarithm of the odds, and of 1.
    """

    faces: int
    platt: list[float]


Calibration = AgeCalibration | GenderCalibration


def fit(target: Target, values: np.ndarray, differences: np.ndarray, truth: np.ndarray) -> Calibration:
    """Learn the calibration of a network from its answers on faces that it was not trained on.

    Args:
        target: what the network reads.
        values, differences: from `inference.flip_average`.
        truth: from `Target.labels`; NaN where unknown.

    Returns:
        What `age_interval` or `probability` needs, ready for JSON. Keep it in the weights' card, under
        "calibration".

    Raises:
        ValueError: there are fewer than 100 faces with a label, a value is not a number, all faces are of
            one class, or the target is a number other than an age.
    """
    if not target.classes and target is not AGE:
        raise ValueError(f"intervals are learned for ages only, not for {target.name}")
    known = ~np.isnan(truth)
    values, differences, truth = (np.asarray(v, float)[known] for v in (values, differences, truth))
    if len(truth) < 100:
        raise ValueError(f"calibration needs at least 100 faces with a known {target.name}, not {len(truth)}")
    if not np.isfinite(values).all() or not np.isfinite(differences).all():
        raise ValueError("the network's answer to some face is not a number")
    if target.classes:
        return {"faces": len(truth), "platt": _fit_classes(values, truth)}
    return _fit_age(values, differences, truth)


def check(calibration: Any, target: Target) -> None:
    """Refuse a calibration, read from a file, that `age_interval` and `probability` cannot compute with.

    >>> from ssrlib.targets import AGE
    >>> check({"faces": 200, "scale": [1, 0, 0], "middles": [50], "bands": [[4, -5]]}, AGE)
    Traceback (most recent call last):
    ValueError: the calibration's bands must be a rising pair for each of the middles, not [[4, -5]]

    Raises:
        ValueError: it names the entry, and says what is expected.
    """
    if not isinstance(calibration, dict):
        raise ValueError(f"the calibration must be an object, not {calibration!r}")
    _check(calibration, "faces", type(calibration.get("faces")) is int, "a whole number")
    if target.classes:
        _check(calibration, "platt", _numbers(calibration.get("platt"), 2), "two numbers")
        return
    scale, middles, bands = (calibration.get(name, []) for name in ("scale", "middles", "bands"))
    _check(calibration, "scale", _numbers(scale, 3), "three numbers")
    rise = _numbers(middles) and all(a < b for a, b in pairwise(middles))
    _check(calibration, "middles", rise, "a list of rising numbers")
    pairs = (
        isinstance(bands, list) and len(bands) == len(middles) and all(_numbers(band, 2) for band in bands)
    )
    factor = calibration.get("widened", 1)
    _check(calibration, "widened", _numbers([factor]) and factor > 0, "a number above 0")
    expected = "a rising pair for each of the middles"
    _check(calibration, "bands", pairs and all(low <= high for low, high in bands), expected)


def _numbers(values: Any, count: int | None = None) -> bool:
    """Whether it is a list of finite numbers, `count` of them or at least one."""
    if not isinstance(values, list) or not values or count not in (None, len(values)):
        return False
    return all(type(value) in (int, float) and abs(value) < 1e6 for value in values)


def _check(calibration: dict[str, Any], name: str, sound: bool, expected: str) -> None:
    if not sound:
        raise ValueError(f"the calibration's {name} must be {expected}, not {calibration.get(name)!r}")


def age_interval(
    calibration: Calibration | None, ages: np.ndarray, differences: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest age, in years, that each reading is compatible with.

    Among people of any one decade of age, 90 % are meant to be inside their interval, and more if it was
    `widened`; how many are, `metrics.evaluate` measures. Without a calibration both are NaN.

    An age y is compatible with a reading if readings of people aged y are often off by as much. "By as
    much" is told in units of the error that a linear fit expects for such a reading: older and less
    symmetrical answers are worse. "Often" means within the band that held 90 % of validation's errors
    at that age; it is learned for each decade, and runs straight from one decade's middle to the
    next. The interval runs from the lowest to the highest compatible age, and to the
    reading itself.

    >>> calibration = {"scale": [1, 0, 0], "middles": [50], "bands": [[-5, 4]]}
    >>> age_interval(calibration, np.array([30.0]), np.array([0.0]))
    (array([26.]), array([35.]))
    >>> age_interval(None, np.array([30.0]), np.array([0.0]))
    (array([nan]), array([nan]))

    Raises:
        ValueError: the calibration is one for gender.
    """
    ages, differences = np.asarray(ages, float), np.asarray(differences, float)
    if not calibration:
        return np.full_like(ages, np.nan), np.full_like(ages, np.nan)
    if "scale" not in calibration:
        raise ValueError("the calibration is one for gender, and cannot tell how sure an age is")
    error = (ages[:, None] - AGES) / _scale(calibration["scale"], ages, differences)[:, None]
    low, high = (
        np.interp(AGES, calibration["middles"], band) for band in zip(*calibration["bands"], strict=True)
    )
    beyond = np.maximum(low - error, error - high)
    # A reading that no age explains well still gets the one that explains it best.
    compatible = beyond <= np.maximum(0, beyond.min(axis=1, keepdims=True))
    lowest, highest = AGES[compatible.argmax(axis=1)], AGES[::-1][compatible[:, ::-1].argmax(axis=1)]
    return np.minimum(ages, lowest), np.maximum(ages, highest)


def widened(calibration: Calibration, factor: float) -> AgeCalibration:
    """Return a calibration whose bands are wider by a factor, about their centers; below 1, narrower.

    People of a collection that the network never saw are off by more than the faces it was calibrated on,
    and the one sign that was tried does not tell who they are. So the built-in bands are wider for
    everybody, by as much as collections left out have asked for (tools/weights/strangers.py; the book's
    chapter "How sure is it?").

    >>> calibration = {"faces": 200, "coverage": 0.9, "scale": [1, 0, 0], "middles": [50], "bands": [[-5, 4]]}
    >>> widened(calibration, 2)["bands"]
    [[-9.5, 8.5]]

    Raises:
        ValueError: the calibration is one for gender, or the factor is not above 0.
    """
    if "bands" not in calibration:
        raise ValueError("the calibration is one for gender, and has no bands to widen")
    if not factor > 0:
        raise ValueError(f"bands can be widened by a factor above 0, not by {factor}")
    extra = (factor - 1) / 2  # about the center: a card does not keep the median that `fit` stretches from
    bands = [[low - extra * (high - low), high + extra * (high - low)] for low, high in calibration["bands"]]
    return {**calibration, "bands": bands, "widened": factor * calibration.get("widened", 1.0)}


def probability(calibration: Calibration | None, values: np.ndarray) -> np.ndarray:
    """Turn a gender network's outputs into probabilities that the label is male, by Platt scaling.

    Without a calibration they are what the logistic loss takes them for: too sure of themselves, as a rule.

    >>> probability({"platt": [0.5, 0.0]}, np.array([-0.1, 0.5, 1.2])).round(2)
    array([0.08, 0.5 , 0.94])
    >>> probability(None, np.array([-0.1, 0.5, 1.2])).round(3)
    array([0.008, 0.5  , 0.996])

    Raises:
        ValueError: the calibration is one for age.
    """
    if calibration and "platt" not in calibration:
        raise ValueError("the calibration is one for age, and cannot make probabilities")
    slope, offset = calibration["platt"] if calibration else (1.0, 0.0)
    return _logistic(slope * log_odds(np.asarray(values, float)) + offset)


def _logistic(z: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # of what is far below 0: one in infinitely many is 0
        p: np.ndarray = 1 / (1 + np.exp(-z))
    return p


def _fit_age(ages: np.ndarray, differences: np.ndarray, truth: np.ndarray) -> AgeCalibration:
    """Label-conditional conformal intervals: each decade gets the band that covers 90 % of its faces.

    A band is interpolated between decades, and an interval spans the gaps between compatible ages, so
    plain 90 % bands would cover too few or too many. Each is therefore stretched until the intervals
    cover 90 %, counted on faces that did not shape it: in five folds, each fold's faces meet the
    bands of the other four.
    """
    starts = _starts(truth)
    group = _group(starts, truth)
    # Each group is dealt to all folds, in whatever order the faces come.
    fold = np.empty(len(truth), int)
    fold[np.argsort(group, kind="stable")] = np.arange(len(truth)) % FOLDS
    shapes = [
        _shape(ages[keep], differences[keep], truth[keep], starts)
        for keep in (fold != i for i in range(FOLDS))
    ]
    sizes = np.bincount(group)
    wanted = np.minimum(1, COVERAGE * (sizes + 1) / sizes)
    stretch = np.ones(len(starts))
    for _ in range(ROUNDS):
        inside = np.empty(len(truth), bool)
        for i, shape in enumerate(shapes):
            part = fold == i
            low, high = age_interval(
                _stretched(len(truth), *shape, starts, stretch), ages[part], differences[part]
            )
            inside[part] = (low <= truth[part]) & (truth[part] <= high)
        stretch *= 1 + wanted - np.bincount(group, inside) / sizes
    whole = _shape(ages, differences, truth, starts)
    return _stretched(len(truth), *whole, starts, stretch)


def _starts(truth: np.ndarray) -> list[int]:
    """The first age of each group: decades, the rare ones joined to their neighbors."""
    starts, count = [0], 0
    for start in range(0, 130, 10):
        if count >= MIN_FACES:
            starts.append(start)
            count = 0
        count += int(((truth >= start) & (truth < start + 10)).sum())
    return starts[:-1] if count < MIN_FACES and len(starts) > 1 else starts


def _group(starts: list[int], ages: np.ndarray) -> np.ndarray:
    return np.searchsorted(starts[1:], ages, side="right")


def _shape(
    ages: np.ndarray, differences: np.ndarray, truth: np.ndarray, starts: list[int]
) -> tuple[list[float], np.ndarray]:
    """The linear fit of the error, and each group's 5 %, 50 % and 95 % point of the scaled error."""
    features = np.stack([np.ones_like(ages), ages, differences], axis=1)
    fit, *_ = np.linalg.lstsq(features, np.abs(ages - truth), rcond=None)
    error = (ages - truth) / _scale(fit, ages, differences)
    group = _group(starts, truth)
    tail = (1 - COVERAGE) / 2
    points = [np.quantile(error[group == g], [tail, 0.5, 1 - tail]) for g in range(len(starts))]
    return fit.tolist(), np.array(points)


def _stretched(
    faces: int, fit: list[float], points: np.ndarray, starts: list[int], stretch: np.ndarray
) -> AgeCalibration:
    """The calibration with each group's band stretched, away from its 50 % point, by a factor."""
    low, middle, high = points.T
    bands = np.stack([middle - stretch * (middle - low), middle + stretch * (high - middle)], axis=1)
    middles = [(start + end) / 2 for start, end in pairwise([*starts, starts[-1] + 10])]
    return {
        "faces": faces,
        "coverage": COVERAGE,
        "scale": fit,
        "middles": middles,
        "bands": bands.tolist(),
    }


def _scale(fit: list[float], ages: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """The error in years to expect for each reading; at least 1, since labels are whole years."""
    return np.maximum(fit[0] + fit[1] * ages + fit[2] * differences, 1.0)


def _fit_classes(values: np.ndarray, truth: np.ndarray) -> list[float]:
    """Logistic regression on one number. A slope below 0 would turn the order around: it stays at 0.

    The small penalty keeps the weights finite where the labels are told apart fully.
    """
    from scipy.optimize import minimize  # only who calibrates needs SciPy

    if truth.min() == truth.max():
        raise ValueError("calibration needs faces of both classes")
    features = np.stack([log_odds(np.asarray(values, float)), np.ones_like(values)], axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = features @ weights
        cost = np.logaddexp(0, z).sum() - truth @ z + PENALTY / 2 * weights @ weights
        return cost, features.T @ (_logistic(z) - truth) + PENALTY * weights

    bounds = [(0, None), (None, None)]
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    weights: list[float] = minimize(loss, np.zeros(2), jac=True, bounds=bounds, options=options).x.tolist()
    return weights
