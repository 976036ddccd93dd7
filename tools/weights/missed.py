"""Whom does the finder miss? In book/results/missed.json.

    python -m tools.weights.missed DATA

Each photo of All-Age-Faces and APPA-REAL shows somebody whose age is known. `ssrlib prepare` rejected those
in which the finder saw no face. Counted is who was missed, by age and gender, on the test splits, whose
photos no network of ours has learned from. (Who was found may have been somebody else in the photo.)
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from ssrlib import FaceStore, detectors, metrics, results
from ssrlib.datasets import aaf, appa_real

# The names of the source, of its folder, and who reads it.
SOURCES = [("aaf", "aaf", aaf.rows), ("appa_real", "appa", appa_real.rows)]


def missed_by(store: Path, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a group: how many people, the share that was missed, and Wilson's interval, also for none."""
    opened = FaceStore(store)
    if opened.info["crop"]["detector"] != "finder":
        raise SystemExit(f"{store}: its faces were found by another detector; prepare it again")
    rejects = opened.rejects[opened.rejects["reason"] == "no face was found"]
    rows = rows[rows["split"] == "test"]
    groups = {"everybody": pd.Series("everybody", rows.index), "age": metrics.decades(rows["age"])}
    if "gender" in rows and rows["gender"].notna().all():
        groups["gender"] = rows["gender"]
    missed = rows["path"].isin(rejects["path"])
    found = []
    for by, names in groups.items():
        for name, part in missed.groupby(names.to_numpy()):
            low, high = binomtest(int(part.sum()), len(part)).proportion_ci(method="wilson")
            row = {"by": by, "group": name, "people": len(part), "missed": float(part.mean())}
            found.append(row | {"interval": [float(low), float(high)]})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/ and appa/")
    arguments = parser.parse_args()
    results.check_committed()
    measured = [
        {"source": name} | row
        for name, folder, read in SOURCES
        for row in missed_by(Path("data") / folder, read(arguments.data / folder / f"{folder}.tar")[0])
    ]
    print(pd.DataFrame(measured).round(3).to_string(index=False))
    results.record(
        "book/results/missed.json",
        measured,
        weights=(),
        stores=[FaceStore(Path("data") / folder) for _, folder, _ in SOURCES],
        finder=detectors.finder_sha256(),
        data="All-Age-Faces and APPA-REAL, test splits",
    )


if __name__ == "__main__":
    main()
