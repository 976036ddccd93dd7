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

from ssrlib import detectors, metrics, results
from ssrlib.datasets import aaf, appa_real

READERS = {"aaf": aaf.rows, "appa": appa_real.rows}


def missed_by(store: Path, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a group: how many people, the share that was missed, and its interval."""
    rejects = pd.read_parquet(store / "rejects.parquet")
    rows = rows[rows["split"] == "test"].reset_index(drop=True)
    missed = pd.DataFrame({"missed": rows["path"].isin(rejects["path"]).astype(float)})
    groups = {"everybody": pd.Series("everybody", rows.index), "age": metrics.decades(rows["age"])}
    if "gender" in rows and rows["gender"].notna().all():
        groups["gender"] = rows["gender"]
    return [
        {"by": by, "group": row["group"], "people": row["faces"], "missed": row["missed"]}
        | {"interval": row["intervals"]["missed"]}
        for by, names in groups.items()
        for row in metrics.by_group(missed, names)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/ and appa/")
    arguments = parser.parse_args()
    results.check_committed()
    measured = [
        {"source": name} | row
        for name, read in READERS.items()
        for row in missed_by(Path("data") / name, read(arguments.data / name / f"{name}.tar")[0])
    ]
    print(pd.DataFrame(measured).round(3).to_string(index=False))
    results.record(
        "book/results/missed.json",
        measured,
        weights=(),
        finder=detectors.finder_sha256(),
        data="All-Age-Faces and APPA-REAL, test splits",
    )


if __name__ == "__main__":
    main()
