"""Train a built-in network: a long run, and a second one that goes on from its weights at half the rate.

    python -m tools.weights.build age --seed 0

Writes runs/first-SEED/TARGET and runs/second-SEED/TARGET, which tools/weights/publish.py compares. With seeds
0, 1 and 2 there, networks for age can be taught by all three of them (Hinton, Vinyals, Dean: Distilling the
Knowledge in a Neural Network, 2015), which writes runs/taught-first-SEED and runs/taught-second-SEED:

    python -m tools.weights.build age --seed 0 --taught

Needs a C++ compiler. Stopped, the same command goes on, and what is finished is not trained again.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ssrlib import FaceStore, Recipe, fit, inference, weights
from ssrlib.targets import AGE
from ssrlib.training import new_network, start_from

SECOND_EPOCHS = {"age": 16, "gender": 12}
TEACHERS = (0, 1, 2)


def taught(store: FaceStore, runs: Path) -> pd.DataFrame:
    """The store's rows; each train face is as old as the mean of its label and of what the teachers say."""
    rows = store.rows.copy()
    train = (rows["split"] == "train").to_numpy()
    answers = []
    for seed in TEACHERS:
        network = weights.load(runs / f"second-{seed}" / "age" / "best.safetensors")
        answers.append(inference.flip_average(partial(inference.predict, network), store.faces[train])[0])
    rows.loc[train, "age"] = (np.mean(answers, axis=0) + AGE.labels(rows[train])) / 2
    return rows


def train(target: str, seed: int, store: FaceStore, runs: Path, name: str, epochs: int | None) -> None:
    first = Recipe.best(target, seed=seed, precision="bf16-mixed", compile=True)
    first = replace(first, epochs=epochs or first.epochs)
    folder = runs / f"{name}first-{seed}" / target
    fit(new_network(first), store, first, folder)
    second = replace(first, epochs=epochs or SECOND_EPOCHS[target], learning_rate=first.learning_rate / 2)
    network = start_from(folder / "best.safetensors", second)
    print(fit(network, store, second, runs / f"{name}second-{seed}" / target))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(SECOND_EPOCHS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--taught", action="store_true")
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--epochs", type=int, help="of each of the two runs, for a quick try")
    arguments = parser.parse_args()
    if arguments.taught and arguments.target != "age":
        parser.error("only age can be taught: a gender's label has no mean with an answer")
    store = FaceStore(arguments.store)
    if arguments.taught:
        store.rows = taught(store, arguments.runs)
    name = "taught-" if arguments.taught else ""
    train(arguments.target, arguments.seed, store, arguments.runs, name, arguments.epochs)
