"""The two networks that find faces, and how they learn.

The first looks at a picture once, with the same small filters everywhere, and says for each cell of 8 x 8
pixels whether a face's center is near, and where the face's five points then are. It knows small faces
only, 16 to 56 pixels wide; larger ones are found in smaller copies of the picture (`ssrlib.detectors`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from ssrlib.detectors import FINDER, NETWORKS, NUDGE, PATCH, PATCH_FACE, REACH, STRIDE, UPRIGHT
from ssrlib.files import atomic_write
from ssrlib.landmarks import similarity, square, warp
from ssrlib.scenes import Portrait, Portraits, Scene, mirrored, paste
from ssrlib.weights import check_tensors

# Sides of faces, in pixels: those to find, and how far beyond nobody asks. Others are not faces at this size.
SIDES, DOUBTFUL = (16.0, 56.0), (12.0, 80.0)
# A face counts as long as so many of its five points are in sight.
SEEN = 3
TILE = 128


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


def draw_scene(
    rng: np.random.Generator,
    portraits: Portraits,
    pictures: Sequence[np.ndarray],
    size: int = TILE,
    wide: float = 0.15,
) -> Scene:
    """Draw one picture to learn from: a background, up to six faces in it, and what spoils photos.

    A photo that stands on its head is pasted as well now and then, and is no face.

    Args:
        rng: where all chance comes from.
        portraits: what is pasted; there may be none.
        pictures: backgrounds without a face, uint8, height x width x 3.
        size: height and width of the scene.
        wide: the share of faces that are wider than 56 pixels.
    """
    scene, everywhere = background(rng, pictures, size), np.ones((size, size), bool)
    faces: list[tuple[np.ndarray, bool, np.ndarray]] = []  # points, whether exact, which are in sight
    count = rng.choice([0, 1, 3, 4, 6], p=[0.15, 0.2, 0.25, 0.25, 0.15]) if len(portraits) else 0
    for _ in range(count):
        portrait = portraits[int(rng.integers(len(portraits)))]
        portrait = mirrored(portrait) if rng.random() < 0.5 else portrait
        low, high = SIDES if rng.random() > wide else (SIDES[1], 4 * DOUBTFUL[1])
        side = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        roll = float(rng.uniform(-60, 60) if rng.random() < 0.6 else rng.normal(0, 12))
        center = rng.uniform(0.02 * size, 0.98 * size, 2).tolist()
        on_its_head = rng.random() < 0.05
        put = paste if portrait.exact else _paste_oval
        points, covered = put(scene, portrait, center, side, roll + 180 * on_its_head)
        faces = [(other, exact, seen & ~_covers(covered, other)) for other, exact, seen in faces]
        faces = [face for face in faces if face[2].any()]
        if on_its_head:
            continue
        if rng.random() < 0.1:
            _cover(scene, points, background(rng, pictures, size))
            continue
        faces.append((points, portrait.exact, _covers(everywhere, points)))
        if rng.random() < 0.15:
            _occlude(rng, scene, points, pictures)
    return Scene(
        spoil(rng, scene),
        np.reshape([points for points, _, _ in faces], (-1, 5, 2)),
        np.array([exact for _, exact, _ in faces], bool),
        np.array([seen.sum() < SEEN for _, _, seen in faces], bool),
    )


def background(rng: np.random.Generator, pictures: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Return a part of a picture at some scale and turn, or a pattern: uint8, size x size x 3."""
    kind = rng.random()
    if kind < 0.1:
        return np.full((size, size, 3), rng.integers(0, 256, 3), np.uint8)
    if kind < 0.25:
        grain = int(2 ** rng.uniform(1, 7))
        noise = rng.integers(0, 256, (max(2, size // grain), max(2, size // grain), 3)).astype(np.uint8)
        smooth = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
        return cv2.resize(noise, (size, size), interpolation=smooth)
    if kind < 0.33:
        return _stones(rng, size)
    picture = pictures[int(rng.integers(len(pictures)))]
    height, width = picture.shape[:2]
    smallest = max(0.15, size / max(height, width) / 1.5)
    scale = float(np.exp(rng.uniform(np.log(smallest), np.log(max(1.5, 2 * smallest)))))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-90, 90)), scale)
    middle = rng.uniform(0, 1, 2) * [width, height]
    matrix[:, 2] = size / 2 - matrix[:, :2] @ middle
    if scale < 0.5:
        small = cv2.resize(picture, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        matrix = matrix * [[width / small.shape[1], height / small.shape[0], 1]]
        picture = small
    border = cv2.BORDER_REFLECT if rng.random() < 0.7 else cv2.BORDER_CONSTANT
    turned = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.ascontiguousarray(turned)


def _stones(rng: np.random.Generator, size: int) -> np.ndarray:
    """Round things that lie on each other, each darker at its rim: gravel, fruit, crowds seen from afar."""
    typical = float(2 ** rng.uniform(3, 5.5))
    shade, color = rng.uniform(40, 210), rng.uniform(0.8, 1.2, 3)
    picture = np.full((size, size, 3), 0.3 * shade * color, np.float32)
    for _ in range(int(4 * (size / typical) ** 2)):
        x, y = rng.uniform(0, size, 2).tolist()
        long, broad = (typical * rng.uniform(0.4, 1.4, 2)).tolist()
        tone, angle = (shade + rng.normal(0, 0.3 * shade)) * color, float(rng.uniform(0, 180))
        cv2.ellipse(picture, ((x, y), (long, broad), angle), (0.6 * tone).tolist(), -1)
        light = (x - 0.06 * typical, y - 0.06 * typical)
        cv2.ellipse(picture, (light, (0.75 * long, 0.75 * broad), angle), tone.tolist(), -1)
    soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, typical / 10)))
    return np.clip(soft, 0, 255).astype(np.uint8)


def spoil(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Return a picture as a poor camera has it: darker, greyer, blurred, noisy, compressed; or as it is."""
    picture = picture.astype(np.float32)
    if rng.random() < 0.7:
        gamma, gain = np.exp(rng.normal(0, 0.25)), np.exp(rng.uniform(-1.0, 0.25))
        picture = 255 * gain * (picture / 255) ** gamma + rng.normal(0, 12)
    if rng.random() < 0.15:
        picture = picture * rng.uniform(0.08, 0.4)
    if rng.random() < 0.3:
        picture = picture * rng.uniform(0.75, 1.25, 3).astype(np.float32)
    if rng.random() < 0.12:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, -1)
    if rng.random() < 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.8)))
    if rng.random() < 0.35:
        picture = picture + rng.normal(0, rng.uniform(1, 14), picture.shape)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 95))]
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1]
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB))
    return picture


def _covers(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points lie where a mask is true; outside it, none do."""
    x, y = np.floor(points + 0.5).astype(int).T
    inside = (x >= 0) & (y >= 0) & (y < mask.shape[0]) & (x < mask.shape[1])
    covered = np.zeros(len(points), bool)
    covered[inside] = mask[y[inside], x[inside]]
    return covered


def _paste_oval(
    scene: np.ndarray, portrait: Portrait, center: Sequence[float], side: float, roll: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a photo that ends at the face with a soft oval edge, for its own is as good as a label."""
    layer = scene.copy()
    points, covered = paste(layer, portrait, center, side, roll)
    oval = np.zeros(scene.shape[:2], np.float32)
    axes = (side, 1.16 * side)
    cv2.ellipse(oval, (tuple(center), axes, roll), 1.0, -1)
    oval = cv2.GaussianBlur(oval * covered, (0, 0), max(0.5, side / 25))[..., None]
    scene[:] = (scene + (layer.astype(np.float32) - scene) * oval).astype(np.uint8)
    return points, oval[..., 0] > 0.5


def _cover(scene: np.ndarray, points: np.ndarray, other: np.ndarray) -> None:
    """Put something else where a face was: what is around a face is not one."""
    (x, y), side, roll = square(points)
    oval = np.zeros(scene.shape[:2], np.uint8)
    cv2.ellipse(oval, ((float(x), float(y)), (1.1 * float(side), 1.3 * float(side)), float(roll)), 255, -1)
    scene[oval > 0] = other[oval > 0]


def _occlude(
    rng: np.random.Generator, scene: np.ndarray, points: np.ndarray, pictures: Sequence[np.ndarray]
) -> None:
    """Cover a part of a face, at a side, above or below, with a piece of another picture."""
    (x, y), side, _ = square(points)
    size = scene.shape[0]
    reach = side * rng.uniform(0.18, 0.42)
    where = rng.integers(4)
    left, top, right, bottom = x - side / 2, y - side / 2, x + side / 2, y + side / 2
    if where == 0:
        bottom = top + reach
    elif where == 1:
        top = bottom - reach
    elif where == 2:
        right = left + reach
    else:
        left = right - reach
    a, b, c, d = (int(np.clip(value, 0, size)) for value in (left, top, right, bottom))
    if c > a and d > b:
        scene[b:d, a:c] = background(rng, pictures, size)[b:d, a:c]


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
            *_conv(32, 48, 1),
            nn.ReLU(),
            Block(48, 5),
            Block(48, 5),
            *_conv(48, 48, 3, stride=2, groups=48),
            nn.ReLU(),
            *_conv(48, 64, 1),
            nn.ReLU(),
            Block(64, 3),
            nn.Flatten(),
            nn.Linear(64 * (PATCH // 16) ** 2, 24),
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
    79926
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
    """The points of a face as a careless finder sees them: moved, scaled, turned as a whole."""
    center, side, _ = square(points)
    turn = np.radians(rng.normal(0, 8))
    scale = float(np.exp(rng.normal(0, 0.12)))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved: np.ndarray = (points - center) @ matrix.T + center + rng.normal(0, 0.06 * side, 2)
    return moved
