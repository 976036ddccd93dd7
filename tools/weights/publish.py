"""Make the best of several trainings a network of the package, and record how they all went.

    python -m tools.weights.publish age runs/0 runs/1 runs/2 runs/taught-0 runs/taught-1 runs/taught-2
    python -m tools.weights.publish age runs/mixture-0 runs/varied-0 runs/helped-0 --store data/faces
    python -m tools.weights.publish gender runs/taught-mild-0 runs/taught-strong-0 --store data/faces

Each folder is what `ssrlib train --out FOLDER` wrote, or tools/weights/teach.py, or helped.py. The network
with the best metric on validation, each face read together with its mirror image, is kept. What was trained
on UTKFace alone becomes ssrlib/pretrained/utkface/TARGET.safetensors, where the trainings on all data sets
start; its runs without "taught-" are the teachers of the others. What was trained on all becomes the
built-in ssrlib/pretrained/TARGET.safetensors. It is not calibrated yet: tools/weights/calibrate.py comes
next. The trainings' histories, and their metrics on validation, go to book/results/TARGET-runs.json, or
TARGET-mixture-runs.json, last of all.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ssrlib import FaceStore, inference, metrics, results, weights
from ssrlib.cards import Card
from ssrlib.targets import TARGETS, Target

TERMS = (
    "Code: MIT. Weights: trained on {}, whose photos are for non-commercial research only, "
    "so for research and teaching only. Not for decisions about people."
)
NAMES = {"utkface": "UTKFace", "aaf": "All-Age-Faces", "appa_real": "APPA-REAL"}


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
        "bias": float((table["value"] - table["truth"]).mean()),
        "outside 0 to 1": float(((table["without_flip"] < 0) | (table["without_flip"] > 1)).mean()),
        "history": pd.read_csv(path.with_name("history.csv")).to_dict("records"),
    }


def command_of(folder: Path, trained: Card, folders: list[Path], store: FaceStore, target: Target) -> str:
    """The command that made a run."""
    recipe = trained["recipe"]
    if recipe["balanced"] and "teachers" in trained:
        return f"python -m tools.weights.teach {target.name} --store {store.path}"
    if "start" in trained:  # the last of four trainings: weights.mk has the others
        start = folder.with_name(folder.name.replace("helped", "varied")) / target.name / "best.safetensors"
        if trained["start"] != weights.weights_sha256(start):
            raise SystemExit(f"error: the card of {folder} does not say that it went on from {start}")
        command = f"python -m tools.weights.helped --store {store.path} --start {start}"
        command += f" --epochs {recipe['epochs']} --augmentation {recipe['augmentation']}"
        return f"{command} --seed {recipe['seed']} --out {folder}"
    command = f"python -m ssrlib train --store {store.path} --target {target.name} --fast"
    command += f" --seed {recipe['seed']} --out {folder}"
    if "teachers" in trained:
        teachers = [other / target.name for other in folders if not other.name.startswith("taught-")]
        command += "".join(f" --teacher {teacher}/best.safetensors" for teacher in teachers)
    return command


def home(target: Target) -> Path:
    """The weights that know UTKFace alone."""
    return weights.PRETRAINED / "utkface" / f"{target.name}.safetensors"


def publish(target: Target, folders: list[Path], store: FaceStore) -> None:
    paths = [folder / target.name / "best.safetensors" for folder in folders]
    runs = [run_of(path, store, target) for path in paths]
    kept = target.best([run["validation"] for run in runs])
    trained, name = weights.read_card(paths[kept]), runs[kept]["run"]
    labeled = store.rows[~np.isnan(target.labels(store.rows))]
    counts = labeled.groupby(["source", "split"]).size().unstack(fill_value=0)
    sources = [source for source in NAMES if source in counts.index]
    names = ", ".join(NAMES[source] for source in sources)
    card: Card = {
        "data": "; ".join(f"{NAMES[source]}: {_in_words(counts.loc[source])}" for source in sources),
        "command": command_of(folders[kept], trained, folders, store, target),
        "terms": TERMS.format(names),
        "crop": trained["crop"],
        "recipe": trained["recipe"],
        "epoch": trained["epoch"],
        "validation": trained["validation"],
    }
    if "teachers" in trained:
        card["teachers"] = trained["teachers"]
    alone = sources == ["utkface"]
    published = home(target) if alone else weights.PRETRAINED / f"{target.name}.safetensors"
    weights.save(weights.load(paths[kept]), published, card)
    measured = {"metric": target.metric, "kept": name, "runs": runs}
    for run in runs:
        print({key: run[key] for key in ("run", "validation", "validation, without flip")})
    origin = {"data": card["data"], "trained by": card["command"]}
    place = Path("book/results") / f"{target.name}-{'runs' if alone else 'mixture-runs'}.json"
    results.record(place, measured, weights=[published], stores=[store], **origin)


def _in_words(counts: pd.Series) -> str:
    return ", ".join(f"{counts[split]:,} {split}" for split in ("train", "validation", "test"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    arguments = parser.parse_args()
    results.check_committed()
    publish(TARGETS[arguments.target], arguments.folders, FaceStore(arguments.store))
