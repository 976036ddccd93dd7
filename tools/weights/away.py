"""How do the networks read people of each data set, also of one they never saw? In book/results/away.json.

    python -m tools.weights.away --without aaf runs/without-aaf --without appa_real runs/without-appa_real

Measured are the test faces of each source in data/faces: with the built-in networks; with those that know
UTKFace alone (ssrlib/pretrained/utkface); and with those trained on all sources but one, on that one. Such a
run is trained from a store that `ssrlib prepare join` made of the others, and is calibrated here on the
others' validation faces.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssrlib import FaceStore, SSRNet, inference, metrics, results, weights
from ssrlib.calibration import Calibration, age_interval, fit, probability
from ssrlib.targets import TARGETS, Target

KEPT = ("mae", "bias", "coverage", "width", "accuracy", "intervals")


def answers(network: SSRNet, store: FaceStore, target: Target) -> pd.DataFrame:
    """What a network says to all validation and test faces, not calibrated."""
    return pd.concat([inference.predict_split(network, store, split) for split in ("validation", "test")])


def measured(table: pd.DataFrame, calibration: Calibration, target: Target) -> dict[str, Any]:
    """The metrics of some answers, with that calibration."""
    values, differences = table["value"].to_numpy(), table["difference"].to_numpy()
    if target.classes:
        table = table.assign(value=probability(calibration, values))
    else:
        low, high = age_interval(calibration, values, differences)
        table = table.assign(low=low, high=high)
    found = metrics.summary(metrics.metrics_per_face(table))
    return {"faces": len(table)} | {name: found[name] for name in KEPT if name in found}


def learned(table: pd.DataFrame, target: Target) -> Calibration:
    """The calibration that a network's answers to validation faces teach."""
    chosen = table[table["split"] == "validation"]
    return fit(target, *(chosen[name].to_numpy() for name in ("value", "difference", "truth")))


def rows_of(
    name: str, path: Path, store: FaceStore, target: Target, known: list[str], asked: list[str]
) -> list[dict[str, Any]]:
    """One row for each source that is asked, calibrated as the card says, or else on the sources known."""
    table = answers(weights.load(path), store, target)
    calibration = weights.read_card(path).get("calibration")
    calibration = calibration or learned(table[table["source"].isin(known)], target)
    rows = []
    for source in asked:
        part = table[(table["source"] == source) & (table["split"] == "test")]
        if len(part):
            row = {"target": target.name, "network": name, "source": source}
            rows.append(row | measured(part, calibration, target))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--without", nargs=2, action="append", default=[], metavar=("SOURCE", "RUN"))
    arguments = parser.parse_args()
    results.check_committed()
    store, found = FaceStore(arguments.store), []
    sources = sorted(store.rows["source"].unique())
    for target in TARGETS.values():
        name = f"{target.name}.safetensors"
        home, built_in = weights.PRETRAINED / "utkface" / name, weights.PRETRAINED / name
        found += rows_of("UTKFace alone", home, store, target, ["utkface"], sources)
        found += rows_of("built in", built_in, store, target, sources, sources)
        for source, run in arguments.without:
            path = Path(run) / target.name / "best.safetensors"
            if path.is_file():
                others = [other for other in sources if other != source]
                found += rows_of("without it", path, store, target, others, [source])
    shown = pd.DataFrame(found).drop(columns="intervals").replace({np.nan: None})
    print(shown.round(3).to_string(index=False))
    results.record("book/results/away.json", found, weights=weights.built_in(), store=store, split="test")


if __name__ == "__main__":
    main()
