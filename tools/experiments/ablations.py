"""What each part of SSR-Net is worth: without it, on UTKFace's validation split.

    python -m tools.experiments.ablations --store data/utkface

Writes book/results/ablations.json. Every run is short, so its errors are larger than the built-in
network's; the rows compare with one another. Stopped, the same command goes on.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ssrlib import FaceStore, Recipe, SSRNet, fit, inference, metrics, results
from ssrlib.heads import SSR
from ssrlib.targets import AGE
from ssrlib.training import fast, new_network

EPOCHS = 3


class Ones(nn.Module):
    """In place of a stream's features: ones, which change nothing when they are multiplied."""

    def __init__(self, features: int):
        super().__init__()
        self.features = features

    def forward(self, faces_or_map: Tensor) -> Tensor:
        return faces_or_map.new_ones(len(faces_or_map), self.features)


def without_stream(network: SSRNet, stream: str) -> SSRNet:
    setattr(network, stream, nn.ModuleList(nn.Identity() for _ in range(4)))
    for head, (_, _, features) in zip(network.fusions, network.STAGES, strict=True):
        setattr(head, stream, Ones(features))
    return network


VARIANTS = {
    "as it is": new_network,
    "no dynamic range (both lambdas 0)": SSR["SSR without dynamic range"],
    "one stage of 27 bins": lambda recipe: new_network(recipe, bins=(27,)),
    "one stage of 101 bins": lambda recipe: new_network(recipe, bins=(101,)),
    "three stages of 5 bins": lambda recipe: new_network(recipe, bins=(5, 5, 5)),
    "stream 1 only": lambda recipe: without_stream(new_network(recipe), "stream2"),
    "stream 2 only": lambda recipe: without_stream(new_network(recipe), "stream1"),
    "softmax instead of ReLU for p": SSR["SSR with softmax"],
    "heads that cannot wake": new_network,
}


def train(name: str, seed: int, store: FaceStore, folder: Path) -> tuple[SSRNet, float]:
    recipe = Recipe(
        epochs=EPOCHS,
        seed=seed,
        waking=name != "heads that cannot wake",
        **fast(),
    )
    network = VARIANTS[name](recipe)
    history = fit(network, store, recipe, folder / name.replace(" ", "-") / str(seed))
    return network, float(history["mae"].min())


def error_on_swapped(network: SSRNet, store: FaceStore) -> float:
    """The error when faces come with red and blue swapped."""
    faces, rows = store.split("validation")
    values = inference.predict(network, np.ascontiguousarray(faces[..., ::-1]))
    return metrics.score(values, rows["age"].to_numpy(), AGE)["mae"]


def main(store: FaceStore, folder: Path, seeds: list[int]) -> None:
    errors, sizes = defaultdict(list), {}
    for seed in seeds:
        for name in VARIANTS:
            network, mae = train(name, seed, store, folder)
            errors[name].append(mae)
            sizes[name] = sum(weight.numel() for weight in network.parameters())
            if name == "as it is":
                swapped = "red and blue swapped when read"
                errors[swapped].append(error_on_swapped(network, store))
                sizes[swapped] = sizes[name]
    measured = [
        {"network": name, "parameters": sizes[name], "mae": float(np.mean(maes)), "seeds": maes}
        for name, maes in errors.items()
    ]
    for row in measured:
        print(f"{row['mae']:6.2f} years  {row['parameters']:7,} parameters  {row['network']}")
    origin = {"data": "UTKFace, validation", "seeds": seeds, "epochs": EPOCHS}
    results.record("book/results/ablations.json", measured, weights=(), stores=[store], **origin)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store), arguments.runs, arguments.seeds)
