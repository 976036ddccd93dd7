"""Sliders for a function of a few values, which also work on a page: all answers are known beforehand."""

import itertools
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure

from ssrlib.widgets.base import STYLE, Widget, data_url, encoded, module


class Playground(Widget):
    """Call a function with every combination of values now, and show one answer at a time.

    Args:
        function: returns a text, an image (uint8, height x width x 3, RGB) or a matplotlib figure, or
            one of them and a text as a pair.
        choices: for each of the function's parameters, the values to choose from. Their product
            should be some hundreds at most: every answer becomes part of the page.

    >>> both = Playground(lambda a, b: f"{a + b}", a=[1, 2], b=[10, 20, 30])
    >>> both.answers[-1]["text"]
    '32'
    """

    _esm = module("playground.js")
    _css = STYLE

    choices: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    answers: traitlets.List[dict[str, str]] = traitlets.List().tag(sync=True)

    def __init__(self, function: Callable[..., Any], **choices: Sequence[Any]):
        products = itertools.product(*choices.values())
        answers = [function(**dict(zip(choices, values, strict=True))) for values in products]
        named = [{"name": name, "values": [_text(v) for v in values]} for name, values in choices.items()]
        super().__init__(choices=named, answers=[_as_json(answer) for answer in answers])


def _text(value: object) -> str:
    return f"{round(value, 6) + 0:.3g}" if isinstance(value, float) else str(value)


def _as_json(answer: Any) -> dict[str, Any]:
    shown, text = answer if isinstance(answer, tuple) else (answer, "")
    if isinstance(shown, str):
        return {"text": shown}
    if isinstance(shown, Figure):
        buffer = BytesIO()
        shown.savefig(buffer, format="png", dpi=110)
        return {"text": text, "figure": data_url(buffer.getvalue(), "png")}
    return {"text": text, "image": data_url(encoded(np.asarray(shown), "jpeg"), "jpeg")}
