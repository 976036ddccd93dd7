"""What are the two streams worth? Other networks of their size, and one of millions, under the same head.

    python -m tools.experiments.trunks --epochs 24 --batch-size 128 --jobs 15

trains them on UTKFace, in minutes on a large GPU; see race.py for how. Then, once, when nothing is left to
choose: the same with --test. Writes book/results/trunks.json.

All end alike: the last map's mean, or what is left of it, then a distribution over the ages, trained and
read as "label distribution (DLDL)" of `ssrlib.heads`. The large one also teaches networks of SSR-Net's size
(tools/weights/teach.py).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ssrlib import Recipe
from ssrlib.heads import CLASSES, contestant, distribution_loss, expected_value
from ssrlib.network import FaceNetwork, initialize
from ssrlib.recipe import Loss
from ssrlib.targets import AGE, TARGETS, target_named
from tools.experiments import race

TWO_STREAMS = "two streams (SSR-Net)"


def convolution(channels: int, out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the map's size, or halves it, and batch norm."""
    layer = nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out))


class Residual(nn.Module):
    """Layers whose result is added to their input, and a ReLU, if asked (He, 2016; Sandler, 2018)."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module, last: nn.Module, stride: int = 1):
        super().__init__()
        self.layers, self.shortcut, self.last, self.stride = layers, shortcut, last, stride

    def forward(self, x: Tensor) -> Tensor:
        # A 1 x 1 convolution with a stride would do the same; PyTorch 2.13's crashes for some sizes on CPUs.
        around = self.shortcut(x[:, :, :: self.stride, :: self.stride])
        total: Tensor = self.last(self.layers(x) + around)
        return total


def basic(channels: int, out: int, stride: int) -> nn.Module:
    """Two convolutions, and a way around them (ResNet: He, 2016)."""
    same = channels == out and stride == 1
    layers = nn.Sequential(convolution(channels, out, stride=stride), nn.ReLU(), convolution(out, out))
    shortcut = nn.Identity() if same else convolution(channels, out, 1)
    return Residual(layers, shortcut, nn.ReLU(), stride)


def separable(channels: int, out: int, stride: int) -> nn.Module:
    """Wider channels, a convolution of each by itself, and narrow ones again (MobileNetV2: Sandler, 2018)."""
    wide = 3 * channels
    layers = nn.Sequential(
        *(convolution(channels, wide, 1), nn.ReLU6()),
        *(convolution(wide, wide, stride=stride, groups=wide), nn.ReLU6()),
        convolution(wide, out, 1),
    )
    return Residual(layers, nn.Identity(), nn.Identity()) if channels == out and stride == 1 else layers


def blocks(
    block: Callable[[int, int, int], nn.Module], stem: int, widths: Sequence[int], each: int
) -> tuple[nn.Module, int]:
    """A stem, and for each width some blocks of which the first halves the map; then the map's mean."""
    layers, channels = [convolution(3, stem), nn.ReLU()], stem
    for width in widths:
        for number in range(each):
            layers.append(block(channels, width, 1 if number else 2))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


def plain() -> tuple[nn.Module, int]:
    """Four plain convolutions and what is left of the map, in the manner of C3AE (Zhang, 2019)."""
    layers: list[nn.Module] = []
    for channels in (3, 32, 32, 32):
        layers += [nn.Conv2d(channels, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*layers[:-1], nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Flatten()), 512


TRUNKS: dict[str, tuple[Callable[[], tuple[nn.Module, int]], int]] = {
    "residual": (partial(blocks, basic, 12, (12, 22, 46), 1), 6),
    "depthwise separable": (partial(blocks, separable, 16, (14, 20, 28, 44), 2), 6),
    "plain convolutions (C3AE)": (plain, 17),
    "large residual": (partial(blocks, basic, 32, (64, 128, 256), 2), 64),
}
"""By name: what builds the layers and says how many features they give, and how many hidden values follow."""


class Trunk(FaceNetwork):
    """One of `TRUNKS`. For age it returns 101 logits in training, N ages in inference; for gender N values.

    Raises:
        ValueError: there is no such trunk, or the target is a number other than an age.

    >>> network = Trunk("large residual")
    >>> sum(parameter.numel() for parameter in network.parameters())
    2780933
    >>> network(torch.zeros(2, 3, 64, 64)).shape, network.eval()(torch.zeros(2, 3, 64, 64)).shape
    (torch.Size([2, 101]), torch.Size([2]))
    """

    def __init__(self, name: str, target: str = AGE.name):
        if name not in TRUNKS:
            raise ValueError(f"there is no trunk {name!r}; there are: {', '.join(TRUNKS)}")
        if not target_named(target).classes and target != AGE.name:
            raise ValueError(f"a trunk's classes are years of age: it cannot read {target}")
        super().__init__({"target": target, "trunk": name})
        build, hidden = TRUNKS[name]
        self.body, features = build()
        outputs = 1 if TARGETS[target].classes else CLASSES
        self.head = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, outputs))
        self.apply(initialize)

    def forward(self, faces: Tensor) -> Tensor:
        """Return what the loss reads in training, N values in inference.

        Raises:
            ValueError: the shape or the type of `faces` breaks the contract of `SSRNet`.
        """
        features = self.body(self.normalized(faces))
        with torch.autocast(features.device.type, enabled=False):
            outputs: Tensor = self.head(features.float())
            if outputs.shape[1] == 1:
                return outputs[:, 0] + 0.5
            return outputs if self.training else expected_value(outputs)


def loss_of(network: FaceNetwork) -> Loss | None:
    """Return the loss that a trunk is trained with; for gender it is the recipe's."""
    return None if TARGETS[network.settings["target"]].classes else distribution_loss


def build(name: str, recipe: Recipe) -> tuple[FaceNetwork, Recipe, Loss | None]:
    """One of the trunks, its recipe, and its loss."""
    if name == TWO_STREAMS:
        return contestant("label distribution (DLDL)", recipe)
    torch.manual_seed(recipe.seed)
    network = Trunk(name)
    return network, recipe, loss_of(network)


ALL = race.Race([TWO_STREAMS, *TRUNKS], build, rival=TWO_STREAMS)

if __name__ == "__main__":
    race.run(ALL, "trunks", __doc__)
