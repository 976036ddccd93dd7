"""The two networks that find faces, and how they learn.

The first looks at a picture once, with the same small filters everywhere, and says for each cell of 8 x 8
pixels whether a face's center is near, and where the face's five points then are. It knows small faces
only, 16 to 56 pixels wide; larger ones are found in smaller copies of the picture (`ssrlib.detectors`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from ssrlib.detectors import FINDER, NETWORKS, NUDGE, PATCH, PATCH_FACE, REACH, STRIDE, UPRIGHT
from ssrlib.files import atomic_write
from ssrlib.landmarks import similarity, square, warp
from ssrlib.scenes import DOUBTFUL, SIDES, Scene
from ssrlib.weights import check_tensors


def _conv(before: int, after: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after)]


class Block(nn.Module):
    """Look around in each channel, then mix the channels, and add that to what came in."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        look = [*_conv(channels, channels, size, groups=channels), nn.ReLU()]
        self.change = nn.Sequential(*look, *_conv(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.change(x))


class Finder(nn.Module):
    """Find faces of 16 to 56 pixels in a picture of any size.

    Depthwise separable convolutions (Howard et al. 2017, as in BlazeFace, Bazarevsky et al. 2019), one
    heat map of centers (as in CenterNet, Zhou et al. 2019) and five points a field.

    >>> Finder().eval()(torch.zeros(1, 3, 96, 128)).shape
    torch.Size([1, 11, 12, 16])
    """

    net: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        last = nn.Conv2d(64, 11, 1)
        assert last.bias is not None
        # Faces are rare: before anything is learned, each field is one with a chance of 1 %.
        nn.init.constant_(last.bias[:1], -4.6)
        self.net = nn.Sequential(
            *_conv(3, 16, 3, stride=2),
            nn.ReLU(),
            *_conv(16, 16, 3, stride=2, groups=16),
            nn.ReLU(),
            *_conv(16, 24, 1),
            nn.ReLU(),
            Block(24, 3),
            *_conv(24, 24, 3, stride=2, groups=24),
            nn.ReLU(),
            *_conv(24, 64, 1),
            nn.ReLU(),
            *[Block(64, 5) for _ in range(5)],
            last,
        )

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Look at pictures.

        Args:
            picture: N x 3 x height x width, RGB, 0 to 255.

        Returns:
            N x 11 x height/8 x width/8, rounded up: the logit of a face's center, then x and y of the
            eyes, the nose and the mouth's corners from the field's center, in `REACH`.
        """
        answer: torch.Tensor = self.net(picture.float() / 127.5 - 1)
        return answer


class Refiner(nn.Module):
    """Look once more at what the finder saw: is it a face, and where exactly are its points?

    It sees a square of 64 x 64 pixels in which a face would be upright and 40 pixels wide.

    >>> Refiner().eval()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 11])
    """

    net: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *_conv(3, 16, 3, stride=2),
            nn.ReLU(),
            *_conv(16, 16, 3, stride=2, groups=16),
            nn.ReLU(),
            *_conv(16, 32, 1),
            nn.ReLU(),
            Block(32, 3),
            *_conv(32, 32, 3, stride=2, groups=32),
            nn.ReLU(),
            *_conv(32, 64, 1),
            nn.ReLU(),
            *[Block(64, 5) for _ in range(3)],
            *_conv(64, 64, 3, stride=2, groups=64),
            nn.ReLU(),
            *_conv(64, 72, 1),
            nn.ReLU(),
            Block(72, 3),
            nn.Flatten(),
            nn.Linear(72 * (PATCH // 16) ** 2, 24),
            nn.ReLU(),
            nn.Linear(24, 11),
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Look at N patches (N x 3 x 64 x 64, RGB, 0 to 255).

        Returns:
            N x 11: the logit of a face, then how far its points are from `UPRIGHT`, x and y, in `NUDGE`.
        """
        answer: torch.Tensor = self.net(patches.float() / 127.5 - 1)
        return answer


def fields(height: int, width: int) -> np.ndarray:
    """Return the centers of the fields of a map: height x width x 2, x and y in the picture's pixels."""
    y, x = np.mgrid[:height, :width] * STRIDE + (STRIDE - 1) / 2
    return np.stack([x, y], -1)


def targets(scene: Scene) -> np.ndarray:
    """Say what the network should answer to a scene.

    Returns:
        13 x height/8 x width/8, float32: whether a face's center is near (1, 0, or -1 where either would do);
        ten numbers as the network's; the face's side in pixels; and whether its points are exact.
    """
    height, width = (-(-length // STRIDE) for length in scene.picture.shape[:2])
    answer = np.zeros((13, height, width), np.float32)
    answer[11] = 1
    at = fields(height, width)
    centers, sides, _ = square(scene.points)
    nearest = np.full((height, width), np.inf)
    for points, center, side, exact, hidden in zip(
        scene.points, centers, sides, scene.exact, scene.hidden, strict=True
    ):
        if not DOUBTFUL[0] < side < DOUBTFUL[1]:
            continue
        far = np.linalg.norm(at - center, axis=-1) / side
        mine = (far < 0.45) & (far < nearest)
        nearest[mine] = far[mine]
        is_center = (far < 0.18) | ((far == far.min()) & (far < 0.3))
        asked = SIDES[0] <= side <= SIDES[1] and not hidden
        answer[0][mine] = -1.0
        if asked:
            answer[0][mine & is_center] = 1.0
        shift = (points - at[..., None, :]).reshape(height, width, 10).transpose(2, 0, 1) / REACH
        answer[1:11, mine], answer[11, mine], answer[12, mine] = shift[:, mine], side, exact
    return answer


def loss(answer: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two losses of a batch: of the centers (focal, Lin et al. 2017), and of the points.

    The points' loss is in pixels of the 64 x 64 template: an error counts the same for every size.

    Args:
        answer: N x 11 x h x w, from `Finder`.
        wanted: N x 13 x h x w, from `targets`.
    """
    logit, truth = answer[:, 0], wanted[:, 0]
    p = torch.sigmoid(logit)
    near, count = truth == 1, (truth == 1).sum().clamp(min=1)
    hits = F.softplus(-logit) * (1 - p) ** 2
    misses = F.softplus(logit) * p**2
    centers = (hits[near].sum() + misses[truth == 0].sum()) / count
    exact = near & (wanted[:, 12] > 0)
    scale = (64 * REACH / wanted[:, 11])[:, None].expand(-1, 10, -1, -1)
    away = (answer[:, 1:] - wanted[:, 1:11]) * scale
    chosen = exact[:, None].expand(-1, 10, -1, -1)
    points = F.smooth_l1_loss(away[chosen], torch.zeros_like(away[chosen]), reduction="sum")
    return centers, points / (10 * exact.sum().clamp(min=1))


def refiner_loss(answer: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two losses of a batch: whether it is a face (cross entropy), and of the points.

    Args:
        answer: N x 11, from `Refiner`.
        wanted: N x 12: 1 for a face; its points as the network tells them; and 1 if those are exact.
    """
    faces = F.binary_cross_entropy_with_logits(answer[:, 0], wanted[:, 0])
    exact = wanted[:, 11] > 0
    away = (answer[exact, 1:] - wanted[exact, 1:11]) * NUDGE * 64 / PATCH_FACE
    return faces, F.smooth_l1_loss(away, torch.zeros_like(away), reduction="sum") / (
        10 * exact.sum().clamp(min=1)
    )


def draw_patches(rng: np.random.Generator, scene: Scene, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut out of a scene what the finder saw there, and its faces a little beside their places.

    Args:
        scene: from `draw_scene`.
        seen: n x 5 x 2, the points of what the finder saw.

    Returns:
        Patches (uint8, N x 64 x 64 x 3), and what to answer to each (float32, N x 12).
    """
    centers, sides, _ = square(scene.points)
    guesses = list(seen)
    asked = [number for number, side in enumerate(sides) if side >= SIDES[0] and not scene.hidden[number]]
    guesses += [_beside(rng, scene.points[number]) for number in asked]
    patches, wanted = [], []
    for five in guesses:
        center, side, _ = square(five)
        if side < 6:
            continue
        far = np.linalg.norm(centers - center, axis=-1) / sides
        nearest = int(far.argmin()) if len(far) else -1
        is_face = nearest in asked and far[nearest] < 0.35 and 0.6 < side / sides[nearest] < 1.6
        if not is_face and len(far) and (far < 0.8).any():
            continue
        matrix = similarity(five, UPRIGHT)
        answer = np.zeros(12, np.float32)
        if is_face:
            moved = scene.points[nearest] @ matrix[:, :2].T + matrix[:, 2]
            answer[0], answer[11] = 1, scene.exact[nearest]
            answer[1:11] = ((moved - UPRIGHT) / NUDGE).ravel()
        patches.append(warp(scene.picture, matrix, PATCH))
        wanted.append(answer)
    return np.reshape(np.array(patches, np.uint8), (-1, PATCH, PATCH, 3)), np.array(
        wanted, np.float32
    ).reshape(-1, 12)


def _beside(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """The points of a face as a finder sees them, careless or exact: moved, scaled, turned as a whole."""
    center, side, _ = square(points)
    careless = rng.uniform(0.1, 1)
    turn = np.radians(rng.normal(0, 12 * careless))
    scale = float(np.exp(rng.normal(0, 0.18 * careless)))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved: np.ndarray = (points - center) @ matrix.T + center + rng.normal(0, 0.09 * careless * side, 2)
    return moved


def save(finder: Finder, refiner: Refiner, card: dict[str, Any], path: str | Path) -> None:
    """Write both networks to one safetensors file, with a card that says what they were trained on."""
    networks = {"finder": finder, "refiner": refiner}
    tensors = {
        f"{name}.{key}": value.contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    with atomic_write(path) as partial:
        save_file(tensors, partial, {"card": json.dumps(card)})


def load(path: str | Path = FINDER / "finder.safetensors") -> tuple[Finder, Refiner]:
    """Read both networks, ready for inference, from a file that `save` wrote; by default the built-in ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or another one.

    >>> finder, refiner = load()
    >>> sum(values.numel() for network in (finder, refiner) for values in network.parameters())
    96926
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    networks = Finder(), Refiner()
    try:
        tensors = load_file(path)
        for name, network in zip(NETWORKS, networks, strict=True):
            own = {
                key.removeprefix(f"{name}."): tensors[key] for key in tensors if key.startswith(f"{name}.")
            }
            check_tensors(own, network.state_dict())
            network.load_state_dict(own)
            network.eval()
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: damaged, or not the weights of a finder ({error})") from error
    return networks
