"""SSR-Net: read age and gender from a face with 40,531 parameters.

The modules follow a face's way, from a photo to a figure; the book's chapters follow the modules.
"""

from ssrlib.network import SSRNet, soft_stagewise_regression
from ssrlib.predict import AgeGenderEstimator
from ssrlib.store import FaceStore
from ssrlib.training import Recipe, fit

__all__ = ["AgeGenderEstimator", "FaceStore", "Recipe", "SSRNet", "fit", "soft_stagewise_regression"]
