"""The contest: other ways to read an age from SSR-Net's features, each of about SSR-Net's size.

A head is three things: a layer that turns the features of a face into outputs, a loss that compares outputs
with ages, and a way to read an age from outputs. All heads sit on the same two streams and read the same
three scales. `HEADS` has them by name; one more is one more entry. `Helped` is an SSR-Net that learns
together with one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssrlib.network import (
    FaceNetwork,
    SSRNet,
    Stage,
    TwoStreams,
    initialize,
    soft_stagewise_regression,
)
from ssrlib.recipe import Loss, Recipe
from ssrlib.targets import AGE
from ssrlib.training import WakingReLU, new_network

CLASSES = 101
"""The ages 0 to 100, a class each; older faces count as 100."""

HELP = 20.0
"""How much the helper's loss counts beside the age's error in years, see `helped_loss`."""

FEATURES_PER_CHANNEL = sum(features for _, _, features in SSRNet.STAGES) // 10
VALUE_RANGE = AGE.value_range


def classes_of(ages: Tensor) -> Tensor:
    """Return the class of each of N ages, from 0 to 100.

    >>> classes_of(torch.tensor([0.4, 35.6, 116.0]))
    tensor([  0,  36, 100])
    """
    return ages.round().long().clamp(0, CLASSES - 1)


def expected_value(logits: Tensor) -> Tensor:
    """Return the balance point of N x s classes: the ages 0 to s - 1, weighted by a softmax (Rothe, 2018).

    >>> expected_value(torch.tensor([[0.0, 0.0, 0.0], [-100.0, 0.0, 0.0]]))
    tensor([1.0000, 1.5000])
    """
    return logits.softmax(dim=1) @ torch.arange(float(logits.shape[1]), device=logits.device)


def cross_entropy(logits: Tensor, ages: Tensor) -> Tensor:
    """Return minus the logarithm of the true class's share, as DEX is trained (Rothe, 2018)."""
    return F.cross_entropy(logits, classes_of(ages))


def absolute_error(read: Callable[[Tensor], Tensor], outputs: Tensor, ages: Tensor) -> Tensor:
    """Return the mean absolute error, in years, of what is read from the outputs."""
    return F.l1_loss(read(outputs), ages)


def label_distribution(ages: Tensor, spread: float = 2.0) -> Tensor:
    """Return N x 101 classes' shares: a normal distribution around each age (DLDL: Gao, 2017).

    >>> label_distribution(torch.tensor([30.0]))[0, 28:33]
    tensor([0.1210, 0.1760, 0.1995, 0.1760, 0.1210])
    """
    years = torch.arange(float(CLASSES), device=ages.device)
    return torch.softmax(-((years - ages.clamp(0, CLASSES - 1)[:, None]) ** 2) / (2 * spread**2), dim=1)


def distribution_loss(logits: Tensor, ages: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of the classes from a label distribution (DLDL: Gao, 2017)."""
    return F.kl_div(logits.log_softmax(dim=1), label_distribution(ages), reduction="batchmean")


def distribution_and_error(logits: Tensor, ages: Tensor) -> Tensor:
    """Return that divergence, plus the expected value's error in years (DLDL-v2: Gao, 2018)."""
    return distribution_loss(logits, ages) + absolute_error(expected_value, logits, ages)


def mean_variance(logits: Tensor, ages: Tensor) -> Tensor:
    """Return cross entropy + 0.2 x half the mean's squared error + 0.05 x the variance (Pan, 2018).

    >>> sure = torch.full((1, 101), -100.0)
    >>> sure[0, 30] = 0
    >>> f"{mean_variance(sure, torch.tensor([30.0])):.3f}"
    '0.000'
    """
    years = torch.arange(float(logits.shape[1]), device=logits.device)
    mean = expected_value(logits)
    variance = (logits.softmax(dim=1) * (years - mean[:, None]) ** 2).sum(dim=1).mean()
    return cross_entropy(logits, ages) + 0.1 * F.mse_loss(mean, ages) + 0.05 * variance


def answers_of(ages: Tensor) -> Tensor:
    """Return N x 100 answers, 0 or 1, to "older than 0?" up to "older than 99?".

    >>> answers_of(torch.tensor([2.0]))[0, :4]
    tensor([1., 1., 0., 0.])
    """
    return (classes_of(ages)[:, None] > torch.arange(CLASSES - 1, device=ages.device)).float()


def questions_loss(logits: Tensor, ages: Tensor) -> Tensor:
    """Return the questions' cross entropies, summed for each face (OR-CNN: Niu, 2016; CORAL: Cao, 2020).

    OR-CNN can also weigh the questions by how many faces answer them; here each counts alike.
    """
    cost = F.binary_cross_entropy_with_logits(logits, answers_of(ages), reduction="none")
    return cost.sum(dim=1).mean()


def count_of_yes(logits: Tensor) -> Tensor:
    """Return how many questions are answered with yes.

    >>> count_of_yes(torch.tensor([[3.0, 0.1, -2.0]]))
    tensor([2.])
    """
    return (logits > 0).sum(dim=1).float()


def conditional_loss(logits: Tensor, ages: Tensor) -> Tensor:
    """Return CORN's cross entropy (Shi, 2023): "older than k?" is asked of who is older than k - 1."""
    answers = answers_of(ages)
    asked = F.pad(answers[:, :-1], (1, 0), value=1.0)
    cost = F.binary_cross_entropy_with_logits(logits, answers, weight=asked, reduction="sum")
    return cost / asked.sum()


def conditional_count(logits: Tensor) -> Tensor:
    """Return how many questions get a yes, when each counts only if all before it do (CORN: Shi, 2023).

    >>> conditional_count(torch.tensor([[3.0, -1.0, 5.0]]))
    tensor([1.])
    """
    return (logits.sigmoid().cumprod(dim=1) > 0.5).sum(dim=1).float()


def one_stage(outputs: Tensor) -> Tensor:
    """Return the age that one stage of s bins says; its N x (2 s + 1) outputs are p, eta and delta."""
    p, eta, delta = outputs.tensor_split([outputs.shape[1] // 2, outputs.shape[1] - 1], dim=1)
    return soft_stagewise_regression([p], [eta], [delta.squeeze(1)], VALUE_RANGE)


class Product(nn.Module):
    """Layers that read the product of both streams' features."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        outputs: Tensor = self.layers(a * b)
        return outputs


def linear(features: int, outputs: int) -> nn.Module:
    """One layer from the features to the outputs."""
    return Product(nn.Linear(features, outputs))


def narrow(features: int, outputs: int, hidden: int) -> nn.Module:
    """A few hidden values between the features and the outputs: SSR-Net's size allows no more."""
    return Product(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class SharedQuestions(Product):
    """All questions look at the face in one direction, and differ in a constant only (CORAL: Cao, 2020)."""

    def __init__(self, features: int, hidden: int):
        super().__init__(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1, bias=False))
        self.limits = nn.Parameter(torch.zeros(CLASSES - 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return super().forward(a, b) + self.limits


class OneStage(nn.Module):
    """SSR-Net's head with a single stage that reads all three scales; see `network.Fusion`."""

    # torch's types do not say what a Sequential holds.
    mix1: Any
    mix2: Any
    p: Any

    def __init__(self, features: int, bins: int):
        super().__init__()
        self.mix1 = nn.Sequential(nn.Linear(features, 3), WakingReLU())
        self.mix2 = nn.Sequential(nn.Linear(features, 3), WakingReLU())
        self.hidden = nn.Sequential(nn.Linear(3, 5), WakingReLU())
        self.p = nn.Sequential(nn.Linear(5, bins), WakingReLU())
        self.eta = nn.Sequential(nn.Linear(5, bins), nn.Tanh())
        self.delta = nn.Sequential(nn.Linear(features, 1), nn.Tanh())

    def awake(self) -> None:
        """Start as `training.new_network` does, with bins that add up to about as much as its three."""
        bins = len(self.p[0].bias)
        nn.init.ones_(self.mix1[0].bias)
        nn.init.ones_(self.mix2[0].bias)
        nn.init.constant_(self.p[0].bias, 1 / bins)
        with torch.no_grad():
            self.p[0].weight.mul_(3 / bins)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        hidden = self.hidden(self.mix1(a) * self.mix2(b))
        return torch.cat([self.p(hidden), self.eta(hidden), self.delta(a * b)], dim=1)


@dataclass(frozen=True)
class Head:
    """One way to read an age from a face's features.

    Attributes:
        layers: from the number of features to a module, which turns two N x features tensors, one of each
            stream, into outputs.
        loss: from outputs and N ages to one number.
        read: from outputs to N ages.
        channels: of each stream and scale; SSR-Net has ten.
    """

    layers: Callable[[int], nn.Module]
    loss: Loss
    read: Callable[[Tensor], Tensor]
    channels: int = 10


def _years(outputs: Tensor) -> Tensor:
    return VALUE_RANGE * (outputs[:, 0] + 0.5)


def _classes(loss: Loss) -> Head:
    return Head(partial(narrow, outputs=CLASSES, hidden=6), loss, expected_value)


_NUMBER_LOSS = partial(absolute_error, _years)
_ONE_STAGE_LOSS = partial(absolute_error, one_stage)
_QUESTIONS = partial(narrow, outputs=CLASSES - 1, hidden=6)
_SHARED = partial(SharedQuestions, hidden=7)

HEADS = {
    # More features take the place of the layer that it lacks.
    "one number": Head(partial(linear, outputs=1), _NUMBER_LOSS, _years, channels=22),
    "one number, hidden layer": Head(partial(narrow, outputs=1, hidden=7), _NUMBER_LOSS, _years),
    "expected value (DEX)": _classes(cross_entropy),
    "expected value, trained": _classes(partial(absolute_error, expected_value)),
    "label distribution (DLDL)": _classes(distribution_loss),
    "label distribution and error (DLDL-v2)": _classes(distribution_and_error),
    "mean and variance": _classes(mean_variance),
    "questions (OR-CNN)": Head(_QUESTIONS, questions_loss, count_of_yes),
    "questions, shared weights (CORAL)": Head(_SHARED, questions_loss, count_of_yes),
    "conditional questions (CORN)": Head(_QUESTIONS, conditional_loss, conditional_count),
    "one stage of 27 bins": Head(partial(OneStage, bins=27), _ONE_STAGE_LOSS, one_stage),
    "one stage of 101 bins": Head(partial(OneStage, bins=101), _ONE_STAGE_LOSS, one_stage),
}


class HeadOnMaps(nn.Module):
    """One of `HEADS` and what it needs to read the maps of SSR-Net's two streams.

    In training it returns the head's outputs for N faces, in inference N ages.

    Raises:
        ValueError: there is no head of that name.

    >>> maps = SSRNet().maps(torch.zeros(2, 3, 64, 64))
    >>> HeadOnMaps("questions (OR-CNN)")(maps).shape
    torch.Size([2, 100])
    """

    # torch's types do not say what a ModuleList holds.
    squeeze1: Any
    squeeze2: Any

    def __init__(self, name: str):
        if name not in HEADS:
            raise ValueError(f"there is no head {name!r}; there are: {', '.join(HEADS)}")
        super().__init__()
        head = HEADS[name]
        self.read = head.read

        def squeeze(channels: int, pool: type[nn.Module]) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(nn.Conv2d(channels, head.channels, 1), nn.ReLU(), pool(size), nn.Flatten())
                for _, size, _ in SSRNet.STAGES
            )

        self.squeeze1, self.squeeze2 = squeeze(32, nn.AvgPool2d), squeeze(16, nn.MaxPool2d)
        self.head = head.layers(head.channels * FEATURES_PER_CHANNEL)

    def forward(self, maps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        chosen = [maps[block] for block, _, _ in SSRNet.STAGES]
        a, b = (
            torch.cat([layers(pair[stream]) for layers, pair in zip(squeeze, chosen, strict=True)], dim=1)
            for stream, squeeze in enumerate((self.squeeze1, self.squeeze2))
        )
        with torch.autocast(a.device.type, enabled=False):
            outputs: Tensor = self.head(a.float(), b.float())
            return outputs if self.training else self.read(outputs)


class Contestant(TwoStreams):
    """SSR-Net's two streams with one of `HEADS`: in training it returns outputs, in inference N ages.

    >>> network = Contestant("conditional questions (CORN)")
    >>> network(torch.zeros(2, 3, 64, 64)).shape, network.eval()(torch.zeros(2, 3, 64, 64)).shape
    (torch.Size([2, 100]), torch.Size([2]))
    """

    def __init__(self, name: str):
        super().__init__({"target": AGE.name, "head": name})
        self.on_maps = HeadOnMaps(name)
        self.apply(initialize)
        if isinstance(self.on_maps.head, OneStage):
            self.on_maps.head.awake()

    def forward(self, faces: Tensor) -> Tensor:
        """Return the head's outputs in training, N ages in inference.

        Raises:
            ValueError: the shape or the type of `faces` breaks the contract of `SSRNet`.
        """
        said: Tensor = self.on_maps(self.maps(faces))
        return said


class Helped(SSRNet):
    """An SSR-Net for age that a second head helps to learn, and that does without it afterwards.

    The second head reads the same streams and learns label distributions, from which they learn more than
    from SSR-Net's one number. (As auxiliary classifiers do for a deep network: Szegedy, 2015.)

    Args:
        start: the network that it goes on from, an age network.

    Raises:
        ValueError: `start` reads something else.

    >>> network = Helped(SSRNet())
    >>> network(torch.zeros(2, 3, 64, 64)).shape, network.eval()(torch.zeros(2, 3, 64, 64)).shape
    (torch.Size([2, 102]), torch.Size([2]))
    >>> sum(parameter.numel() for parameter in network.alone().parameters())
    40531
    """

    def __init__(self, start: SSRNet):
        if start.settings["target"] != AGE.name:
            raise ValueError(f"the helper learns ages, and the network reads {start.settings['target']}")
        super().__init__(**start.settings)
        self.load_state_dict(start.state_dict())
        self.terms = start.terms
        self.helper = HeadOnMaps("label distribution (DLDL)")
        self.helper.apply(initialize)

    def forward(self, faces: Tensor, return_stages: bool = False) -> Tensor | tuple[Tensor, list[Stage]]:
        """Return in training N x 102, the ages and the logits of 101 classes; in inference as `SSRNet` does.

        Raises:
            ValueError: the shape or the type of `faces` breaks the contract of `SSRNet`.
        """
        if not self.training:
            return super().forward(faces, return_stages)
        maps = self.maps(faces)
        ages, _ = self.from_maps(maps)
        return torch.cat([ages[:, None], self.helper(maps)], dim=1)

    def alone(self) -> SSRNet:
        """Return the SSR-Net without its helper, ready for inference."""
        network = SSRNet(**self.settings)
        network.load_state_dict({name: self.state_dict()[name] for name in network.state_dict()})
        network.terms = self.terms
        return network.eval()


def helped_loss(outputs: Tensor, ages: Tensor) -> Tensor:
    """Return the mean absolute error of `Helped`'s ages, plus `HELP` times its helper's divergence.

    Args:
        outputs: N x 102, what `Helped` returns in training.
        ages: N labels, in years.

    >>> ages = torch.tensor([30.0, 50.0])
    >>> sure = torch.cat([ages[:, None] + 1, label_distribution(ages).clamp_min(1e-30).log()], dim=1)
    >>> clueless = torch.cat([ages[:, None], torch.zeros(2, 101)], dim=1)
    >>> f"{helped_loss(sure, ages):.1f}, {helped_loss(clueless, ages):.1f}"
    '1.0, 50.1'
    """
    return F.l1_loss(outputs[:, 0], ages) + HELP * distribution_loss(outputs[:, 1:], ages)


def _with_softmax(recipe: Recipe) -> SSRNet:
    network = new_network(recipe)
    for fusion in network.fusions:
        fusion.p[1] = nn.Softmax(dim=1)
    return network


SSR: dict[str, Callable[[Recipe], SSRNet]] = {
    "SSR": new_network,
    "SSR, plain ReLUs": new_network,
    "SSR, plain ReLUs, awake start": lambda recipe: new_network(replace(recipe, waking=True)),
    "SSR with softmax": _with_softmax,
    "SSR without dynamic range": partial(new_network, lambda_eta=0.0, lambda_delta=0.0),
}
"""SSR-Net's head with ReLUs that can wake up, as in `fit`; four variants. The paper's are plain."""

CONTEST = [*SSR, *HEADS]


def contestant(name: str, recipe: Recipe) -> tuple[FaceNetwork, Recipe, Loss | None]:
    """Return what `fit` needs to train one of `CONTEST`: a network, its recipe, and its loss.

    The recipe is the one that is given, but for `waking`, which only SSR-Net's heads know.

    >>> network, recipe, loss = contestant("one number", Recipe(seed=1))
    >>> sum(parameter.numel() for parameter in network.parameters())
    40481
    """
    if name in SSR:
        recipe = replace(recipe, waking="plain" not in name)
        return SSR[name](recipe), recipe, None
    torch.manual_seed(recipe.seed)
    return Contestant(name), recipe, HEADS[name].loss
