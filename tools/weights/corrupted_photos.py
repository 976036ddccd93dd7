"""What twelve corruptions of the whole photo cost, in book/results/corruptions-photos.json.

    python -m tools.weights.corrupted_photos DATA

As tools/weights/corruptions.py, but before a face is found: on photos of All-Age-Faces and APPA-REAL whose
test faces no network of ours has learned from, each scaled so that its face is 64 pixels wide, in the middle
of 192. Counted is who is still found by the built-in finder. The faces found are straightened and read, with
their mirror images, by the built-in networks and by those that know UTKFace alone.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.photos import hit
from ssrlib import AgeGenderEstimator, detectors, results, weights
from ssrlib.face_crop import crop_face
from ssrlib.landmarks import square, warp
from ssrlib.scenes import Portrait
from ssrlib.targets import TARGETS
from tools.weights.corruptions import CORRUPTIONS, STRENGTHS, corrupted, in_onnx
from tools.weights.finder import Photos, rows_of

FACE, SIDE = 64, 192
PHOTOS = 500


def centered(portrait: Portrait) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo around its face (uint8, 192 x 192 x 3), and the face's five points there."""
    center, side, _ = square(portrait.points)
    scale = FACE / float(side)
    shift = (SIDE - 1) / 2 - scale * center
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return warp(portrait.photo, matrix, SIDE), scale * portrait.points + shift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    arguments = parser.parse_args()
    results.check_committed()
    cv2.setNumThreads(1)
    rows = rows_of(arguments.data, ("test",))
    rows = rows[rows["source"] != "utkface"].sample(PHOTOS, random_state=0)
    photos, points = zip(*(centered(portrait) for portrait in Photos(rows)), strict=True)
    alone = {target: weights.PRETRAINED / "utkface" / f"{target}.safetensors" for target in TARGETS}
    readers = {"built in": AgeGenderEstimator(backend="onnx"), "UTKFace alone": in_onnx(alone)}
    crop, table = readers["built in"].crop, list[dict[str, Any]]()
    for corruption, strength in [("none", 0), *product(CORRUPTIONS, STRENGTHS)]:
        seen = corrupted(np.stack(photos), corruption, strength) if strength else np.stack(photos)
        hits = [
            [box for box in detectors.find(photo) if hit(box, five)]
            for photo, five in zip(seen, points, strict=True)
        ]
        found = np.array([bool(boxes) for boxes in hits])
        faces = np.stack(
            [crop_face(photo, boxes[0], crop) for photo, boxes in zip(seen, hits, strict=True) if boxes]
        )
        truth = rows["age"].to_numpy()[found]
        for network, estimator in readers.items():
            read = estimator.predict_faces(faces)
            row = {"network": network, "corruption": corruption, "strength": strength}
            row |= {"found": float(found.mean()), "mae": float(np.abs(read.age - truth).mean())}
            row["coverage"] = float(((read.age_low <= truth) & (truth <= read.age_high)).mean())
            table.append(row)
            print(row, flush=True)
    results.record(
        "book/results/corruptions-photos.json",
        table,
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data=f"All-Age-Faces and APPA-REAL, {PHOTOS} photos of their test splits",
        other={target: weights.weights_sha256(path) for target, path in alone.items()},
        seed=0,
    )


if __name__ == "__main__":
    main()
