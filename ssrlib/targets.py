"""What can be read from a face: age and gender, each with its range, its unit and its metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ssrlib.network import FaceNetwork

Values = TypeVar("Values", np.ndarray, "Tensor")


@dataclass(frozen=True)
class Target:
    """One thing to read from a face: a number such as an age, or one of two classes.

    Attributes:
        name: also the column of a store's rows that holds the labels.
        value_range: V of the formula; networks answer from 0 to about V, and a face and its mirror image must
            have the same label.
        unit: of the answers, for tables and axes.
        metric: the one that chooses the best epoch and the best network, a key of `metrics.score`.
        metric_label: its name in words, with its unit if it has one.
        higher_is_better: whether a larger metric is a better one.
        loss: what `Recipe.best` trains it with; see `recipe.LOSSES`.
        tolerance: how far one answer of an exported network may be from PyTorch's.
        int8_tolerance: how much larger the mean absolute error may be in 8-bit integers.
        classes: the words of the labels 0 and 1, for a target that is no number.

    A new target is one more `Target` in `TARGETS`, and a dataset with a column of its name.
    """

    name: str
    value_range: float
    unit: str
    metric: str
    metric_label: str
    higher_is_better: bool
    loss: str
    tolerance: float
    int8_tolerance: float
    classes: tuple[str, str] | None = None

    def labels(self, rows: pd.DataFrame) -> np.ndarray:
        """Return what a network should answer for each row, as float32, NaN where it is unknown.

        A number as it is; of two classes, 0 for the first and 1 for the second.

        Raises:
            ValueError: the rows have no column of this name, or a number in it is below 0, where no
                answer can be.

        >>> import pandas as pd
        >>> GENDER.labels(pd.DataFrame({"gender": ["male", "female", None]}))
        array([ 1.,  0., nan], dtype=float32)
        """
        if self.name not in rows:
            raise ValueError(f"this store has no column {self.name!r}")
        values = rows[self.name]
        if self.classes:
            values = values.map({word: float(code) for code, word in enumerate(self.classes)})
        labels = values.to_numpy(np.float32, na_value=np.nan)
        if (labels < 0).any():
            raise ValueError(
                f"the {self.name} of {(labels < 0).sum()} faces is below 0, and answers begin at 0: "
                "train on absolute values, or on the distance from the lowest one"
            )
        return labels

    def best(self, metrics: Sequence[float]) -> int:
        """Return the place of the best metric, the first of equals; what is no number (NaN) is never it.

        Raises:
            ValueError: none of them is a number.

        >>> AGE.best([5.6, 5.4, 5.4]), GENDER.best([0.91, 0.92, 0.92])
        (1, 1)
        """
        return int((np.nanargmax if self.higher_is_better else np.nanargmin)(np.asarray(metrics)))


AGE = Target(
    name="age",
    value_range=101.0,
    unit="years",
    metric="mae",
    metric_label="mean absolute error (years)",
    higher_is_better=False,
    loss="l1",
    tolerance=1e-3,
    int8_tolerance=0.1,
)
GENDER = Target(
    name="gender",
    value_range=1.0,
    unit="p_male",
    metric="accuracy",
    metric_label="accuracy",
    higher_is_better=True,
    loss="logistic",
    tolerance=1e-4,
    int8_tolerance=1e-3,
    classes=("female", "male"),
)
TARGETS = {target.name: target for target in (AGE, GENDER)}


def target_named(name: str) -> Target:
    """Return the target of a name.

    Raises:
        ValueError: there is none; the message lists those that there are.

    >>> target_named("age").unit
    'years'
    """
    if name not in TARGETS:
        raise ValueError(f"there is no target {name!r}; there are: {', '.join(TARGETS)}")
    return TARGETS[name]


def target_of(network: FaceNetwork) -> Target:
    """Return what a network reads from a face: its settings name it.

    >>> from ssrlib.network import SSRNet
    >>> target_of(SSRNet()).name
    'age'
    """
    return target_named(network.settings["target"])


def log_odds(values: Values) -> Values:
    """Return what answers for two classes stand for: from 0 to 1, the logarithm of the odds from -4 to 4.

    The logistic loss takes them so, and calibration goes on from there.

    >>> log_odds(np.array([0.0, 0.5, 1.0]))
    array([-4.,  0.,  4.])
    """
    return 8 * values - 4
