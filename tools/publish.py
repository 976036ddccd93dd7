"""Make trained weights the built-in ones: measure them on the test split, once, and write their card.

    python tools/publish.py runs/age/best.safetensors --first "45 epochs at 0.005"

Writes ssrlib/pretrained/TARGET.safetensors and book/results/TARGET-test.json.
"""

import argparse
from pathlib import Path

from ssrlib import FaceStore, evaluation, weights

TERMS = (
    "Code: MIT. Weights: trained on UTKFace, whose photos are for non-commercial research only, "
    "so for research and teaching only. Not for decisions about people."
)


def publish(path: Path, store: FaceStore, first: str) -> dict:
    trained, network = weights.read_card(path), weights.load(path)
    recipe = trained["recipe"]
    target = recipe["target"]
    figures = evaluation.measure(network, store, target, "test")
    splits = store.rows["split"].value_counts().to_dict()
    options = [
        f"--target {target}",
        f"--epochs {recipe['epochs']}",
        f"--learning-rate {recipe['learning_rate']}",
    ]
    options += ["--fast"] * recipe["compile"] + ["--start FIRST"] * bool(first)
    card = {
        "data": f"UTKFace, {len(store):,} faces: {splits}",
        "crop": trained["crop"],
        "command": f"python -m ssrlib train --store data/utkface {' '.join(options)}",
        "first": first,
        "recipe": recipe,
        "epoch": trained["epoch"],
        "validation": trained["validation"],
        "test": {name: figures[name] for name in ("mae", "ca5", "accuracy") if name in figures},
        "terms": TERMS,
    }
    weights.save(network, weights.PRETRAINED / f"{target}.safetensors", card)
    origin = {key: card[key] for key in ("data", "recipe", "first", "validation")}
    origin["trained by"] = card["command"]
    evaluation.record(Path("book/results") / f"{target}-test.json", figures, **origin)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--first", default="", help="how the weights that training started from were trained")
    arguments = parser.parse_args()
    print(publish(arguments.weights, FaceStore(arguments.store), arguments.first))
