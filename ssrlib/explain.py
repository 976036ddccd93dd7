"""Why: which pixels moved an answer, and what each stage of the formula added to it.

Maps say what a network reacts to. They do not say what causes age, nor how a person would judge it.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ssrlib import FACE_SIZE
from ssrlib.inference import BATCH, evaluating, predict
from ssrlib.network import SSRNet, soft_stagewise_regression


def occlusion(
    network: nn.Module,
    faces: np.ndarray,
    patch: int = 12,
    stride: int = 4,
    color: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Return how far a network's answer moves when a square of each face is covered.

    The square gets the face's own mean color: a fixed gray would be a strange sight for a network
    that knows faces. Average the maps over many aligned faces; the map of one face is noisy.

    Args:
        network: N faces in, N values out.
        faces: uint8, N x 64 x 64 x 3, RGB, 0 to 255.
        patch: the covered square's side, in pixels.
        stride: from one square to the next, in pixels.
        color: another color for the square, 0 to 255: a gray level, or red, green and blue.

    Returns:
        N x s x s, the change (years, for an age network) for each of the s x s squares: above 0 where
        the answer rises when the square is gone.

    Reference: M. D. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014.

    >>> from ssrlib.network import SSRNet
    >>> occlusion(SSRNet(), np.zeros((2, 64, 64, 3), np.uint8), patch=16, stride=16).shape
    (2, 4, 4)
    """
    corners = range(0, FACE_SIZE - patch + 1, stride)
    before = predict(network, faces)
    colors = faces.mean(axis=(1, 2), keepdims=True) if color is None else color
    change = np.empty((len(faces), len(corners), len(corners)), np.float32)
    for i, top in enumerate(corners):
        for j, left in enumerate(corners):
            covered = faces.copy()
            covered[:, top : top + patch, left : left + patch] = colors
            change[:, i, j] = predict(network, covered) - before
    return change


def gradient(network: nn.Module, faces: np.ndarray) -> np.ndarray:
    """Return how strongly the answer reacts to each pixel: the gradient's size, over the three colors.

    Returns:
        N x 64 x 64, 0 or more: by how much the answer changes for each step of 1 (of 255) in the
        pixel's most telling color. Average over many faces.

    Reference: K. Simonyan, A. Vedaldi, A. Zisserman, "Deep Inside Convolutional Networks", 2014.

    >>> from ssrlib.network import SSRNet
    >>> gradient(SSRNet(), np.zeros((2, 64, 64, 3), np.uint8)).shape
    (2, 64, 64)
    """
    maps = [np.zeros((0, FACE_SIZE, FACE_SIZE), np.float32)]
    for batch in _batches(network, faces):
        pixels = batch.float().requires_grad_()
        (slope,) = torch.autograd.grad(network(pixels).sum(), pixels)
        maps.append(torch.linalg.vector_norm(slope, dim=1).cpu().numpy())
    return np.concatenate(maps)


def stage_terms(network: SSRNet, faces: np.ndarray) -> np.ndarray:
    """Return what each stage adds to the answer: the K terms of the formula, N x K; each row sums to it.

    Stage k's term contains the widths of the stages before it, so a stage acts on later terms, too.

    >>> from ssrlib.network import SSRNet
    >>> network, faces = SSRNet(), np.zeros((2, 64, 64, 3), np.uint8)
    >>> bool(np.allclose(stage_terms(network, faces).sum(axis=1), predict(network, faces), atol=1e-4))
    True
    """
    settings = network.settings
    terms = [np.zeros((0, len(settings["bins"])), np.float32)]
    with torch.inference_mode():
        for batch in _batches(network, faces):
            _, stages = network(batch, return_stages=True)
            p, eta, delta = zip(*stages, strict=True)
            up_to = [
                soft_stagewise_regression(
                    p[:k],
                    eta[:k],
                    delta[:k],
                    settings["value_range"],
                    settings["lambda_eta"],
                    settings["lambda_delta"],
                )
                for k in range(1, len(p) + 1)
            ]
            sums = torch.stack([torch.zeros_like(up_to[0]), *up_to], dim=1)
            terms.append(sums.diff(dim=1).cpu().numpy())
    return np.concatenate(terms)


def _batches(network: nn.Module, faces: np.ndarray) -> Iterator[torch.Tensor]:
    """Faces as the network wants them, on its device; the network is in inference mode meanwhile."""
    device = next(network.parameters()).device
    with evaluating(network):
        for start in range(0, len(faces), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(faces[start : start + BATCH]))
            yield batch.permute(0, 3, 1, 2).to(device)
