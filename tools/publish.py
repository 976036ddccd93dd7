"""Make the best of several trained networks the built-in one, and measure them all.

    python tools/publish.py age runs/seed0 runs/seed1 runs/seed2

Each folder is what `python -m ssrlib train --out` wrote. The network with the smallest error on validation,
each face read together with its mirror image, becomes ssrlib/pretrained/TARGET.safetensors; it is then
calibrated and measured as tools/calibrate.py does. All networks are measured on the test split too, in
book/results/TARGET-seeds.json: that chooses nothing, it tells how much seeds differ.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from calibrate import calibrate

from ssrlib import FaceStore, evaluation, weights

TERMS = (
    "Code: MIT. Weights: trained on UTKFace, whose photos are for non-commercial research only, "
    "so for research and teaching only. Not for decisions about people."
)
MERIT = {"age": "mae", "gender": "accuracy"}


def measure(path: Path, store: FaceStore, target: str) -> dict:
    """One training's course, and its figure of merit on both splits with and without the mirror image."""
    network, recipe = weights.load(path), weights.read_card(path)["recipe"]
    if recipe["target"] != target:
        raise ValueError(f"{path}: reads {recipe['target']}, not {target}")
    run = {"seed": recipe["seed"]}
    for split in ("validation", "test"):
        table = evaluation.predictions(network, store, split)
        for name, column in ((split, "value"), (f"{split}, one look", "one_look")):
            run[name] = evaluation.score(table[column].to_numpy(), table["truth"].to_numpy(), target)[
                MERIT[target]
            ]
    run["outside 0 to 1"] = float(((table["one_look"] < 0) | (table["one_look"] > 1)).mean())
    run["history"] = pd.read_csv(path.with_name("history.csv")).to_dict("records")
    return run


def publish(target: str, folders: list[Path], store: FaceStore) -> None:
    paths = [folder / target / "best.safetensors" for folder in folders]
    runs = [measure(path, store, target) for path in paths]
    pick = np.argmin if target == "age" else np.argmax
    kept = int(pick([run["validation"] for run in runs]))
    trained = weights.read_card(paths[kept])
    recipe = trained["recipe"]
    command = f"python -m ssrlib train --store data/utkface --target {target} --epochs {recipe['epochs']}"
    command += f" --seed {recipe['seed']}" + " --fast" * recipe["compile"]
    splits = store.rows["split"].value_counts().to_dict()
    card = {
        "data": f"UTKFace, {len(store):,} faces: {splits}",
        "command": command,
        "terms": TERMS,
    }
    card |= {name: trained[name] for name in ("crop", "recipe", "epoch", "validation")}
    weights.save(weights.load(paths[kept]), weights.PRETRAINED / f"{target}.safetensors", card)
    figures = {"merit": MERIT[target], "kept": runs[kept]["seed"], "runs": runs}
    for run in runs:
        print({name: value for name, value in run.items() if name != "history"})
    origin = {"data": card["data"], "recipe": recipe, "trained by": f"{command}, and with the other seeds"}
    evaluation.record(Path("book/results") / f"{target}-seeds.json", figures, **origin)
    calibrate(target, store)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(MERIT))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    publish(arguments.target, arguments.folders, FaceStore(arguments.store))
