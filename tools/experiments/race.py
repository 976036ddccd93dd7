"""A race: networks that differ in one thing, trained alike with several seeds, and compared face by face.

Each run has a folder of its own: stopped, the same command goes on. Validation faces choose each run's best
epoch and compare the networks; the test split is opened once, by a command of its own. On a GPU, take its
time:

    python -m tools.experiments.contest --epochs 48 --batch-size 128 --jobs 12
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from ssrlib import FaceStore, Recipe, fit, inference, results, weights
from ssrlib.heads import Helped
from ssrlib.metrics import compare
from ssrlib.network import FaceNetwork
from ssrlib.recipe import Loss
from ssrlib.training import fast


def as_they_are(store: Path, name: str, seed: int) -> FaceStore:
    """The faces of most races: with their labels."""
    return FaceStore(store)


class Race(NamedTuple):
    """What is compared.

    `names` are the networks, `build` makes one of them, with its recipe and its loss; `rival` is whom the
    others are compared with; `faces` may change a store's train labels, by the network's name and the seed.
    """

    names: list[str]
    build: Callable[[str, Recipe], tuple[FaceNetwork, Recipe, Loss | None]]
    rival: str
    faces: Callable[[Path, str, int], FaceStore] = as_they_are


class Run(NamedTuple):
    """One training of one network. `start` are weights whose two streams it begins with, if any."""

    name: str
    seed: int
    epochs: int
    batch_size: int
    start: Path | None
    store: Path
    runs: Path

    @property
    def folder(self) -> Path:
        name = "".join(c if c.isalnum() else "-" for c in self.name)
        return self.runs / f"{self.epochs}-epochs" / name / str(self.seed)

    def built(self, race: Race) -> tuple[FaceNetwork, Recipe, Loss | None]:
        plan = Recipe.best(epochs=self.epochs, batch_size=self.batch_size, seed=self.seed, **fast())
        return race.build(self.name, plan)


def begin(network: FaceNetwork, start: Path) -> None:
    """Give a network the two streams of another one."""
    known = weights.load(start)
    for stream in ("stream1", "stream2"):
        getattr(network, stream).load_state_dict(getattr(known, stream).state_dict())


def train(race: Race, run: Run) -> str:
    """Train one network, or go on where it stopped."""
    torch.compiler.reset()  # it compiles few networks in one process, and then no more
    network, recipe, loss = run.built(race)
    if run.start:
        begin(network, run.start)
    faces = race.faces(run.store, run.name, run.seed)
    history = fit(network, faces, recipe, run.folder, lambda _: None, loss=loss)
    return f"{run.name}, seed {run.seed}: {history['mae'].min():.2f} years on validation"


def answers(race: Race, run: Run, split: str) -> tuple[np.ndarray, int]:
    """What a trained network says about a split's faces, the mean with their mirror images, and its size."""
    network, _, _ = run.built(race)
    network.load_state_dict(load_file(run.folder / "best.safetensors"))
    if isinstance(network, Helped):
        network = network.alone()
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    size = sum(weight.numel() for weight in network.parameters())
    return inference.predict_split(network, FaceStore(run.store), split)["value"].to_numpy(), size


def in_parallel(jobs: int, call: Any, arguments: list[tuple[Any, ...]]) -> Any:
    """Yield each call's result as it comes; each process has one thread, so that none waits for another."""
    fresh = get_context("spawn")  # a copy of a process that has used threads, or a GPU, can break
    with ProcessPoolExecutor(jobs, fresh, torch.set_num_threads, (1,)) as pool:
        for future in [pool.submit(call, *each) for each in arguments]:
            yield future.result()


def rows_of(race: Race, everyone: list[Run], split: str, jobs: int) -> list[dict[str, Any]]:
    """One row a network: its errors on a split, of each seed, and how far its rival is."""
    said = in_parallel(jobs, answers, [(race, run, split) for run in everyone])
    found = dict(zip(everyone, said, strict=True))
    table = FaceStore(everyone[0].store).rows
    truth = table.loc[table["split"] == split, "age"].to_numpy()
    errors = {
        name: np.stack([np.abs(found[run][0] - truth) for run in everyone if run.name == name])
        for name in race.names
    }
    sizes = {run.name: found[run][1] for run in everyone}
    return [
        {"network": name, "split": split, "parameters": sizes[name], "mae": float(missed.mean())}
        | {"seeds": missed.mean(axis=1).tolist()}
        | compare(missed, errors[race.rival])
        for name, missed in errors.items()
    ]


def run(race: Race, name: str, description: str | None) -> None:
    """Run a race as a command, and write book/results/NAME.json."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawTextHelpFormatter,
        prog=f"tools.experiments.{name}",
    )
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs") / name)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=Recipe.batch_size)
    parser.add_argument("--start", type=Path, help="weights whose two streams all begin with: saves epochs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, of one thread each")
    parser.add_argument("--test", action="store_true", help="open the test split, once, at the end")
    asked = parser.parse_args()
    results.check_committed()
    place = Path("book/results") / f"{name}.json"
    plan = (asked.epochs, asked.batch_size, asked.start, asked.store, asked.runs)
    everyone = [Run(each, seed, *plan) for seed in asked.seeds for each in race.names]
    origin: dict[str, Any] = {"data": "UTKFace", "rival": race.rival}
    origin |= {"seeds": asked.seeds, "epochs": asked.epochs, "batch size": asked.batch_size}
    if asked.test:
        # The networks are those of the command before, which may have run on another machine.
        before = results.load(name)
        for key in ("seeds", "epochs", "batch size"):
            if (known := before["origin"].get(key)) != origin[key]:
                sys.exit(f"error: on validation, {key} was {known}, not {origin[key]}: give the same options")
        rows, origin["trained"] = before["metrics"], before["origin"]["trained"]
        rows = [row for row in rows if row["split"] != "test"] + rows_of(race, everyone, "test", asked.jobs)
    else:
        for line in in_parallel(asked.jobs, train, [(race, each) for each in everyone]):
            print(line, flush=True)
        rows, origin["trained"] = rows_of(race, everyone, "validation", asked.jobs), results.machine()
    for row in rows:
        print(
            f"{row['split']:10} {row['mae']:5.2f} years  {row['parameters']:9,} parameters  {row['network']}"
        )
    start = [asked.start] if asked.start else []
    results.record(place, rows, weights=start, stores=[FaceStore(asked.store)], **origin)
