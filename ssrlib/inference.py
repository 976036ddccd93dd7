"""The forward pass over many faces, and the average over a face and its mirror image.

PyTorch is imported where it is needed: `flip_average` also serves networks that run without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ssrlib.calibration import Calibration, age_interval, fit, probability
from ssrlib.targets import target_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ssrlib.network import FaceNetwork
    from ssrlib.store import FaceStore

BATCH = 512


def predict(network: nn.Module, faces: np.ndarray) -> np.ndarray:
    """Return a network's N values for N faces (uint8, N x 64 x 64 x 3, RGB), in float32.

    The network is switched to inference for it, and back again if it was training.

    >>> from ssrlib.network import SSRNet
    >>> predict(SSRNet(), np.zeros((2, 64, 64, 3), np.uint8)).shape
    (2,)
    """
    import torch

    device = next(network.parameters()).device
    values = []
    with evaluating(network), torch.inference_mode():
        for start in range(0, len(faces), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(faces[start : start + BATCH]))
            values.append(network(batch.permute(0, 3, 1, 2).to(device)).float().cpu())
    return torch.cat(values).numpy() if values else np.empty(0, np.float32)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Switch to inference what in a network is training, and afterwards back again.

    >>> from ssrlib.network import SSRNet
    >>> network = SSRNet()
    >>> with evaluating(network):
    ...     network.training
    False
    >>> network.training
    True
    """
    # Not `network.eval()`, which switches every part each time: that takes a tenth of a face's time.
    training = [part for part in network.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def flip_average(
    read: Callable[[np.ndarray], np.ndarray], faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read faces and their mirror images: return the mean of both answers, and how far apart they are.

    A face in the mirror is as old as the face. Where a network sees that differently, it is unsure.

    Args:
        read: from N faces (uint8, N x 64 x 64 x 3) to N values.
        faces: uint8, N x 64 x 64 x 3.

    >>> mean, apart = flip_average(lambda faces: faces[:, 0, 0, 0] * 1.0, np.eye(64)[None, ..., None])
    >>> mean, apart
    (array([0.5]), array([1.]))
    """
    return _mean_and_difference(read(faces), read(faces[:, :, ::-1]))


def _mean_and_difference(values: np.ndarray, mirrored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):  # between infinite ones: whoever uses it refuses what is no number
        return (values + mirrored) / 2, np.abs(values - mirrored)


def predict_split(
    network: FaceNetwork, store: FaceStore, split: str, calibration: Calibration | None = None
) -> pd.DataFrame:
    """Read one split's faces as `AgeGenderEstimator` does, each with its mirror image.

    The faces are read from disk in batches of 512, so no more of them are in memory at once. Their rows and
    their answers are; and to compute intervals of ages takes some kilobytes per face.

    Args:
        network: its settings name its target.
        store, split: the faces; those without a label are left out.
        calibration: from the card of the network's weights.

    Returns:
        The split's rows, and beside them `truth` (from `Target.labels`), `value` (the answer: a number, or
        the probability of the second class), `output` (the network's own, the mean over face and mirror
        image, which `calibration.fit` learns from), `without_flip` (that of the face alone), `difference`
        (from the mirror image's), and for a number `low` and `high`.

    Raises:
        ValueError: the split has no face with a known label, or the network's answer to a face is
            not a number.
    """
    target = target_of(network)
    places = store.places(split)
    rows = store.rows.iloc[places]
    rows = rows.assign(truth=target.labels(rows))
    known = rows["truth"].notna().to_numpy()
    if not known.any():
        raise ValueError(f"{store.path}: no face of the {split} split has a known {target.name}")
    rows, places = rows[known].reset_index(drop=True), places[known]
    batches = [_looks(network, store.faces[places[i : i + BATCH]]) for i in range(0, len(places), BATCH)]
    looks, values, differences = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise ValueError(
            f"the network's answer is not a number for {wrong.sum()} of {len(values)} faces, first for "
            f"{rows['path'][wrong.argmax()]}; its weights are damaged, or training went wrong"
        )
    rows = rows.assign(value=values, output=values, without_flip=looks, difference=differences)
    if target.classes:
        return rows.assign(value=probability(calibration, values))
    low, high = age_interval(calibration, values, differences)
    return rows.assign(low=low, high=high)


def calibrate(network: FaceNetwork, store: FaceStore) -> Calibration:
    """Learn from a store's validation split how sure a network is; see `calibration.fit`."""
    answers = predict_split(network, store, "validation")
    columns = (answers[name].to_numpy() for name in ("output", "difference", "truth"))
    return fit(target_of(network), *columns)


def _looks(network: nn.Module, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a network says about faces, the mean with their mirror images, and the differences."""
    looks, mirrored = predict(network, faces), predict(network, faces[:, :, ::-1])
    return looks, *_mean_and_difference(looks, mirrored)
