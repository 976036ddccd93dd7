"""How to train: a recipe's fields, and what stands behind their words."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ssrlib.augment import MILD, PAPER, STRONG, VARIED
from ssrlib.targets import TARGETS, log_odds, target_named

AUGMENTATIONS = {"mild": MILD, "varied": VARIED, "strong": STRONG, "paper": PAPER, "none": None}
Loss = Callable[[Tensor, Tensor], Tensor]
# Smooth L1 turns quadratic below a twentieth of the value range.
LOSSES = {
    "l1": lambda values, truth, value_range: F.l1_loss(values, truth),
    "smooth l1": lambda values, truth, value_range: F.smooth_l1_loss(values, truth, beta=value_range / 20),
    "l2": lambda values, truth, value_range: F.mse_loss(values, truth),
    "logistic": lambda values, truth, value_range: F.binary_cross_entropy_with_logits(
        log_odds(values), truth
    ),
}


@dataclass(frozen=True)
class Recipe:
    """How to train: what to read from a face, how long, and how fast.

    Attributes:
        target: the name of what to read: "age" or "gender".
        epochs: passes over the train faces.
        second_epochs: passes of a second phase, which goes on from the best weights of the first one with
            a schedule and averaged weights of its own, at half the rate. With 0 there is none.
        batch_size: faces in one step, of all processes together.
        learning_rate: the peak of the schedule.
        schedule: "one-cycle" (up for 30 % of the steps, then down along a cosine) or "step" (times 0.1
            every 30 epochs).
        loss: "l1", "smooth l1", "l2", or for gender "logistic".
        augmentation: "mild", "varied", "strong", "paper" or "none".
        weight_decay: AdamW's, on the convolutions' kernels only; with 0 it is Adam.
        dropout: see `SSRNet`.
        waking: let the heads' ReLUs wake up again, see `WakingReLU`.
        ema: how much of the averaged weights stays at each step; the average is what is validated
            and kept. With 0 it is the last step's weights.
        balanced: draw the faces of an epoch, with repetition, so that those of a rare source or decade of
            age come more often: each by the root of how many there are like it.
        seed: of the initial weights, the order of the faces, their augmentation, and dropout.
        precision: Fabric's name for the number format, such as "32-true" or "bf16-mixed".
        compile: compile the network first; pays after a few minutes, and needs a C++ compiler.
    """

    target: str = "age"
    epochs: int = 30
    second_epochs: int = 0
    batch_size: int = 32
    learning_rate: float = 0.005
    schedule: str = "one-cycle"
    loss: str = "l1"
    augmentation: str = "mild"
    weight_decay: float = 0.05
    dropout: float = 0.0
    waking: bool = True
    ema: float = 0.998
    balanced: bool = False
    seed: int = 0
    precision: str = "32-true"
    compile: bool = False

    def __post_init__(self) -> None:
        choices = {
            "target": TARGETS,
            "schedule": ("one-cycle", "step"),
            "loss": LOSSES,
            "augmentation": AUGMENTATIONS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"the recipe's {name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        if self.loss == "logistic" and not TARGETS[self.target].classes:
            raise ValueError(f"the logistic loss is for two classes, and {self.target} is a number")
        for name in ("epochs", "second_epochs", "batch_size", "seed"):
            self._make_plain(name, Integral, int, "a whole number")
        for name in ("learning_rate", "weight_decay", "dropout", "ema"):
            self._make_plain(name, Real, float, "a number")
        for name in ("waking", "balanced", "compile"):
            self._make_plain(name, (bool, np.bool_), bool, "True or False")
        self._make_plain("precision", str, str, "Fabric's name for a number format")
        for name in ("epochs", "batch_size", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"the recipe's {name} must be above 0, not {getattr(self, name)}")
        for name in ("second_epochs", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"the recipe's {name} must be 0 or more, not {getattr(self, name)}")
        for name in ("dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"the recipe's {name} must be 0 or more and below 1, not {getattr(self, name)}"
                )

    def _make_plain(self, name: str, kind: type | tuple[type, ...], plain: type, words: str) -> None:
        """Make a field one of Python's own, whosever it was: cards and checkpoints hold no others."""
        value = getattr(self, name)
        if not isinstance(value, kind):
            raise ValueError(f"the recipe's {name} must be {words}, not {value!r}")
        object.__setattr__(self, name, plain(value))

    @property
    def all_epochs(self) -> int:
        """The passes of both phases together."""
        return self.epochs + self.second_epochs

    @classmethod
    def paper(cls, **changes: Any) -> "Recipe":
        """Return the published recipe (paper, section 4; the rate is the authors' code's).

        >>> Recipe.paper(seed=1).schedule
        'step'
        """
        published: dict[str, Any] = {
            "epochs": 90,
            "batch_size": 50,
            "learning_rate": 0.001,
            "schedule": "step",
            "augmentation": "paper",
            "weight_decay": 0.0,
            "dropout": 0.2,
            "waking": False,
            "ema": 0.0,
        }
        return cls(**published | changes)

    @classmethod
    def best(cls, target: str = "age", **changes: Any) -> "Recipe":
        """Return the recipe that the built-in weights began with, but for its `precision` and `compile`.

        Given other `epochs`, it has no second phase, unless `second_epochs` are given, too. Given another
        `batch_size`, the learning rate changes with its root, and the averaged weights span as many faces
        as before, unless these are given, too.

        >>> Recipe.best("gender").all_epochs
        32
        >>> Recipe.best(epochs=3).second_epochs
        0
        >>> Recipe.best(batch_size=128).learning_rate, round(Recipe.best(batch_size=128).ema, 4)
        (0.01, 0.992)
        """
        suits = target_named(target)
        # Two classes are learned sooner than a number.
        epochs, second_epochs = (20, 12) if suits.classes else (32, 16)
        ours: dict[str, Any] = {"target": target, "loss": suits.loss, "epochs": epochs}
        ours["second_epochs"] = 0 if "epochs" in changes else second_epochs
        times = max(1, changes.get("batch_size", cls.batch_size)) / cls.batch_size
        ours |= {"learning_rate": cls.learning_rate * times**0.5, "ema": cls.ema**times}
        return cls(**ours | changes)
