"""What a notebook shows: the formula to move, the training to watch, and a camera to look into.

Each widget is a Python class and a plain JavaScript module of the same name, with no build step in between.
They share `style.css`, and import the JavaScript that they share: `dom.js`, `chart.js`, `camera.js` and more.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Playground": "playground",
    "StagewiseExplorer": "explorer",
    "TrainingMonitor": "monitor",
    "TryIt": "try_it",
    "WebcamDemo": "webcam",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import on first use: the webcam demo need not load what training needs."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ssrlib.widgets' has no attribute {name!r}")
    return getattr(import_module(f"ssrlib.widgets.{_HOMES[name]}"), name)
