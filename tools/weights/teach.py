"""Candidates for built-in networks: a few networks learn first, then they teach networks of SSR-Net's size.

    python -m tools.weights.teach age --store data/faces --jobs 2
    python -m tools.weights.teach gender --store data/faces --jobs 6

Age has two teachers of SSR-Net's size, with its two streams under the head that won the contest (chapter 9);
each student goes on with the streams of one of them. Gender has three large residual networks
(`ssrlib.trunks`), and students that start from nothing and learn for a long time: that is for a GPU, two
cores would take days. Students learn from the labels and from what the teachers say about each changed face
(Beyer, 2022). Teachers go to runs/teacher-SEED/TARGET, students to runs/taught-AUGMENTATION-SEED/TARGET; the
best one is published with tools/weights/publish.py. Stopped, the same command goes on.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from ssrlib import FaceStore, Recipe, fit
from ssrlib.heads import HEADS, Contestant
from ssrlib.network import FaceNetwork
from ssrlib.targets import AGE, TARGETS
from ssrlib.training import fast, new_network
from ssrlib.trunks import Trunk
from ssrlib.weights import PRETRAINED
from tools.experiments.race import begin, in_parallel

HEAD, TRUNK = "label distribution (DLDL)", "large residual"
HOME = PRETRAINED / "utkface" / "age.safetensors"
TEACHERS = {"age": (0, 1), "gender": (0, 1, 2)}
STUDENTS = {"age": (("mild", 0), ("mild", 1)), "gender": (("mild", 0), ("strong", 0))}


def untaught(target: str) -> FaceNetwork:
    """A teacher before its training."""
    return Contestant(HEAD) if target == AGE.name else Trunk(TRUNK, target)


def teacher(target: str, seed: int, store: Path, runs: Path) -> str:
    """Train a teacher."""
    torch.compiler.reset()  # it compiles few networks in one process, and then no more
    torch.manual_seed(seed)
    network = untaught(target)
    if target == AGE.name:
        begin(network, HOME)
        recipe, loss = Recipe(epochs=14, balanced=True, seed=seed, **fast()), HEADS[HEAD].loss
    else:
        changes = {"augmentation": "strong", "learning_rate": 0.003, "balanced": True}
        recipe, loss = Recipe.best(target, epochs=22, batch_size=256, seed=seed, **changes, **fast()), None
    place = runs / f"teacher-{seed}" / target
    fit(network, FaceStore(store), recipe, place, lambda _: None, loss=loss)
    return f"{place}: trained"


def student(target: str, changes: str, seed: int, store: Path, runs: Path) -> str:
    """Train a network of SSR-Net's size on labels and on what the teachers say."""
    torch.compiler.reset()
    common = {"augmentation": changes, "balanced": True, "seed": seed, **fast()}
    # Plain ReLUs, and the paper's start: see the contest.
    if target == AGE.name:
        recipe = Recipe(epochs=14, learning_rate=0.0025, waking=False, **common)
    else:
        recipe = Recipe.best(target, epochs=80, batch_size=256, waking=False, **common)
    network, place = new_network(recipe), runs / f"taught-{changes}-{seed}" / target
    if target == AGE.name:
        known = load_file(weights_of(target, seed, runs))
        streams = {name: part for name, part in known.items() if name.startswith("stream")}
        network.load_state_dict(streams, strict=False)
    fit(network, FaceStore(store), recipe, place, lambda _: None, teachers_of(target, runs))
    return f"{place}: trained"


def weights_of(target: str, seed: int, runs: Path) -> Path:
    """Where a teacher's best weights lie."""
    return runs / f"teacher-{seed}" / target / "best.safetensors"


def teachers_of(target: str, runs: Path) -> list[FaceNetwork]:
    """The trained teachers, ready for inference."""
    networks = []
    for seed in TEACHERS[target]:
        network = untaught(target)
        network.load_state_dict(load_file(weights_of(target, seed, runs)))
        networks.append(network.eval())
    return networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, of one thread each")
    asked = parser.parse_args()
    common = (asked.store, asked.runs)
    first = [(asked.target, seed, *common) for seed in TEACHERS[asked.target]]
    then = [(asked.target, changes, seed, *common) for changes, seed in STUDENTS[asked.target]]
    for step, calls in ((teacher, first), (student, then)):
        for line in in_parallel(asked.jobs, step, calls):
            print(line, flush=True)


if __name__ == "__main__":
    main()
