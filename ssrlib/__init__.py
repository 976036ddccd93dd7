"""SSR-Net: read age and gender from a face with 40,531 parameters.

The modules follow a face's way, from a photo to a figure; the book's chapters follow the modules.
"""

from importlib import import_module

FACE_SIZE = 64
"""A face's height and width in pixels, everywhere."""

_HOMES = {
    "AgeGenderEstimator": "estimator",
    "FaceStore": "store",
    "Recipe": "training",
    "SSRNet": "network",
    "fit": "training",
    "soft_stagewise_regression": "network",
}
__all__ = ["FACE_SIZE", *sorted(_HOMES)]


def __getattr__(name: str):
    """Import on first use: the processes that prepare photos need not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ssrlib' has no attribute {name!r}")
    return getattr(import_module(f"ssrlib.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
