"""How do the networks read people of each data set, also of one they never saw? In book/results/away.json.

    python -m tools.weights.away --without aaf runs/helped-without-aaf \\
        --without appa_real runs/helped-without-appa --without utkface runs/helped-without-utkface

Measured are the test faces of each source in data/faces: with the built-in networks; with those that know
UTKFace alone (ssrlib/pretrained/utkface); and with those trained on all sources but one, on that one. Such
a run is trained from a store that `ssrlib prepare join` made of the others, then helped (helped.py beside
this file), and is calibrated here on the others' validation faces. Its ranges are widened as the built-in
ones are, but by what the two other runs have taught (tools/weights/strangers.py).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssrlib import FaceStore, inference, metrics, results, weights
from ssrlib.calibration import age_interval, fit, widened
from ssrlib.targets import AGE, TARGETS, target_of

KEPT = ("faces", "mae", "bias", "coverage", "width", "accuracy", "intervals")


def rows_of(
    name: str, path: Path, store: FaceStore, known: list[str], asked: list[str], factor: float = 1
) -> list[dict[str, Any]]:
    """One row for each source that is asked, calibrated as the card says, or else on the sources known.

    In the second case ages' ranges are then wider by the factor.
    """
    network = weights.load(path)
    target = target_of(network)
    calibration = weights.read_card(path).get("calibration")
    if not calibration:
        table = inference.predict_split(network, store, "validation")
        table = table[table["source"].isin(known)]
        columns = (table[column].to_numpy() for column in ("output", "difference", "truth"))
        calibration = fit(target, *columns)
        if target is AGE:
            calibration = widened(calibration, factor)
    table = inference.predict_split(network, store, "test", calibration)
    table = table[table["source"].isin(asked)]
    row = {"target": target.name, "network": name}
    rows = [
        row | {"source": group["group"]} | {key: group[key] for key in KEPT if key in group}
        for group in metrics.by_group(metrics.metrics_per_face(table, target), table["source"])
    ]
    if "bands" in calibration:
        narrow = widened(calibration, 1 / calibration.get("widened", 1.0))
        low, high = age_interval(narrow, table["value"].to_numpy(), table["difference"].to_numpy())
        inside = table["truth"].between(low, high).groupby(table["source"]).mean()
        rows = [one | {"coverage before widening": float(inside[one["source"]])} for one in rows]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--without", nargs=2, action="append", default=[], metavar=("SOURCE", "RUN"))
    arguments = parser.parse_args()
    results.check_committed()
    store = FaceStore(arguments.store)
    rows = results.load("strangers")["metrics"]["rows"]
    factors = {row["source"]: row["factor of the others"] for row in rows}
    sources, found, others = sorted(store.rows["source"].unique()), list[dict[str, Any]](), dict[str, str]()
    for target in TARGETS.values():
        name = f"{target.name}.safetensors"
        home, built_in = weights.PRETRAINED / "utkface" / name, weights.PRETRAINED / name
        found += rows_of("built in", built_in, store, sources, sources)
        asked = [("UTKFace alone", home, ["utkface"], sources)]
        for source, run in arguments.without:
            known = [other for other in sources if other != source]
            asked.append(("without it", Path(run) / target.name / "best.safetensors", known, [source]))
        for network, path, known, strange in asked:
            if path.is_file():
                factor = factors[strange[0]] if network == "without it" else 1
                found += rows_of(network, path, store, known, strange, factor)
                others[f"{network}: {target.name}, {', '.join(strange)}"] = weights.weights_sha256(path)
    shown = pd.DataFrame(found).drop(columns="intervals").replace({np.nan: None})
    print(shown.round(3).to_string(index=False))
    results.record(
        "book/results/away.json",
        found,
        weights=weights.built_in(),
        stores=[store],
        split="test",
        other=others,
    )


if __name__ == "__main__":
    main()
