"""What twelve corruptions of the whole photo cost, in book/results/corruptions-photos.json.

    python -m tools.weights.corrupted_photos DATA

As tools/weights/corruptions.py, but before a face is found: on photos of All-Age-Faces and APPA-REAL whose
test faces no network of ours has learned from, each scaled so that its face is 64 pixels wide, in the middle
of 192. Counted is who is still found by the built-in finder. The faces found are straightened and read, with
their mirror images, by the built-in networks and by those that know UTKFace alone.
"""

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.photos import hit
from ssrlib import AgeGenderEstimator, detectors, results, weights
from ssrlib.detectors import Box
from ssrlib.face_crop import crop_face
from ssrlib.landmarks import square, warp
from ssrlib.scenes import Portrait
from tools.weights.corruptions import ALONE, CORRUPTIONS, STRENGTHS, corrupted, in_onnx
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


def found(photos: np.ndarray, points: Sequence[np.ndarray]) -> list[Box | None]:
    """The box of each photo's face; None where the finder sees none there."""
    hits = [
        [box for box in detectors.find(photo) if hit(box, five)]
        for photo, five in zip(photos, points, strict=True)
    ]
    return [boxes[0] if boxes else None for boxes in hits]


def rows_for(
    readers: dict[str, AgeGenderEstimator], photos: np.ndarray, points: Sequence[np.ndarray], ages: np.ndarray
) -> list[dict[str, Any]]:
    """One row a network: the share of faces found, and how far their ages are off."""
    boxes = found(photos, points)
    seen, rows = np.array([box is not None for box in boxes]), []
    for network, estimator in readers.items():
        cut = [crop_face(photo, box, estimator.crop) for photo, box in zip(photos, boxes, strict=True) if box]
        read, truth = estimator.predict_faces(np.stack(cut)), ages[seen]
        inside = (read.age_low <= truth) & (truth <= read.age_high)
        off = float(np.abs(read.age - truth).mean())
        rows.append(
            {"network": network, "found": float(seen.mean()), "mae": off, "coverage": float(inside.mean())}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    arguments = parser.parse_args()
    results.check_committed()
    cv2.setNumThreads(1)
    people = rows_of(arguments.data, ("test",))
    people = people[people["source"] != "utkface"].sample(PHOTOS, random_state=0)
    photos_of = Photos(people)
    shown, points = zip(*(centered(photos_of[number]) for number in range(PHOTOS)), strict=True)
    photos, ages = np.stack(shown), people["age"].to_numpy()
    readers = {"built in": AgeGenderEstimator(backend="onnx"), "UTKFace alone": in_onnx(ALONE)}
    table: list[dict[str, Any]] = []
    for corruption, strength in [("none", 0), *product(CORRUPTIONS, STRENGTHS)]:
        seen = corrupted(photos, corruption, strength) if strength else photos
        for row in rows_for(readers, seen, points, ages):
            table.append({"corruption": corruption, "strength": strength} | row)
            print(table[-1], flush=True)
    results.record(
        "book/results/corruptions-photos.json",
        table,
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data=f"All-Age-Faces and APPA-REAL, {PHOTOS} photos of their test splits",
        other={target: weights.weights_sha256(path) for target, path in ALONE.items()},
        seed=0,
    )


if __name__ == "__main__":
    main()
