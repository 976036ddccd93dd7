"""What moves the built-in age network, averaged over UTKFace's validation faces: book/results/why.json.

    python -m tools.weights.why

- `occlusion`: for three age groups of 150 faces each, by how many years covering a square moves the
  answer, mean over the faces.
- `gradient`: how strongly the answer reacts to each 2 x 2 pixels, mean over the same faces.
- `stages`: what each stage adds to the answer, mean by decade of age, over the whole split.
- `race by age`: the mean absolute error in each decade and race, over the whole split.
- `last digit`: how often the labels of people from 20 to 89 end in each digit, over the whole store.

Only averages are kept: no face can be seen in them.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ssrlib import FaceStore, explain, inference, metrics, results, weights

GROUPS = {"under 15": (0, 15), "20 to 39": (20, 40), "60 and over": (60, 200)}
FACES = 150


def maps(network, faces: np.ndarray, ages: np.ndarray) -> dict:
    rng, occlusion, gradients = np.random.default_rng(0), {}, []
    for name, (low, high) in GROUPS.items():
        there = np.flatnonzero((ages >= low) & (ages < high))
        chosen = faces[rng.choice(there, min(FACES, len(there)), replace=False)]
        occlusion[name] = explain.occlusion(network, chosen).astype(float).mean(axis=0).round(3).tolist()
        gradients.append(explain.gradient(network, chosen).astype(float))
    gradient = np.concatenate(gradients).mean(axis=0).reshape(32, 2, 32, 2).mean(axis=(1, 3))
    return {"occlusion": occlusion, "gradient": gradient.round(5).tolist()}


def stages(network, faces: np.ndarray, ages: pd.Series) -> list[dict]:
    terms = pd.DataFrame(explain.stage_terms(network, faces).astype(float))
    found = terms.groupby(ages // 10)
    return [
        {"ages": f"{decade * 10:.0f}-{decade * 10 + 9:.0f}", "faces": len(part)}
        | {"terms": part.mean().round(3).tolist()}
        for decade, part in found
    ]


def race_by_age(network, store: FaceStore) -> list[dict]:
    table = inference.predict_split(network, store, "validation")
    table["error"] = (table["value"] - table["truth"]).abs()
    cells = table.groupby([metrics.decades(table["age"]), "race"])["error"]
    return [
        {"ages": ages, "race": race, "faces": len(part), "mae": round(float(part.mean()), 3)}
        for (ages, race), part in cells
    ]


def main(store: FaceStore) -> None:
    path = weights.pretrained("age")
    network = weights.load(path)
    faces, rows = store.split("validation")
    measured = maps(network, faces, rows["age"].to_numpy())
    measured["stages"] = stages(network, faces, rows["age"])
    measured["race by age"] = race_by_age(network, store)
    grown = store.rows["age"][store.rows["age"].between(20, 89)].astype(int)
    measured["last digit"] = grown.mod(10).value_counts(normalize=True).sort_index().round(4).tolist()
    results.record(
        "book/results/why.json",
        measured,
        weights=[path],
        store=store,
        data="UTKFace, validation; last digit: all splits",
        seed=0,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store))
