"""SSR-Net: two small convolutional streams, fused into a soft stagewise regression.

Reference: T.-Y. Yang, Y.-H. Huang, Y.-Y. Lin, P.-C. Hsiu, Y.-Y. Chuang, "SSR-Net: A Compact Soft
Stagewise Regression Network for Age Estimation", IJCAI 2018. Where the paper's figure and the
authors' code differ (the pooling of the deeper blocks), this follows the code, because the
published weights come from it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssrlib import FACE_SIZE


class Stage(NamedTuple):
    """What one stage says about a batch of N faces, with s bins.

    `p` (N x s, 0 or more) weighs the bins, `eta` (N x s, -1 to 1) shifts them, and `delta`
    (N, -1 to 1) scales the width of all bins of this stage.
    """

    p: Tensor
    eta: Tensor
    delta: Tensor


def soft_stagewise_regression(
    p: Sequence[Tensor],
    eta: Sequence[Tensor],
    delta: Sequence[Tensor],
    value_range: float,
    lambda_eta: float = 1.0,
    lambda_delta: float = 1.0,
) -> Tensor:
    """Turn each stage's bin weights, shifts and width scale into one value (paper, eq. 3 to 6).

    With s_k bins in stage k, numbered i = 0 to s_k - 1:

        y = V * sum_k [ sum_i (i + lambda_eta * eta_i) * p_i ] / prod_{j<=k} s_j (1 + lambda_delta * delta_j)

    Args:
        p, eta: one N x s_k tensor per stage. The p of a stage need not sum to 1.
        delta: one tensor of N values per stage.
        value_range: V, in the unit of the result: 101 for years of age, 1 for gender.
        lambda_eta, lambda_delta: how far bins may shift and stretch; 0 switches that off.

    Returns:
        N values in float32, whatever the precision of the input.

    The paper's example: ages 0 to 90 in two stages of three bins. The first stage is sure of its
    second bin (30 to 60 years), the second of its first third (30 to 40 years).

    >>> bin_1, bin_0 = torch.tensor([[0.0, 1, 0]]), torch.tensor([[1.0, 0, 0]])
    >>> still, same = torch.zeros(1, 3), torch.zeros(1)
    >>> soft_stagewise_regression([bin_1, bin_0], [still, still], [same, same], 90.0)
    tensor([30.])
    """
    value = torch.zeros_like(delta[0], dtype=torch.float32)
    width = torch.full_like(value, value_range)
    for weights, shifts, scale in zip(p, eta, delta, strict=True):
        bins = weights.shape[1]
        width = width / (bins * (1 + lambda_delta * scale.float()))
        places = torch.arange(bins, device=weights.device) + lambda_eta * shifts.float()
        value = value + width * (places * weights.float()).sum(dim=1)
    return value


def _stream(channels: int, activations: Sequence[nn.Module], last: nn.Module) -> nn.ModuleList:
    """Four blocks of 3x3 convolution, batch norm, activation and 2x2 pooling; the last has no pooling."""

    def block(in_channels: int, layers: Sequence[nn.Module]) -> nn.Sequential:
        norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        return nn.Sequential(nn.Conv2d(in_channels, channels, 3), norm, *layers)

    return nn.ModuleList(
        [block(3, activations), *(block(channels, layers) for layers in (activations, activations, [last]))]
    )


class Fusion(nn.Module):
    """One stage's head: the two streams' maps in, p, eta and delta out (paper, section 3.3)."""

    def __init__(self, bins: int, pool: int, features: int, dropout: float):
        super().__init__()
        self.stream1 = nn.Sequential(nn.Conv2d(32, 10, 1), nn.ReLU(), nn.AvgPool2d(pool), nn.Flatten())
        self.stream2 = nn.Sequential(nn.Conv2d(16, 10, 1), nn.ReLU(), nn.MaxPool2d(pool), nn.Flatten())
        self.delta = nn.Sequential(nn.Linear(features, 1), nn.Tanh())
        self.mix1 = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, bins), nn.ReLU())
        self.mix2 = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, bins), nn.ReLU())
        self.hidden = nn.Sequential(nn.Linear(bins, 2 * bins), nn.ReLU())
        self.p = nn.Sequential(nn.Linear(2 * bins, bins), nn.ReLU())
        self.eta = nn.Sequential(nn.Linear(2 * bins, bins), nn.Tanh())

    def forward(self, map1: Tensor, map2: Tensor) -> Stage:
        a, b = self.stream1(map1), self.stream2(map2)
        # In half precision tanh rounds to -1 early, and 1 + delta would be 0: the head, which
        # costs next to nothing, stays in float32.
        with torch.autocast(a.device.type, enabled=False):
            a, b = a.float(), b.float()
            hidden = self.hidden(self.mix1(a) * self.mix2(b))
            return Stage(self.p(hidden), self.eta(hidden), self.delta(a * b).squeeze(1))


class FaceNetwork(nn.Module):
    """A network that reads faces: their normalization, and settings; its layers come after.

    `fit` trains it. In inference a face network returns N values; in training, what its loss reads.

    Args:
        settings: what builds the network; "target" names what is read.

    Attributes:
        terms: under which its weights may be used, where they came from a file whose card says so.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        self.settings = settings
        self.terms = ""
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 127.5))
        self.register_buffer("std", torch.full((1, 3, 1, 1), 127.5))

    def normalized(self, faces: Tensor) -> Tensor:
        """Return faces as the first layer wants them.

        Raises:
            ValueError: `faces` is not N x 3 x 64 x 64, RGB, uint8 or float.
        """
        _check(faces)
        return (faces.float() - self.mean) / self.std


class TwoStreams(FaceNetwork):
    """SSR-Net's two streams (paper, section 3.3); what reads them comes after."""

    # torch's types do not say what a ModuleList holds.
    stream1: Any
    stream2: Any

    def __init__(self, settings: dict[str, Any]):
        super().__init__(settings)
        self.stream1 = _stream(32, [nn.ReLU(), nn.AvgPool2d(2)], nn.ReLU())
        # A maximum may be taken before a tanh, which only grows: the same result for a quarter of the work.
        self.stream2 = _stream(16, [nn.MaxPool2d(2), nn.Tanh()], nn.Tanh())

    def maps(self, faces: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the maps of both streams after each of their four blocks.

        Raises:
            ValueError: `faces` is not N x 3 x 64 x 64, RGB, uint8 or float.
        """
        map1 = map2 = self.normalized(faces)
        maps = []
        for block1, block2 in zip(self.stream1, self.stream2, strict=True):
            map1, map2 = block1(map1), block2(map2)
            maps.append((map1, map2))
        return maps


class SSRNet(TwoStreams):
    """The network: N x 3 x 64 x 64 faces in, N values out.

    Args:
        value_range: V, the width of the range of values: 101 for years of age, 1 for gender.
        bins: the number of bins of each stage; one to three stages.
        lambda_eta, lambda_delta: see `soft_stagewise_regression`.
        dropout: the share of features dropped before each stage's bins, in training only.
        target: the name of what is read, which weights files carry along; see `targets`.

    The input is RGB, channels first, 0 to 255, as uint8 or float; `mean` and `std` are buffers,
    so that a set of weights brings its own normalization. The output is not clipped.

    >>> network = SSRNet().eval()
    >>> sum(parameter.numel() for parameter in network.parameters())
    40531
    >>> faces = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    >>> network(faces).shape
    torch.Size([2])
    >>> values, stages = network(faces, return_stages=True)
    >>> stages[0].p.shape, stages[0].delta.shape
    (torch.Size([2, 3]), torch.Size([2]))
    """

    # The block that stage k reads, the pooling of its map, and the values that remain.
    STAGES = ((3, 1, 160), (1, 4, 90), (0, 8, 90))

    fusions: Any

    def __init__(
        self,
        value_range: float = 101.0,
        bins: Sequence[int] = (3, 3, 3),
        lambda_eta: float = 1.0,
        lambda_delta: float = 1.0,
        dropout: float = 0.2,
        target: str = "age",
    ):
        if not 1 <= len(bins) <= 3 or min(bins) < 1:
            raise ValueError(f"bins must be one to three positive counts, one per stage, not {tuple(bins)}")
        settings: dict[str, Any] = {
            "value_range": float(value_range),
            "bins": list(bins),
            "lambda_eta": float(lambda_eta),
            "lambda_delta": float(lambda_delta),
            "dropout": float(dropout),
            "target": target,
        }
        super().__init__(settings)
        self.fusions = nn.ModuleList(
            Fusion(s, pool, features, dropout)
            for s, (_, pool, features) in zip(bins, self.STAGES, strict=False)
        )
        self.apply(initialize)

    def forward(self, faces: Tensor, return_stages: bool = False) -> Tensor | tuple[Tensor, list[Stage]]:
        """Return N values, or `(values, stages)` with one `Stage` a stage.

        Raises:
            ValueError: the shape or the type of `faces` breaks the contract above.
        """
        values, stages = self.from_maps(self.maps(faces))
        return (values, stages) if return_stages else values

    def from_maps(self, maps: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[Stage]]:
        """Return N values, and what each stage says, from what `maps` returned for N faces."""
        stages = [
            fusion(*maps[block]) for fusion, (block, _, _) in zip(self.fusions, self.STAGES, strict=False)
        ]
        p, eta, delta = zip(*stages, strict=True)
        settings = self.settings
        values = soft_stagewise_regression(
            p, eta, delta, settings["value_range"], settings["lambda_eta"], settings["lambda_delta"]
        )
        return values, stages


def initialize(module: nn.Module) -> None:
    """Glorot uniform weights and zero biases, as the authors' code has it."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check(faces: Tensor) -> None:
    expected = f"faces must be N x 3 x {FACE_SIZE} x {FACE_SIZE}, RGB, 0 to 255"
    if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, FACE_SIZE, FACE_SIZE):
        # Written here only: a compiled network would be compiled again for each N that it has to write.
        shape = " x ".join(map(str, faces.shape))
        if faces.ndim == 4 and faces.shape[3] == 3:
            shape += ", channels last: use faces.permute(0, 3, 1, 2)"
        raise ValueError(f"{expected}; got {shape}")
    if faces.dtype != torch.uint8 and not faces.is_floating_point():
        raise ValueError(f"{expected}, as uint8 or float; got {faces.dtype}")
