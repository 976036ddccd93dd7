"""Train a built-in network: a long run, and a second one that goes on from its weights at half the rate.

    python tools/built_in.py age --seed 0

Writes runs/first-SEED/TARGET and runs/second-SEED/TARGET, which tools/publish.py compares. Needs a C++
compiler. Stopped, the same command goes on, and what is finished is not trained again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from ssrlib import FaceStore, Recipe, fit
from ssrlib.training import new_network, start_from

SECOND_EPOCHS = {"age": 16, "gender": 12}


def train(target: str, seed: int, store: FaceStore, runs: Path) -> None:
    first = Recipe.best(target, seed=seed, precision="bf16-mixed", compile=True)
    folder = runs / f"first-{seed}" / target
    fit(new_network(first), store, first, folder)
    second = replace(first, epochs=SECOND_EPOCHS[target], learning_rate=first.learning_rate / 2)
    network = start_from(folder / "best.safetensors", second)
    print(fit(network, store, second, runs / f"second-{seed}" / target))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(SECOND_EPOCHS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    train(arguments.target, arguments.seed, FaceStore(arguments.store), arguments.runs)
