"""The same photo twice: near-duplicates within each data set, across its splits, and what they are worth.

    python -m tools.experiments.duplicates --store data/faces

Two faces count as one photo if a difference hash, the sign of 256 differences between neighboring patches, is
the same in all but a few places, also when one of them is mirrored. Of two other faces about half of the
places differ. Writes book/results/duplicates.json.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ssrlib import FaceStore, results, weights
from ssrlib.inference import predict_split
from ssrlib.metrics import metrics_per_face, summary
from ssrlib.targets import AGE

SIDE = 16
# Up to here the labels of a pair differ by about as much as those of identical files; beyond, by more.
ALIKE = 24
LIMITS = (-1, 0, 8, 16, 24, 32, 40)
CHUNK = 512


def difference_hash(faces: np.ndarray) -> np.ndarray:
    """Is each patch brighter than its left neighbor? N x 256, as -1 and 1."""
    signs = []
    for face in faces:
        gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(gray, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(int)
        signs.append(np.where(np.diff(small) > 0, 1, -1).ravel())
    return np.array(signs, np.float32)


def alike(store: FaceStore) -> pd.DataFrame:
    """All pairs of faces that could be one photo: `first`, `second` and `distance`, from 0 to 40 places."""
    plain = difference_hash(store.faces)
    mirrored = difference_hash(store.faces[:, :, ::-1])
    pairs = []
    for start in range(0, len(plain), CHUNK):
        part = plain[start : start + CHUNK]
        apart = (SIDE**2 - np.maximum(part @ plain.T, part @ mirrored.T)) / 2
        first, second = np.nonzero(apart <= LIMITS[-1])
        later = second > first + start
        first, second = first[later], second[later]
        pairs.append(
            pd.DataFrame({"first": first + start, "second": second, "distance": apart[first, second]})
        )
    return pd.concat(pairs, ignore_index=True)


def _apart(years: pd.Series) -> dict[str, float]:
    return {"pairs": len(years), "share": float((years > 0).mean()), "mean years": float(years.mean())}


def of_source(source: str, pairs: pd.DataFrame, store: FaceStore, tables: dict[str, pd.DataFrame]) -> dict:
    """What the copies within one data set are; `tables` are the splits as the built-in network reads them."""
    rows = store.rows.reset_index(drop=True)
    own = (rows["source"] == source).to_numpy()
    pairs = pairs[own[pairs["first"]] & own[pairs["second"]]].copy()
    ages = rows["age"].to_numpy()
    pairs["years"] = np.abs(ages[pairs["first"]] - ages[pairs["second"]])
    by_distance = pairs.groupby(pd.cut(pairs["distance"], LIMITS), observed=True)["years"].agg(
        ["size", "mean"]
    )
    pairs = pairs[pairs["distance"] <= ALIKE]
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    identical = (store.faces[first] == store.faces[second]).all(axis=(1, 2, 3))
    splits = rows["split"].to_numpy()
    between = pd.Series(
        [" and ".join(sorted(pair)) for pair in zip(splits[first], splits[second], strict=True)]
    )
    measured: dict[str, Any] = {
        "faces": int(own.sum()),
        "pairs": len(pairs),
        "pairs between": between.value_counts().to_dict(),
        "labels differ": _apart(pairs["years"]),
        "labels of identical files differ": _apart(pairs["years"][identical]),
        "by distance": [
            {"up to": limit, "pairs": int(row["size"]), "mean years": float(row["mean"])}
            for limit, (_, row) in zip(LIMITS[1:], by_distance.iterrows(), strict=True)
        ],
    }
    copied = np.zeros(len(rows), bool)
    copied[first[splits[second] == "train"]] = True
    copied[second[splits[first] == "train"]] = True
    for split, table in tables.items():
        here = (table["source"] == source).to_numpy()
        per_face = metrics_per_face(table[here], AGE)
        known = copied[own & (splits == split)]
        measured[split] = {
            "faces": int(here.sum()),
            "with a copy in train": int(known.sum()),
            "all": summary(per_face[["mae"]]),
            "without those": summary(per_face.loc[~known, ["mae"]]),
            "those alone": summary(per_face.loc[known, ["mae"]]),
        }
    return measured


def main(store: FaceStore) -> None:
    path = weights.pretrained("age")
    network, calibration = weights.load(path), weights.read_card(path).get("calibration")
    tables = {split: predict_split(network, store, split, calibration) for split in ("validation", "test")}
    pairs, measured = alike(store), {}
    for source in sorted(store.rows["source"].unique()):
        measured[source] = of_source(source, pairs, store, tables)
        print(source, measured[source])
    results.record("book/results/duplicates.json", measured, weights=[path], stores=[store])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    arguments = parser.parse_args()
    results.check_committed()
    main(FaceStore(arguments.store))
