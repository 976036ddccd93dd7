"""Does it help to train along a chain of data sets? Three seeds, with and without the chain.

    python -m tools.experiments.chain --store data/utkface

The chain is drawn faces -> UTKFace without its Asian faces -> UTKFace's Asian faces, the counterpart of
the paper's IMDB -> WIKI -> MegaAge-Asian. Against it: the last set alone, for five times as many
epochs. Errors are on the Asian faces of the test split, each face read together with its mirror
image. Writes book/results/chain.json. Stopped, the same command goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssrlib import FaceStore, Recipe, fit, inference, metrics, results, store, weights
from ssrlib.datasets import synthetic
from ssrlib.targets import AGE
from ssrlib.training import chain, fast, new_network

SEEDS = (0, 1, 2)
STEPS = ("drawn", "others", "asian")
FIRST = Recipe(epochs=12, **fast())
LATER = replace(FIRST, epochs=3, learning_rate=0.004)
ALONE = replace(FIRST, epochs=15)


def part(whole: FaceStore, chosen: np.ndarray, path: Path) -> FaceStore:
    """A store of some of another's faces."""
    places = np.flatnonzero(chosen)

    def chunks(_):
        yield whole.faces[places], whole.rows.iloc[places].reset_index(drop=True), store.NO_REJECTS

    return FaceStore(path) if path.is_dir() else store.write_store(path, chunks, whole.info["crop"])


def mae(network, faces: np.ndarray, ages: np.ndarray) -> float:
    values = (inference.predict(network, faces) + inference.predict(network, faces[:, :, ::-1])) / 2
    return metrics.score(values, ages, AGE)["mae"]


def main(whole: FaceStore, folder: Path) -> None:
    asian = (whole.rows["race"] == "Asian").to_numpy()
    drawn = folder / "drawn"
    stores = [
        FaceStore(drawn) if drawn.is_dir() else synthetic.store(4000, path=drawn),
        part(whole, ~asian, folder / "others"),
        part(whole, asian, folder / "asian"),
    ]
    faces, rows = stores[-1].split("test")
    ages = rows["age"].to_numpy(np.float32)
    errors: dict[str, list[float]] = {name: [] for name in (*STEPS, "asian alone")}
    for seed in SEEDS:
        first, later, alone = (replace(recipe, seed=seed) for recipe in (FIRST, LATER, ALONE))
        chain(stores, first, folder / str(seed), later)
        for number, name in enumerate(STEPS, start=1):
            network = weights.load(folder / str(seed) / f"{number}-{name}" / "best.safetensors")
            errors[name].append(mae(network, faces, ages))
        network = new_network(alone)
        fit(network, stores[-1], alone, folder / str(seed) / "alone")
        errors["asian alone"].append(mae(network, faces, ages))
    sizes = {s.path.name: int((s.rows["split"] == "train").sum()) for s in stores}
    measured = {"test faces": len(faces), "train faces": sizes, "mae": errors}
    for name, values in errors.items():
        print(f"after {name:12} {np.mean(values):5.2f} years ({', '.join(f'{v:.2f}' for v in values)})")
    origin = {"data": "drawn faces and UTKFace", "seeds": SEEDS}
    results.record("book/results/chain.json", measured, weights=(), stores=[whole], **origin)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs/chain"))
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store), arguments.runs)
