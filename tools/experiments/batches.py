"""How large may a batch be? The same passes over UTKFace's train faces, in batches of several sizes.

    python -m tools.experiments.batches --store data/utkface --jobs 2

A larger batch means fewer steps, so each step is made longer: by the root of how many times larger the batch
is, or as many times. To save epochs, all start with the streams of a network that learned gender. Errors are
on validation. Stopped, the same command goes on. Writes book/results/batches.json.
"""

import argparse
from pathlib import Path

from ssrlib import FaceStore, Recipe, fit, results, weights
from ssrlib.training import fast, new_network
from tools.experiments.race import begin, in_parallel

START = weights.PRETRAINED / "utkface" / "gender.safetensors"
EPOCHS = 6
POWERS = {"root": 0.5, "linear": 1.0}
RUNS = [(size, rule) for size in (32, 128, 512, 2048) for rule in POWERS if size > 32 or rule == "root"]


def train(size: int, rule: str, store: Path, runs: Path) -> list[float]:
    """The errors after each epoch, in years."""
    rate = Recipe.learning_rate * (size / Recipe.batch_size) ** POWERS[rule]
    recipe = Recipe.best(epochs=EPOCHS, batch_size=size, learning_rate=rate, **fast())
    network = new_network(recipe)
    begin(network, START)
    history = fit(network, FaceStore(store), recipe, runs / f"{size}-{rule}", lambda _: None)
    maes: list[float] = history["mae"].tolist()
    return maes


def main(store: Path, runs: Path, jobs: int) -> None:
    errors = in_parallel(jobs, train, [(size, rule, store, runs) for size, rule in RUNS])
    rows = []
    for (size, rule), maes in zip(RUNS, errors, strict=True):
        rows.append({"batch": size, "rule": rule, "mae": min(maes), "epochs": maes})
        print(f"batches of {size:5}, {rule:6}: {min(maes):.2f} years", flush=True)
    data, faces = "UTKFace, validation", FaceStore(store)
    results.record("book/results/batches.json", rows, weights=[START], stores=[faces], data=data, seed=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs/batches"))
    parser.add_argument("--jobs", type=int, default=2, help="processes at once, of one thread each")
    arguments = vars(parser.parse_args())
    results.check_committed()
    main(**arguments)
