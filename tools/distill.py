"""Train the built-in networks: alone first, then also taught by a larger network's answers.

    python tools/distill.py age --seed 0        # then gender, which starts from that seed's age network

The teacher is a residual network of 2.8 million parameters, trained on the same train split and never
seen again: only its answers to the same augmented faces stay, in the small network's weights. Needs
a C++ compiler. Writes runs/teacher/TARGET, runs/alone-SEED/age and runs/taught-SEED/TARGET; stopped, the
same command goes on, and what is finished is not trained again. tools/publish.py takes it from there.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from ssrlib import FaceStore, Recipe, SSRNet, fit
from ssrlib.training import VALUE_RANGES, new_network, start_from

FAST = {"precision": "bf16-mixed", "compile": True}
TEACHERS = {
    "gender": {"epochs": 15, "learning_rate": 0.003},
    "age": {"epochs": 12, "learning_rate": 0.003},
}
TAUGHT = {
    "age": {"epochs": 16, "learning_rate": 0.0025},
    "gender": {"epochs": 20, "learning_rate": 0.005},
}


class Residual(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.skip = nn.Identity()
        if stride > 1:
            strided = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.skip = nn.Sequential(strided, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class Teacher(nn.Module):
    """A small residual network with SSRNet's contract: N x 3 x 64 x 64 faces in, N values out."""

    def __init__(self, value_range: float):
        super().__init__()
        self.settings = {"value_range": value_range}
        layers = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), Residual(32, 32)]
        for fewer, more in ((32, 64), (64, 128), (128, 256)):
            layers += [Residual(fewer, more, 2), Residual(more, more)]
        end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 1)]
        self.body = nn.Sequential(*layers, *end)

    def forward(self, faces: Tensor) -> Tensor:
        share = self.body((faces.float() - 127.5) / 64).squeeze(1).float()
        return self.settings["value_range"] * (0.4 + share)


def trained_teacher(target: str, store: FaceStore, runs: Path) -> Teacher:
    """The one for gender starts at random, the one for age from the one for gender."""
    torch.manual_seed(0)
    teacher = Teacher(VALUE_RANGES[target])
    if target == "age":
        teacher.load_state_dict(trained_teacher("gender", store, runs).state_dict())
    recipe = Recipe.best(target, waking=False, **TEACHERS[target], **FAST)
    fit(teacher, store, recipe, runs / "teacher" / target)
    return teacher


def first_age(seed: int, store: FaceStore, runs: Path) -> Path:
    recipe, place = Recipe.best("age", seed=seed, **FAST), runs / f"alone-{seed}" / "age"
    fit(new_network(recipe), store, recipe, place)
    return place / "best.safetensors"


def taught(target: str, seed: int, store: FaceStore, runs: Path) -> SSRNet:
    start = first_age(seed, store, runs)
    if target == "gender":
        taught("age", seed, store, runs)
        start = runs / f"taught-{seed}" / "age" / "best.safetensors"
    teacher = trained_teacher(target, store, runs)
    recipe = Recipe.best(target, seed=seed, **TAUGHT[target], **FAST)
    network = start_from(start, recipe)
    print(fit(network, store, recipe, runs / f"taught-{seed}" / target, teacher=teacher))
    return network


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=["age", "gender"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    taught(arguments.target, arguments.seed, FaceStore(arguments.store), arguments.runs)
