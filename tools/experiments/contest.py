"""Which head is best? Sixteen ways to read an age, trained alike on UTKFace with three seeds each.

    python -m tools.experiments.contest --store data/utkface --epochs 12 --jobs 2

trains them. All start with the two streams of a network that learned gender and has never been told an age:
that saves epochs for all alike. Validation faces choose each run's best epoch and compare the heads.
Stopped, the same command goes on. Then, once, when nothing is left to choose:

    python -m tools.experiments.contest --store data/utkface --epochs 12 --jobs 2 --test

Writes book/results/contest.json. Not everything is neutral: the streams learned gender under SSR-Net's own
head, rate and augmentation are those that suit SSR-Net, and its size leaves 101 classes six hidden values.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ssrlib import FaceStore, Recipe, fit, inference, results, weights
from ssrlib.heads import CONTEST, contestant
from ssrlib.metrics import compare
from ssrlib.network import FaceNetwork
from ssrlib.training import fast

# The head as it was published: what the book added to it runs like everybody else.
RIVAL = "SSR, plain ReLUs"
START = weights.PRETRAINED / "utkface" / "gender.safetensors"
RESULT = "book/results/contest.json"


def recipe_of(seed: int, epochs: int) -> Recipe:
    return Recipe(epochs=epochs, seed=seed, **fast())


def place_of(runs: Path, name: str, seed: int, epochs: int) -> Path:
    return runs / f"{epochs}-epochs" / "".join(c if c.isalnum() else "-" for c in name) / str(seed)


def begin(network: FaceNetwork) -> None:
    """Give a network the two streams of one that learned gender."""
    start = weights.load(START)
    for stream in ("stream1", "stream2"):
        getattr(network, stream).load_state_dict(getattr(start, stream).state_dict())


def train(name: str, seed: int, epochs: int, store: Path, runs: Path) -> str:
    """Train one contestant, or go on where it stopped."""
    network, recipe, loss = contestant(name, recipe_of(seed, epochs))
    begin(network)
    place = place_of(runs, name, seed, epochs)
    history = fit(network, FaceStore(store), recipe, place, lambda _: None, loss=loss)
    return f"{name}, seed {seed}: {history['mae'].min():.2f} years on validation"


def answers(name: str, seed: int, epochs: int, store: Path, runs: Path, split: str) -> np.ndarray:
    """What a trained contestant says about a split's faces, the mean with their mirror images."""
    network, _, _ = contestant(name, recipe_of(seed, epochs))
    network.load_state_dict(load_file(place_of(runs, name, seed, epochs) / "best.safetensors"))
    return inference.predict_split(network, FaceStore(store), split)["value"].to_numpy()


def in_parallel(jobs: int, run: Any, arguments: list[tuple[Any, ...]]) -> Any:
    """Yield each call's result as it comes; each process has one thread, so that none waits for another."""
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for future in [pool.submit(run, *each) for each in arguments]:
            yield future.result()


def main(store: Path, runs: Path, epochs: int, seeds: list[int], jobs: int, test: bool) -> None:
    everyone = [(name, seed, epochs, store, runs) for seed in seeds for name in CONTEST]
    for line in in_parallel(jobs, train, everyone):
        print(line, flush=True)
    faces = FaceStore(store)
    rows = []
    for split in ["validation", *(["test"] if test else [])]:
        all_answers = in_parallel(jobs, answers, [(*run, split) for run in everyone])
        said = dict(zip(everyone, all_answers, strict=True))
        truth = faces.rows.loc[faces.rows["split"] == split, "age"].to_numpy()
        errors = {
            name: np.stack([np.abs(said[run] - truth) for run in everyone if run[0] == name])
            for name in CONTEST
        }
        rows += [
            {"head": name, "split": split, "mae": float(missed.mean()), "seeds": missed.mean(axis=1).tolist()}
            | compare(missed, errors[RIVAL])
            for name, missed in errors.items()
        ]
    for row in rows:
        print(f"{row['split']:10} {row['mae']:5.2f} years  {row['head']}")
    results.record(
        RESULT, rows, weights=[START], store=faces, data="UTKFace", seeds=seeds, epochs=epochs, rival=RIVAL
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs/contest"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, of one thread each")
    parser.add_argument("--test", action="store_true", help="open the test split, once, at the end")
    arguments = vars(parser.parse_args())
    results.check_committed()
    main(**arguments)
