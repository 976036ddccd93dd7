"""Do other networks draw the same maps of a face as the built-in age network? In book/results/maps.json.

    python -m tools.weights.maps [--without runs/helped-without-utkface/age/best.safetensors]

On the validation faces of UTKFace:

- `parts`: by how many years a square on each part of a face moves the answer, with 95 % margins of the mean,
  for three age groups of 150 faces each.
- `colors`: by how many years a square moves the answer, in either direction, if it has the face's mean color
  or another. Mean over 16 places and 60 faces.
- `alike`: how other networks' maps rank the places of a face, compared with the built-in network's: rank
  correlations of mean maps of 60 faces. Networks that have forgotten, in the stages or everywhere, are drawn
  three times, and the mean is that of the three correlations' sizes.

Two other networks have learned. One knows UTKFace alone: the built-in one began as it, and went on with
boxes of the faces' mean color over some faces, which the first has never seen. One has never seen UTKFace:
it learned from the two other collections, and began anew. Only averages are kept: no face can be seen.
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ssrlib import FaceStore, Recipe, explain, results, weights
from ssrlib.inference import predict
from ssrlib.landmarks import TEMPLATE
from ssrlib.training import new_network
from tools.weights.why import groups

BUILT_IN, BEFORE, WITHOUT = "built-in", "UTKFace alone", "without UTKFace"
FACES = 60
FORGOTTEN = {
    "the stages forgotten": ["fusions"],
    "everything forgotten": ["stream1", "stream2", "fusions"],
}
SPOTS = {
    "an eye": TEMPLATE[:2],
    "the nose": TEMPLATE[2:3],
    "a cheek": (TEMPLATE[:2] + TEMPLATE[3:]) / 2,
    "the mouth": TEMPLATE[3:].mean(axis=0, keepdims=True),
}
COLORS = {"its mean color": None, "gray": 128, "black": 0, "white": 255}


def parts(name: str, network, by_age: dict[str, np.ndarray]) -> list[dict]:
    found = []
    for ages, faces in by_age.items():
        before = predict(network, faces).astype(float)
        for part, points in SPOTS.items():
            each = np.mean([predict(network, covered(faces, point)) - before for point in points], axis=0)
            margin = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
            numbers = {"years": round(float(each.mean()), 3), "margin": round(float(margin), 3)}
            found.append({"network": name, "ages": ages, "part": part} | numbers)
    return found


def covered(faces: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Faces with the square covered that is nearest to a point, of all squares in a map of `occlusion`."""
    left, top = 4 * np.rint((point - 6) / 4).astype(int)
    changed = faces.copy()
    changed[:, top : top + 12, left : left + 12] = faces.mean(axis=(1, 2), keepdims=True)
    return changed


def colors(name: str, network, faces: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"network": name}
    for called, color in COLORS.items():
        moves = explain.occlusion(network, faces, stride=16, color=color)
        row[called] = round(float(np.abs(moves).mean()), 3)
    return row


def alike(networks: dict[str, Any], faces: np.ndarray) -> list[dict]:
    built_in = networks[BUILT_IN]
    trained = maps(built_in, faces)

    def compared(network) -> dict[str, float]:
        kinds = maps(network, faces).items()
        return {kind: spearmanr(trained[kind], seen, axis=None).statistic for kind, seen in kinds}

    found = []
    for name, lost in FORGOTTEN.items():
        three = pd.DataFrame([compared(forgetful(built_in, lost, seed)) for seed in range(3)])
        found.append(row(name, three.abs().mean()))
    for name in (BEFORE, WITHOUT):
        found.append(row(name, pd.Series(compared(networks[name]))))
    return found


def row(name: str, correlations: pd.Series) -> dict[str, Any]:
    return {"network": name} | {str(kind): round(float(value), 3) for kind, value in correlations.items()}


def maps(network, faces: np.ndarray) -> dict[str, np.ndarray]:
    moves = explain.occlusion(network, faces, patch=16, stride=8)
    mean = moves.mean(axis=0)
    return {
        "occlusion": mean,
        "its size": np.abs(mean),
        "mean of sizes": np.abs(moves).mean(axis=0),
        "gradient": explain.gradient(network, faces).mean(axis=0),
    }


def forgetful(network, lost: list[str], seed: int):
    blank, untrained = copy.deepcopy(network), new_network(Recipe(seed=seed))
    for part in lost:
        setattr(blank, part, getattr(untrained, part))
    return blank.eval()


def main(store: FaceStore, without: Path) -> None:
    path, before = weights.pretrained("age"), weights.PRETRAINED / "utkface" / "age.safetensors"
    files = {BUILT_IN: path, BEFORE: before, WITHOUT: without}
    networks = {name: weights.load(file) for name, file in files.items()}
    faces, rows = store.split("validation")
    by_age = groups(faces, rows["age"].to_numpy())
    some = faces[np.random.default_rng(0).choice(len(faces), FACES, replace=False)]
    measured = {
        "parts": [part for name, network in networks.items() for part in parts(name, network, by_age)],
        "colors": [colors(name, networks[name], some) for name in (BUILT_IN, BEFORE)],
        "alike": alike(networks, some),
    }
    results.record(
        "book/results/maps.json",
        measured,
        weights=[path],
        stores=[store],
        data="UTKFace, validation",
        other={name: weights.weights_sha256(files[name]) for name in (BEFORE, WITHOUT)},
        seed=0,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    run = Path("runs/helped-without-utkface/age/best.safetensors")
    parser.add_argument("--without", type=Path, default=run, help="weights that never saw UTKFace")
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store), arguments.without)
