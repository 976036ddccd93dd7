"""The authors' weights on photos that go on beyond the face: All-Age-Faces and APPA-REAL.

    python -m benchmarks.surroundings DATA --keras FOLDER_OF_THE_AUTHORS_H5_FILES

DATA has aaf/ and appa/. UTKFace's photos end where the face ends: a wider crop, such as the authors'
weights know, repeats the border there (benchmarks/accuracy.py). These photos show more. The largest face
that the finder sees in each is cut out as it is held, with several margins. Each of the authors' networks,
and of ours that know UTKFace alone and are guests here as well, gets the margin that suits it best on the
validation split of a data set; the table is of its test split. Each face is read once, without its mirror
image.
Writes book/results/benchmark-surroundings.json.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.accuracy import AUTHORS, MARGINS, measure
from ssrlib import detectors, face_crop, inference, keras, results, weights
from ssrlib.datasets import aaf, appa_real
from ssrlib.face_crop import Crop
from ssrlib.network import SSRNet
from ssrlib.prepare import photo_bytes
from ssrlib.targets import TARGETS, target_of

SOURCES = {"All-Age-Faces": (aaf, "aaf/aaf.tar"), "APPA-REAL": (appa_real, "appa/appa.tar")}
OURS = {f"ours, {name}": weights.PRETRAINED / "utkface" / f"{name}.safetensors" for name in TARGETS}


def smeared(photo: np.ndarray, square: detectors.Box) -> float:
    """The share of a square that lies outside the photo, where its border is repeated."""
    height, width = photo.shape[:2]
    inside_x = min(square.x + square.width, width) - max(square.x, 0)
    inside_y = min(square.y + square.height, height) - max(square.y, 0)
    return 1 - inside_x * inside_y / (square.width * square.height)


def cut(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[float, np.ndarray], dict[float, float]]:
    """The rows whose photo shows a face; for each margin their crops, and how much of them is smear."""
    kept, crops, smears = [], [], []
    for number, place in enumerate(zip(rows["file"], rows["offset"], rows["size"], strict=True)):
        photo = face_crop.read_photo(photo_bytes(*place))
        if found := detectors.find(photo):
            kept.append(number)
            crops.append([face_crop.crop(photo, found[0], margin) for margin in MARGINS])
            smears.append([smeared(photo, Crop(margin).square(found[0])) for margin in MARGINS])
    faces, smear = np.swapaxes(crops, 0, 1), np.mean(smears, axis=0)
    return rows.iloc[kept], dict(zip(MARGINS, faces, strict=True)), dict(zip(MARGINS, smear, strict=True))


def read(name: str, network: SSRNet, source: str, parts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each margin on validation, and one for the best of them on test."""
    target = target_of(network)

    def at(margin: float, split: str) -> dict[str, Any]:
        rows, faces, smear = parts[split]
        row = {"who": name, "source": source, "target": target.name, "split": split, "margin": margin}
        row |= {"smear": float(smear[margin]), "faces": len(rows)}
        return row | measure(inference.predict(network, faces[margin]), rows, target)

    found = [at(margin, "validation") for margin in MARGINS]
    best = MARGINS[target.best([row[target.metric] for row in found])]
    return [*found, at(best, "test")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/ and appa/")
    parser.add_argument("--keras", type=Path, required=True, help="the folder of the authors' .h5 files")
    arguments = parser.parse_args()
    results.check_committed()
    torch.set_num_threads(1)
    networks = {name: weights.load(path) for name, path in OURS.items()}
    networks |= {f"authors' {name}": keras.from_keras(arguments.keras / f"{name}.h5") for name in AUTHORS}
    found: list[dict[str, Any]] = []
    for source, (dataset, place) in SOURCES.items():
        rows, _ = dataset.rows(arguments.data / place)
        parts = {split: cut(rows[rows["split"] == split]) for split in ("validation", "test")}
        for name, network in networks.items():
            if target_of(network).name in rows and rows[target_of(network).name].notna().any():
                found += read(name, network, source, parts)
    table = pd.DataFrame(found)
    columns = ["source", "who", "faces", "margin", "smear", "mae", "ca5", "accuracy"]
    print(table.loc[table["split"] == "test", columns].round(3).to_string(index=False, na_rep="-"))
    results.record(
        "book/results/benchmark-surroundings.json",
        found,
        weights=list(OURS.values()),
        finder=detectors.finder_sha256(),
        data="All-Age-Faces and APPA-REAL",
    )


if __name__ == "__main__":
    main()
