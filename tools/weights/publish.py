"""Make the best of several trainings the built-in network, and record how they all went.

    python -m tools.weights.publish age runs/0 runs/1 runs/2 runs/taught-0 runs/taught-1 runs/taught-2

Each folder is what `ssrlib train --out FOLDER` wrote; those without "taught-" are the teachers of the others.
The network with the best metric on validation, each face read together with its mirror image, becomes
ssrlib/pretrained/TARGET.safetensors. It is not calibrated yet: tools/weights/calibrate.py comes next. The
trainings' histories, and their metrics on validation, go to book/results/TARGET-runs.json, last of all.
"""

import argparse
from pathlib import Path

import pandas as pd

from ssrlib import FaceStore, inference, metrics, results, weights
from ssrlib.cards import Card
from ssrlib.targets import TARGETS, Target

TERMS = (
    "Code: MIT. Weights: trained on UTKFace, whose photos are for non-commercial research only, "
    "so for research and teaching only. Not for decisions about people."
)


def run_of(path: Path, store: FaceStore, target: Target) -> dict:
    """One training's recipe and history, and its metric on validation with and without the mirror image."""
    network, recipe = weights.load(path), weights.read_card(path)["recipe"]
    if recipe["target"] != target.name:
        raise ValueError(f"{path}: reads {recipe['target']}, not {target.name}")
    table = inference.predict_split(network, store, "validation")
    with_mirror, without_flip = (
        metrics.score(table[column].to_numpy(), table["truth"].to_numpy(), target)[target.metric]
        for column in ("value", "without_flip")
    )
    return {
        "run": path.parents[1].name,
        "recipe": recipe,
        "validation": with_mirror,
        "validation, without flip": without_flip,
        "outside 0 to 1": float(((table["without_flip"] < 0) | (table["without_flip"] > 1)).mean()),
        "history": pd.read_csv(path.with_name("history.csv")).to_dict("records"),
    }


def publish(target: Target, folders: list[Path], store: FaceStore) -> None:
    paths = [folder / target.name / "best.safetensors" for folder in folders]
    runs = [run_of(path, store, target) for path in paths]
    kept = target.best([run["validation"] for run in runs])
    trained, name = weights.read_card(paths[kept]), runs[kept]["run"]
    splits = store.rows["split"].value_counts().to_dict()
    teachers = [str(folder / target.name) for folder in folders if not folder.name.startswith("taught-")]
    command = f"python -m ssrlib train --store {store.path} --target {target.name} --fast"
    command += f" --seed {trained['recipe']['seed']} --out {folders[kept]}"
    if "soft targets" in trained:
        command += "".join(f" --teacher {folder}/best.safetensors" for folder in teachers)
    card: Card = {
        "data": f"UTKFace, {len(store):,} faces: {splits}",
        "command": command,
        "terms": TERMS,
        "crop": trained["crop"],
        "recipe": trained["recipe"],
        "epoch": trained["epoch"],
        "validation": trained["validation"],
    }
    published = weights.PRETRAINED / f"{target.name}.safetensors"
    weights.save(weights.load(paths[kept]), published, card)
    measured = {"metric": target.metric, "kept": name, "runs": runs}
    for run in runs:
        print({key: run[key] for key in ("run", "validation", "validation, without flip")})
    origin = {"data": card["data"], "trained by": card["command"]}
    place = Path("book/results") / f"{target.name}-runs.json"
    results.record(place, measured, weights=[published], store=store, **origin)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    results.check_committed()
    publish(TARGETS[arguments.target], arguments.folders, FaceStore(arguments.store))
