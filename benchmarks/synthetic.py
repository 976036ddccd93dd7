"""Are drawn faces good enough to learn from? Speed of drawing on one core, and three ways to read ages.

    python -m benchmarks.synthetic

Side by side on the same 4,000 faces: always the median age, ridge regression on all pixels (its
penalty chosen on validation), and SSR-Net after 40 epochs. Errors are on the test split.
"""

import tempfile
import time

import cv2
import numpy as np

from ssrlib import Recipe, fit, metrics, results
from ssrlib.datasets import synthetic
from ssrlib.training import new_network


def ridge(splits: dict) -> float:
    """Mean absolute error of linear regression on pixels, in years."""
    pixels = {name: faces.reshape(len(faces), -1) / 255 - 0.5 for name, (faces, _) in splits.items()}
    ages = {name: rows["age"].to_numpy() for name, (_, rows) in splits.items()}
    train, mean = pixels["train"], ages["train"].mean()
    gram = train @ train.T
    errors = {}
    for penalty in (10.0, 100.0, 1000.0, 10_000.0):
        weights = train.T @ np.linalg.solve(gram + penalty * np.eye(len(gram)), ages["train"] - mean)
        error = {name: np.abs(pixels[name] @ weights + mean - ages[name]).mean() for name in splits}
        errors[error["validation"]] = error["test"]
    return float(errors[min(errors)])


def main() -> None:
    results.check_committed()
    cv2.setNumThreads(1)
    start = time.process_time()
    synthetic.generate(400, seed=1)
    seconds = (time.process_time() - start) * 10
    with tempfile.TemporaryDirectory() as folder:
        store = synthetic.store(4000, path=f"{folder}/drawn")
        splits = {name: store.split(name) for name in ("train", "validation", "test")}
        recipe = Recipe(epochs=40, batch_size=32)
        network = new_network(recipe)
        fit(network, store, recipe)
        measured = metrics.evaluate(network, store, "test")
    measured = {
        "seconds of one core for 4,000 faces": seconds,
        "mae of the median": measured["constant"]["mae"],
        "mae of ridge regression": ridge(splits),
        "mae of SSR-Net": measured["mae"],
    }
    for name, value in measured.items():
        print(f"{value:6.1f}  {name}")
    place, data = "book/results/benchmark-synthetic.json", "4,000 drawn faces, seed 0"
    results.record(place, measured, weights=(), data=data, seed=0)


if __name__ == "__main__":
    main()
