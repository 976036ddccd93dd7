"""How much wider must an age's range be to hold for people of a collection that the network never saw?

    python -m tools.weights.strangers --without aaf runs/helped-without-aaf \\
        --without appa_real runs/helped-without-appa --without utkface runs/helped-without-utkface

Each run knows all sources but one. It is calibrated on the validation faces of those it knows, and tried on
the validation faces of the other, with bands of errors 1.00, 1.05, ... times as wide. The smallest factor
with which nine in ten are inside, on average over the sources left out, is what tools/weights/calibrate.py
widens the built-in bands by. Measured as well: can a single face be told to be a stranger, by how far it
lies from the train faces? That is Mahalanobis's distance in the means of both streams' last maps, a plain
form of Lee et al. 2018. Writes book/results/strangers.json.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import mahalanobis
from scipy.stats import mannwhitneyu, spearmanr
from torch import Tensor, nn

from ssrlib import FaceStore, inference, results, weights
from ssrlib.calibration import COVERAGE, age_interval, fit, widened
from ssrlib.network import SSRNet
from ssrlib.targets import AGE
from tools.experiments.intervals import features

FACTORS = [round(1 + 0.05 * i, 2) for i in range(21)]


class LastMaps(nn.Module):
    """The means of both streams' last maps: 48 numbers for each face."""

    def __init__(self, network: SSRNet):
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        return torch.cat([last.mean((2, 3)) for last in self.network.maps(faces)[-1]], dim=1)


def distances(network: SSRNet, store: FaceStore, known: list[str]) -> np.ndarray:
    """How far each validation face lies from the train faces of the known sources."""
    faces, rows = store.split("train")
    train, asked = (
        inference.predict(LastMaps(network), some)
        for some in (faces[rows["source"].isin(known).to_numpy()], store.split("validation")[0])
    )
    center, inverse = train.mean(axis=0), np.linalg.pinv(np.cov(train.T))
    return np.array([mahalanobis(face, center, inverse) for face in asked])


def held(size: np.ndarray, features: np.ndarray, strange: np.ndarray) -> float:
    """The share of strangers off by at most a linear fit's guess, times what holds 90 % of the others."""
    line, *_ = np.linalg.lstsq(features[~strange], size[~strange], rcond=None)
    scaled = size / np.maximum(features @ line, 1)
    return float((scaled[strange] <= np.quantile(scaled[~strange], COVERAGE)).mean())


def without(source: str, run: Path, store: FaceStore) -> dict[str, Any]:
    """What a network that never saw a source makes of it."""
    network = weights.load(run / "age" / "best.safetensors")
    table = inference.predict_split(network, store, "validation")
    strange = (table["source"] == source).to_numpy()
    values, apart, truth = (table[name].to_numpy(float) for name in ("value", "difference", "truth"))
    calibration = fit(AGE, values[~strange], apart[~strange], truth[~strange])
    inside = []
    for factor in FACTORS:
        low, high = age_interval(widened(calibration, factor), values[strange], apart[strange])
        inside.append(float(((low <= truth[strange]) & (truth[strange] <= high)).mean()))
    far = distances(network, store, sorted(set(table["source"]) - {source}))
    size = np.abs(values - truth)
    ranks = mannwhitneyu(far[strange], far[~strange]).statistic
    usual = features(values, apart)
    return {
        "source": source,
        "faces": int(strange.sum()),
        "inside": inside,
        "farther": float(ranks / strange.sum() / (~strange).sum()),
        "distance and error": float(spearmanr(far[strange], size[strange]).statistic),
        "inside, scaled": held(size, usual, strange),
        "inside, scaled by distance, too": held(size, np.column_stack([usual, far]), strange),
    }


def smallest(rows: list[dict[str, Any]]) -> float:
    """The smallest factor with which nine in ten are inside, on average over the rows."""
    enough = np.mean([row["inside"] for row in rows], axis=0) >= COVERAGE
    if not enough.any():
        raise ValueError(f"even bands {FACTORS[-1]} times as wide hold less than {COVERAGE:.0%}")
    return FACTORS[int(enough.argmax())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--without", nargs=2, action="append", required=True, metavar=("SOURCE", "RUN"))
    arguments = parser.parse_args()
    if len(arguments.without) < 2:
        parser.error("name at least two runs: what the others teach is tried on each")
    results.check_committed()
    store = FaceStore(arguments.store)
    rows = [without(source, Path(run), store) for source, run in arguments.without]
    for row in rows:
        # What the other sources teach is tried on this one.
        row["factor of the others"] = smallest([other for other in rows if other is not row])
    found = {"factor": smallest(rows), "factors": FACTORS, "rows": rows}
    print(pd.DataFrame(rows).drop(columns="inside").round(3).to_string(index=False))
    print(f"factor: {found['factor']}")
    others = {source: Path(run) / "age" / "best.safetensors" for source, run in arguments.without}
    results.record(
        "book/results/strangers.json",
        found,
        weights=(),
        stores=[store],
        split="validation",
        other={f"without {source}": weights.weights_sha256(path) for source, path in others.items()},
    )


if __name__ == "__main__":
    main()
