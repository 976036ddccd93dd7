"""Calibrate the built-in weights on all validation splits, and measure them on UTKFace's test split.

    python -m tools.weights.calibrate age
    python -m tools.weights.calibrate gender

Run it after tools/weights/publish.py and, for age, tools/weights/strangers.py, which says by how much the
ranges are widened. It changes the card of ssrlib/pretrained/TARGET.safetensors, not its tensors, and writes
book/results/TARGET-test.json and TARGET-validation.json. Measuring chooses nothing: every number that it
could change is learned on validation. tools/weights/away.py measures the other data sets.
"""

import argparse
from pathlib import Path

from ssrlib import FaceStore, calibration, inference, metrics, results, weights
from ssrlib.targets import AGE, TARGETS, Target

SCORES = ("mae", "ca5", "accuracy")


def calibrate(target: Target, faces: FaceStore, store: FaceStore) -> dict:
    """Learn from some faces and measure on others; write the card and both files of metrics."""
    path = weights.pretrained(target.name)
    network, card = weights.load_with_card(path)
    card["calibration"] = inference.calibrate(network, faces)
    if target is AGE:
        factor = results.load("strangers")["metrics"]["factor"]
        card["calibration"] = calibration.widened(card["calibration"], factor)
    measured = {
        split: metrics.evaluate(network, store, split, card["calibration"])
        for split in ("validation", "test")
    }
    card["test"] = {name: measured["test"][name] for name in SCORES if name in measured["test"]}
    weights.write_card(path, card)
    origin: dict[str, object] = {key: card[key] for key in ("data", "recipe", "validation") if key in card}
    origin["trained by"] = card.get("command", "unknown")
    for split, found in measured.items():
        place = Path("book/results") / f"{target.name}-{split}.json"
        results.record(place, found, weights=[path], stores=[store], **origin)
    return measured["test"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--faces", type=Path, default=Path("data/faces"), help="calibrate on these")
    parser.add_argument("--store", type=Path, default=Path("data/utkface"), help="measure on these")
    arguments = parser.parse_args()
    results.check_committed()
    measured = calibrate(TARGETS[arguments.target], FaceStore(arguments.faces), FaceStore(arguments.store))
    print({name: value for name, value in measured.items() if isinstance(value, float)})
