"""Calibrate the built-in weights on the validation split, and measure them on the test split.

    python tools/calibrate.py age
    python tools/calibrate.py gender

Run it after new weights have become the built-in ones. It changes the card of
ssrlib/pretrained/TARGET.safetensors, not its tensors, and writes book/results/TARGET-test.json and
TARGET-validation.json. Measuring chooses nothing: every number that it could change is learned on
validation.
"""

import argparse
from pathlib import Path

from ssrlib import FaceStore, calibration, evaluation, weights

SCORES = ("mae", "ca5", "accuracy")


def calibrate(target: str, store: FaceStore) -> dict:
    """Return the figures on test; write the card and both files of figures."""
    path = weights.pretrained(target)
    network, card = weights.load(path), weights.read_card(path)
    answers = evaluation.predictions(network, store, "validation")
    columns = (answers[name].to_numpy() for name in ("value", "difference", "truth"))
    card["calibration"] = calibration.fit(target, *columns)
    figures = {
        split: evaluation.evaluate(network, store, split, card["calibration"])
        for split in ("validation", "test")
    }
    card["test"] = {name: figures["test"][name] for name in SCORES if name in figures["test"]}
    weights.write_card(path, card)
    origin = {"weights": f"the built-in ones for {target}"}
    origin |= {key: card[key] for key in ("data", "recipe", "validation") if key in card}
    origin["trained by"] = card.get("command", "unknown")
    for split, measured in figures.items():
        evaluation.record(Path("book/results") / f"{target}-{split}.json", measured, **origin)
    return figures["test"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=["age", "gender"])
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    figures = calibrate(arguments.target, FaceStore(arguments.store))
    print({name: value for name, value in figures.items() if isinstance(value, float)})
