"""Candidates for built-in networks: large networks learn first, then they teach networks of SSR-Net's size.

    python -m tools.weights.teach gender --store data/faces --jobs 4

Three large residual networks (tools/experiments/trunks.py) are the teachers, in runs/teacher-SEED/TARGET.
Then some students learn from the labels and from what the teachers say about each changed face, for a long
time (Beyer, 2022), in runs/taught-AUGMENTATION-SEED/TARGET. The best is published with
tools/weights/publish.py. Stopped, the same command goes on. It is for a GPU: two cores would take days.

Gender gained by it. Age did not: its teachers, 6.3 years off on validation, were no better than the network
that they should have taught.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from ssrlib import FaceStore, Recipe, fit
from ssrlib.network import FaceNetwork
from ssrlib.targets import TARGETS
from ssrlib.training import fast, new_network
from tools.experiments.race import in_parallel
from tools.experiments.trunks import Trunk, loss_of

BATCH = 256
TEACHERS = 3
TEACHER_EPOCHS, EPOCHS = 22, 80
KIND = "large residual"
CHANGES = ("mild", "strong")


def teacher(target: str, seed: int, store: Path, runs: Path) -> str:
    """Train a large network."""
    torch.compiler.reset()  # it compiles few networks in one process, and then no more
    plan = Recipe.best(
        target, epochs=TEACHER_EPOCHS, batch_size=BATCH, learning_rate=0.003, seed=seed, **fast()
    )
    torch.manual_seed(seed)
    network = Trunk(KIND, target)
    recipe = replace(plan, augmentation="strong", balanced=True)
    place = runs / f"teacher-{seed}" / target
    fit(network, FaceStore(store), recipe, place, lambda _: None, loss=loss_of(network))
    return f"{place}: trained"


def student(target: str, changes: str, seed: int, store: Path, runs: Path) -> str:
    """Train a network of SSR-Net's size on labels and on what the teachers say."""
    torch.compiler.reset()
    plan = Recipe.best(target, epochs=EPOCHS, batch_size=BATCH, seed=seed, **fast())
    # Plain ReLUs, and the paper's start: see the contest.
    recipe = replace(plan, augmentation=changes, balanced=True, waking=False)
    place = runs / f"taught-{changes}-{seed}" / target
    teachers = teachers_of(target, runs)
    fit(new_network(recipe), FaceStore(store), recipe, place, lambda _: None, teachers)
    return f"{place}: trained"


def teachers_of(target: str, runs: Path) -> list[FaceNetwork]:
    """The trained teachers, ready for inference."""
    networks: list[FaceNetwork] = []
    for seed in range(TEACHERS):
        network = Trunk(KIND, target)
        network.load_state_dict(load_file(runs / f"teacher-{seed}" / target / "best.safetensors"))
        networks.append(network.eval())
    return networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, of one thread each")
    asked = parser.parse_args()
    common = (asked.store, asked.runs)
    first = [(asked.target, seed, *common) for seed in range(TEACHERS)]
    then = [(asked.target, change, seed, *common) for seed in asked.seeds for change in CHANGES]
    for step, calls in ((teacher, first), (student, then)):
        for line in in_parallel(asked.jobs, step, calls):
            print(line, flush=True)


if __name__ == "__main__":
    main()
