"""Make the best of several trainings the built-in network, and record how they all went.

    python tools/publish.py age runs/*first-* runs/*second-*

Each folder is what tools/built_in.py wrote. The network with the best figure on validation,
each face read together with its mirror image, becomes ssrlib/pretrained/TARGET.safetensors; it is then
calibrated and measured as tools/calibrate.py does. The trainings' courses, and their figures on validation,
go to book/results/TARGET-runs.json.
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


def course(path: Path, store: FaceStore, target: str) -> dict:
    """One training's recipe and history, and its figure on validation with and without the mirror image."""
    network, recipe = weights.load(path), weights.read_card(path)["recipe"]
    if recipe["target"] != target:
        raise ValueError(f"{path}: reads {recipe['target']}, not {target}")
    table = evaluation.predictions(network, store, "validation")
    with_mirror, one_look = (
        evaluation.score(table[column].to_numpy(), table["truth"].to_numpy(), target)[MERIT[target]]
        for column in ("value", "one_look")
    )
    return {
        "run": path.parents[1].name,
        "recipe": recipe,
        "validation": with_mirror,
        "validation, one look": one_look,
        "outside 0 to 1": float(((table["one_look"] < 0) | (table["one_look"] > 1)).mean()),
        "history": pd.read_csv(path.with_name("history.csv")).to_dict("records"),
    }


def publish(target: str, folders: list[Path], store: FaceStore) -> None:
    paths = [folder / target / "best.safetensors" for folder in folders]
    runs = [course(path, store, target) for path in paths]
    pick = np.argmin if target == "age" else np.argmax
    kept = int(pick([run["validation"] for run in runs]))
    trained, name = weights.read_card(paths[kept]), runs[kept]["run"]
    splits = store.rows["split"].value_counts().to_dict()
    taught = " --taught" if name.startswith("taught-") else ""
    card = {
        "data": f"UTKFace, {len(store):,} faces: {splits}",
        "command": f"python tools/built_in.py {target} --seed {trained['recipe']['seed']}{taught}",
        "terms": TERMS,
    }
    card |= {name: trained[name] for name in ("crop", "recipe", "epoch", "validation")}
    weights.save(weights.load(paths[kept]), weights.PRETRAINED / f"{target}.safetensors", card)
    figures = {"merit": MERIT[target], "kept": name, "runs": runs}
    for run in runs:
        print({key: run[key] for key in ("run", "validation", "validation, one look")})
    origin = {"data": card["data"], "trained by": card["command"]}
    evaluation.record(Path("book/results") / f"{target}-runs.json", figures, **origin)
    calibrate(target, store)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(MERIT))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    publish(arguments.target, arguments.folders, FaceStore(arguments.store))
