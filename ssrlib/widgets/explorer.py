"""The formula, to move: bins drawn to scale, weights, shifts and widths to drag."""

from typing import Any

import numpy as np
import torch
import traitlets

from ssrlib import SSRNet, soft_stagewise_regression, weights
from ssrlib.datasets import synthetic
from ssrlib.inference import evaluating
from ssrlib.recipe import Recipe
from ssrlib.targets import target_of
from ssrlib.training import new_network
from ssrlib.widgets.base import STYLE, Widget, data_url, encoded, module

PAPER = {
    "name": "The paper's example",
    "note": "Ages from 0 to 90. Stage 1 is sure of its bin 1, stage 2 of its bin 2.",
    "p": [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "eta": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    "delta": [0.0, 0.0],
    "value_range": 90.0,
    "unit": "years",
}


class StagewiseExplorer(Widget):
    """Soft stagewise regression as a picture to move, in a notebook and on a page without a kernel.

    Args:
        face: a face to load p, eta and delta from: uint8, 64 x 64 x 3, RGB. By default a drawn one.
        network: the network that reads it; by default the built-in one for age.

    Attributes:
        p, eta, delta: one list (for `delta` one number) a stage, as in `soft_stagewise_regression`.
            They change when somebody moves the picture, and the picture moves when they change.
        value_range: V, in the unit of the result.
        unit: of the result, such as "years".
        age: what they add up to, kept up to date; setting it is an error.
        presets: the examples that its buttons load.

    >>> explorer = StagewiseExplorer()
    >>> explorer.age
    50.0
    >>> explorer.p = [[0, 1, 0], [1, 0, 0]]
    >>> explorer.age
    30.0
    """

    _esm = module("explorer.js")
    _css = STYLE

    p = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    eta = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    delta = traitlets.List(traitlets.Float()).tag(sync=True)
    value_range = traitlets.Float(101.0).tag(sync=True)
    unit = traitlets.Unicode("years").tag(sync=True)
    presets: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    age = traitlets.Float(read_only=True)

    def __init__(self, face: np.ndarray | None = None, network: SSRNet | None = None):
        start = {name: PAPER[name] for name in ("p", "eta", "delta", "value_range", "unit")}
        super().__init__(**start)
        face = synthetic.generate(1, seed=7)[0][0] if face is None else face
        with torch.random.fork_rng(devices=[]):
            untrained = new_network(Recipe()).eval()
        network = network or weights.load(weights.pretrained("age"))
        self.presets = [
            PAPER,
            terms_of(face, untrained)
            | {
                "name": "An untrained network",
                "note": "Random weights: many bins take part, and the age means nothing.",
            },
            terms_of(face, network)
            | {
                "name": "This face",
                "note": "What the trained network makes of the face. Its weights need not add up to 1.",
                "image": data_url(encoded(face, "png"), "png"),
            },
        ]

    def load(self, face: np.ndarray, network: SSRNet | None = None) -> None:
        """Show what a network makes of a face (uint8, 64 x 64 x 3, RGB), and put it on the last button."""
        terms = terms_of(face, network or weights.load(weights.pretrained("age")))
        image = data_url(encoded(face, "png"), "png")
        self.presets = [*self.presets[:-1], self.presets[-1] | terms | {"image": image}]
        self.show(**terms)

    def show(
        self,
        p: list[list[float]],
        eta: list[list[float]],
        delta: list[float],
        value_range: float,
        unit: str = "years",
    ) -> None:
        """Change everything at once, the number of stages and bins included."""
        with self.hold_sync(), self.hold_trait_notifications():
            self.p, self.eta, self.delta, self.value_range, self.unit = p, eta, delta, value_range, unit

    @traitlets.validate("p", "eta", "delta")
    def _matches(self, proposal: dict[str, Any]) -> list[Any]:
        new = {name: getattr(self, name) for name in ("p", "eta", "delta")}
        new[proposal["trait"].name] = proposal["value"]
        bins, shifts = ([len(row) for row in new[name]] for name in ("p", "eta"))
        if bins != shifts or len(bins) != len(new["delta"]) or 0 in bins or not bins:
            raise traitlets.TraitError(
                "p and eta must have one list per stage, of equal lengths, and delta one number each; got "
                f"bins {bins} in p, {shifts} in eta, and {len(new['delta'])} deltas. To change their number, "
                "use show()"
            )
        if any(weight < 0 for row in new["p"] for weight in row):
            raise traitlets.TraitError(f"every p must be 0 or more, as after a ReLU; got {new['p']}")
        if min(new["delta"]) <= -1:
            raise traitlets.TraitError(
                f"every delta must be above -1, where bins are infinitely wide; got {new['delta']}"
            )
        value: list[Any] = proposal["value"]
        return value

    @traitlets.observe("p", "eta", "delta", "value_range")
    def _add_up(self, _change: object) -> None:
        p, eta = ([torch.tensor([row]) for row in rows] for rows in (self.p, self.eta))
        delta = [torch.tensor([scale]) for scale in self.delta]
        self.set_trait("age", soft_stagewise_regression(p, eta, delta, self.value_range).item())


def terms_of(face: np.ndarray, network: SSRNet) -> dict[str, Any]:
    """Return the `p`, `eta`, `delta`, `value_range` and `unit` that a network ends with for one face.

    Args:
        face: uint8, 64 x 64 x 3, RGB, 0 to 255.

    >>> terms = terms_of(np.zeros((64, 64, 3), np.uint8), SSRNet())
    >>> len(terms["p"]), len(terms["p"][0]), terms["value_range"], terms["unit"]
    (3, 3, 101.0, 'years')
    """
    with evaluating(network), torch.inference_mode():
        seen = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].to(network.mean.device)
        _, stages = network(seen, return_stages=True)
    settings = network.settings
    # The lambdas scale shifts and widths, so they can be part of them here.
    return {
        "p": [stage.p[0].tolist() for stage in stages],
        "eta": [(settings["lambda_eta"] * stage.eta[0]).tolist() for stage in stages],
        "delta": [settings["lambda_delta"] * stage.delta.item() for stage in stages],
        "value_range": settings["value_range"],
        "unit": target_of(network).unit,
    }
