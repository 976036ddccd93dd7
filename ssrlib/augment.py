"""Random changes to a batch of faces that keep their age and gender, made on the batch's device."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ssrlib import FACE_SIZE

MILD: dict[str, float] = {"rotation": 10.0, "shift": 0.05, "zoom": 0.1, "shear": 0.05, "light": 0.15}
"""Every face is changed, a little; what we train with."""

PAPER: dict[str, float] = {"rotation": 20.0, "shift": 0.2, "zoom": 0.2, "shear": 0.2, "chance": 0.25}
"""Each change happens to a quarter of the faces, and is large: the authors' code."""

STRONG: dict[str, float] = {"rotation": 25.0, "shift": 0.1, "zoom": 0.2, "shear": 0.1, "light": 0.5}
STRONG |= {"blur": 1.0, "noise": 25.0, "cover": 0.5, "chance": 0.5}
"""Each change happens to half of the faces: for photos that are blurred, dark, grainy or partly hidden."""

VARIED: dict[str, float] = {"rotation": 20.0, "shift": 0.1, "zoom": 0.15, "shear": 0.1, "light": 0.4}
VARIED |= {"blur": 1.0, "noise": 30.0, "cover": 0.4, "chance": 0.3}
"""The same happens to fewer faces, so that a third of them stay sharp and clean."""

# Of the widest blur: a Gaussian curve of two pixels.
BLUR = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / 8)


class Changes(NamedTuple):
    """Random changes of N faces; each is N x 1 x 1 x 1, but for the matrix and the box.

    The matrix, 2 x 3 for each face, leads from a new pixel's place to the old one's; both run from -1 to 1.
    Contrast and brightness are factors. Blur is the share of the blurred face in the changed one, noise the
    standard deviation of what is added, in gray levels. The box (N x 4: middle and half of its size, x and y,
    in pixels) is covered by the face's mean color.
    """

    matrix: Tensor
    contrast: Tensor
    brightness: Tensor
    blur: Tensor
    noise: Tensor
    box: Tensor


def augment(faces: Tensor, generator: torch.Generator, **limits: float) -> Tensor:
    """Flip half of the faces, and turn, shift, zoom, shear and light them at random.

    Args:
        faces: N x 3 x 64 x 64, 0 to 255, uint8 or float.
        generator: where the random numbers come from; on the CPU.
        limits: see `draw_changes`.

    Returns:
        N x 3 x 64 x 64, float, 0 to 255. What moves in from outside repeats the border.

    >>> faces = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    >>> augment(faces, torch.Generator().manual_seed(0), **MILD).shape
    torch.Size([2, 3, 64, 64])
    """
    return change(faces, draw_changes(len(faces), generator, **limits))


def draw_changes(
    n: int,
    generator: torch.Generator,
    rotation: float = 0.0,
    shift: float = 0.0,
    zoom: float = 0.0,
    shear: float = 0.0,
    light: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
    cover: float = 0.0,
    chance: float = 1.0,
) -> Changes:
    """Draw the random changes of N faces.

    Args:
        n: the number of faces.
        generator: where the random numbers come from; on the CPU.
        rotation: the largest turn either way, in degrees.
        shift: the largest shift either way, as a share of the face's side.
        zoom: the largest relative change of size either way.
        shear: the largest shear either way.
        light: the largest relative change of brightness and of contrast either way.
        blur: the largest share of a face blurred by two pixels in the changed one.
        noise: the largest standard deviation of noise, in gray levels; its grains come from PyTorch's own
            generator of the faces' device.
        cover: the largest side of a covered box, as a share of the face's.
        chance: how likely each of these changes happens to a face.
    """

    def uniform(limit: float) -> Tensor:
        happens = torch.rand(n, generator=generator) < chance
        return (torch.rand(n, generator=generator) * 2 - 1) * limit * happens

    angle, scale, slant = torch.deg2rad(uniform(rotation)), 1 + uniform(zoom), uniform(shear)
    mirror = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    matrix = torch.stack(
        [
            mirror * cos,
            mirror * (slant * cos - sin),
            2 * uniform(shift),
            sin,
            slant * sin + cos,
            2 * uniform(shift),
        ],
        dim=1,
    ).reshape(n, 2, 3)
    contrast, brightness = (1 + uniform(light).reshape(n, 1, 1, 1) for _ in range(2))
    box = torch.zeros(n, 4)
    if cover:
        side = uniform(cover).abs()
        box[:, :2] = torch.rand(n, 2, generator=generator) * FACE_SIZE
        box[:, 2:] = (side * FACE_SIZE / 2)[:, None]
    softened, grain = ((uniform(limit) if limit else torch.zeros(n)).abs() for limit in (blur, noise))
    return Changes(matrix, contrast, brightness, softened.reshape(n, 1, 1, 1), grain.reshape(n, 1, 1, 1), box)


def change(faces: Tensor, changes: Changes) -> Tensor:
    """Return N x 3 x 64 x 64 faces, changed, as float from 0 to 255, on their device.

    >>> faces = torch.zeros(2, 3, 64, 64)
    >>> change(faces, draw_changes(2, torch.Generator())).equal(faces)
    True
    """
    matrix, contrast, brightness = (sent(part, faces.device) for part in changes[:3])
    faces = faces.float()
    grid = F.affine_grid(matrix, list(faces.shape), align_corners=False)
    moved = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    # The rest is sent only if it happens. That is asked of numbers on the CPU: nobody waits for a GPU.
    if changes.blur.any():
        moved = moved + sent(changes.blur, faces.device) * (blurred(moved) - moved)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    lit = ((moved - mean) * contrast + mean) * brightness
    if changes.box.any():
        box = sent(changes.box, faces.device)
        place = torch.arange(FACE_SIZE, device=faces.device) + 0.5
        inside = (place - box[:, :2, None]).abs() <= box[:, 2:, None]
        hidden = inside[:, None, 1, :, None] & inside[:, None, 0, None, :]
        lit = torch.where(hidden, lit.mean(dim=(2, 3), keepdim=True), lit)
    if changes.noise.any():
        lit = lit + sent(changes.noise, faces.device) * torch.randn_like(lit)
    return lit.clamp(0, 255)


def blurred(faces: Tensor) -> Tensor:
    """Return N x 3 x 64 x 64 faces, blurred by a Gaussian curve of two pixels.

    >>> dot = torch.zeros(1, 3, 64, 64)
    >>> dot[:, :, 32, 32] = 255
    >>> blurred(dot)[0, 0, 32, 32].round()
    tensor(10.)
    """
    curve = (BLUR / BLUR.sum()).to(faces.device).expand(3, 1, 1, -1)
    for kernel, pad in ((curve, (5, 5, 0, 0)), (curve.transpose(2, 3), (0, 0, 5, 5))):
        faces = F.conv2d(F.pad(faces, pad, mode="replicate"), kernel, groups=3)
    return faces


def sent(numbers: Tensor, device: torch.device) -> Tensor:
    """Return a CPU's tensor on a device; nobody waits for a GPU to have it: its work comes after in any case.

    >>> sent(torch.ones(2), torch.device("cpu"))
    tensor([1., 1.])
    """
    if device.type != "cuda":  # on Apple's GPUs such a copy could read memory that is free again
        return numbers.to(device)
    # From memory that the system may move, the copy itself could wait for all that is in line.
    return numbers.contiguous().pin_memory().to(device, non_blocking=True)
