"""Random changes to a batch of faces that keep their age and gender, made on the batch's device."""

import torch
import torch.nn.functional as F
from torch import Tensor

MILD = {"rotation": 10.0, "shift": 0.05, "zoom": 0.1, "shear": 0.05, "light": 0.15}
"""Every face is changed, a little; what we train with."""

PAPER = {"rotation": 20.0, "shift": 0.2, "zoom": 0.2, "shear": 0.2, "chance": 0.25}
"""Each change happens to a quarter of the faces, and is large: the authors' code."""


def augment(
    faces: Tensor,
    generator: torch.Generator,
    rotation: float = 0.0,
    shift: float = 0.0,
    zoom: float = 0.0,
    shear: float = 0.0,
    light: float = 0.0,
    chance: float = 1.0,
) -> Tensor:
    """Flip half of the faces, and turn, shift, zoom, shear and light them at random.

    Args:
        faces: N x 3 x 64 x 64, 0 to 255, uint8 or float.
        generator: where the random numbers come from; on the CPU.
        rotation: the largest turn either way, in degrees.
        shift: the largest shift either way, as a share of the face's side.
        zoom: the largest relative change of size either way.
        shear: the largest shear either way.
        light: the largest relative change of brightness and of contrast either way.
        chance: how likely each of these changes happens to a face.

    Returns:
        N x 3 x 64 x 64, float, 0 to 255. What moves in from outside repeats the border.

    >>> faces = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    >>> augment(faces, torch.Generator().manual_seed(0), **MILD).shape
    torch.Size([2, 3, 64, 64])
    """
    n = len(faces)

    def uniform(limit: float) -> Tensor:
        happens = torch.rand(n, generator=generator) < chance
        return (torch.rand(n, generator=generator) * 2 - 1) * limit * happens

    angle, scale, slant = torch.deg2rad(uniform(rotation)), 1 + uniform(zoom), uniform(shear)
    mirror = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # One 2 x 3 matrix a face, from the new pixel's place to the old one's; both run from -1 to 1.
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
    faces = faces.float()
    grid = F.affine_grid(matrix.to(faces.device), list(faces.shape), align_corners=False)
    moved = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    contrast, brightness = (1 + uniform(light) for _ in range(2))
    contrast, brightness = (v.reshape(n, 1, 1, 1).to(faces.device) for v in (contrast, brightness))
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return (((moved - mean) * contrast + mean) * brightness).clamp(0, 255)
