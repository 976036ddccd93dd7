"""When is fine-tuning worth it, and what is forgotten? From UTKFace to All-Age-Faces, with few faces or many.

    python -m tools.experiments.finetuning --home data/utkface --away data/aaf --jobs 2

Some faces of the second data set are learned in four ways: from scratch; from the network that knows the
first one; from that, with its streams frozen (but for the statistics of their batch norm); and from it, with
as many faces of the first data set in between. All look at about 32,000 faces, repeated where there are
fewer. Errors are on validation faces of both data sets; those of the second one chose each run's best epoch.
Stopped, the same command goes on. Writes book/results/finetuning.json.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssrlib import FaceStore, Recipe, fit, inference, results, weights
from ssrlib.network import SSRNet
from ssrlib.store import NO_REJECTS, write_store
from ssrlib.training import fast, new_network, start_from
from tools.experiments.race import in_parallel

START = weights.PRETRAINED / "utkface" / "age.safetensors"
SIZES = (50, 200, 1000, 9306)
WAYS = ("from scratch", "fine-tuned", "streams frozen", "with rehearsal")
LOOKS = 32_000
EPOCHS = 10
COLUMNS = ["path", "age", "gender", "source", "subject", "split"]


def few_faces(away: FaceStore, size: int, rng: np.random.Generator) -> np.ndarray:
    """The rows of so many train faces, drawn at random."""
    return rng.permutation(np.flatnonzero(away.rows["split"] == "train"))[:size]


def lesson(home: FaceStore, away: FaceStore, size: int, way: str, seed: int, folder: Path) -> FaceStore:
    """A store whose train split is one epoch of one way to learn, and whose validation split is away's."""
    rng, split = np.random.default_rng(seed), away.rows["split"].to_numpy()
    few = few_faces(away, size, rng)
    looks = max(len(few), LOOKS // EPOCHS // (2 if way == "with rehearsal" else 1))
    chosen = np.concatenate([np.resize(few, looks), np.flatnonzero(split == "validation")])
    parts = [(away.faces[chosen], away.rows.iloc[chosen][COLUMNS], NO_REJECTS)]
    if way == "with rehearsal":
        kept = rng.choice(np.flatnonzero(home.rows["split"] == "train"), looks, replace=False)
        parts.append((home.faces[kept], home.rows.iloc[kept][COLUMNS], NO_REJECTS))
    return write_store(folder, lambda _: parts, away.info["crop"])


def begun(way: str, recipe: Recipe) -> SSRNet:
    """The network that a way begins with."""
    if way == "from scratch":
        return new_network(recipe)
    network = start_from(START, recipe)
    if way == "streams frozen":
        for stream in (network.stream1, network.stream2):
            stream.requires_grad_(False)
    return network


def train(way: str, size: int, seed: int, home: Path, away: Path, runs: Path) -> dict[str, Any]:
    """Learn in one way, and measure on the validation faces of both data sets."""
    place = runs / way.replace(" ", "-") / str(size) / str(seed)
    old, new = FaceStore(home), FaceStore(away)
    rate = Recipe.learning_rate if way == "from scratch" else Recipe.learning_rate / 2
    faces = lesson(old, new, size, way, seed, place / "faces")
    epochs = round(LOOKS / (faces.rows["split"] == "train").sum())
    # To compile takes as long as half such a run.
    recipe = Recipe(epochs=epochs, learning_rate=rate, seed=seed, precision=fast()["precision"])
    network = begun(way, recipe)
    fit(network, faces, recipe, place, lambda _: None)
    errors = [mean_error(network, store) for store in (new, old)]
    print(f"{way}, {size} faces, seed {seed}: {errors[0]:.2f} years, at home {errors[1]:.2f}", flush=True)
    return {"way": way, "faces": size, "seed": seed, "away": errors[0], "home": errors[1]}


def mean_error(network: SSRNet, store: FaceStore) -> float:
    """The mean absolute error on a store's validation faces, each read together with its mirror image."""
    table = inference.predict_split(network, store, "validation")
    return float((table["value"] - table["truth"]).abs().mean())


def main(home: Path, away: Path, runs: Path, seeds: list[int], jobs: int) -> None:
    calls = [(way, size, seed, home, away, runs) for seed in seeds for size in SIZES for way in WAYS]
    rows = list(in_parallel(jobs, train, calls))
    before = weights.load(START)
    start = {"away": mean_error(before, FaceStore(away)), "home": mean_error(before, FaceStore(home))}
    print(pd.DataFrame(rows).groupby(["faces", "way"])[["away", "home"]].mean().round(2), start)
    found = {"before": start, "runs": rows}
    origin = {"data": "UTKFace, then All-Age-Faces, validation", "seeds": seeds}
    results.record(
        "book/results/finetuning.json",
        found,
        weights=[START],
        stores=[FaceStore(home), FaceStore(away)],
        **origin,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("data/utkface"))
    parser.add_argument("--away", type=Path, default=Path("data/aaf"))
    parser.add_argument("--runs", type=Path, default=Path("runs/finetuning"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, of one thread each")
    arguments = vars(parser.parse_args())
    results.check_committed()
    main(**arguments)
