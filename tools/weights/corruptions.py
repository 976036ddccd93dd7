"""What twelve corruptions cost the built-in networks, in book/results/corruptions.json.

    python -m tools.weights.corruptions
    python -m tools.weights.corruptions --rival "mild changes" runs/mild-0/age/best.safetensors

In the manner of ImageNet-C (Hendrycks and Dietterich, 2019), with its families of noise, blur, weather and
digital damage, at three strengths, on UTKFace's test faces of 64 x 64 pixels. Each is read with its mirror
image, by the built-in networks and by those that know UTKFace alone, which learned with mild changes. With a
rival of the built-in age network, validation faces take their place, for the test split chooses nothing: in
book/results/corruptions-validation.json. Training's own "varied" changes (Gaussian noise, blur, darkness,
covered squares) are like some of these corruptions. They were thought of after the test faces had shown what
noise did to an earlier network.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ssrlib import FACE_SIZE, AgeGenderEstimator, FaceStore, results, weights
from ssrlib.export import to_onnx
from ssrlib.targets import AGE, GENDER, TARGETS

STRENGTHS = (1, 2, 3)
# With a rival, the first so many of the split.
RIVAL_FACES = 600
# The networks that know UTKFace alone.
ALONE = {target: weights.PRETRAINED / "utkface" / f"{target}.safetensors" for target in TARGETS}
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def gaussian_noise(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    return face + rng.normal(0, (10, 20, 35)[strength - 1], face.shape)


def shot_noise(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    photons = (1.0, 0.3, 0.1)[strength - 1]
    return rng.poisson(face * photons) / photons


def impulse_noise(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    hit = rng.random(face.shape[:2]) < (0.01, 0.04, 0.1)[strength - 1]
    return np.where(hit[..., None], rng.choice([0.0, 255.0], face.shape[:2])[..., None], face)


def defocus(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(face, (0, 0), (0.8, 1.4, 2.2)[strength - 1])


def motion_blur(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    length = (3, 5, 9)[strength - 1]
    line = np.zeros((length, length))
    line[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(line, turn, (length, length))
    return cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def pixelation(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    side = (40, 28, 18)[strength - 1] * face.shape[0] // FACE_SIZE
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def jpeg(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    quality = [cv2.IMWRITE_JPEG_QUALITY, (50, 25, 10)[strength - 1]]
    _, packed = cv2.imencode(".jpg", face[..., ::-1].astype(np.uint8), quality)
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))[..., ::-1].astype(float)


def low_light(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    share = (0.5, 0.3, 0.15)[strength - 1]
    return face * share + rng.normal(0, 4, face.shape)


def glare(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    return face * (1.3, 1.6, 2.0)[strength - 1]


def fog(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    share = (0.3, 0.5, 0.7)[strength - 1]
    clouds = cv2.resize(rng.uniform(160, 255, (4, 4)), face.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return face * (1 - share) + clouds[..., None] * share


def covered(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    side = (16, 24, 32)[strength - 1]
    top, left = (face.shape[0] - FACE_SIZE) // 2 + rng.integers(0, FACE_SIZE - side, 2)
    hidden = face.copy()
    hidden[top : top + side, left : left + side] = face.mean(axis=(0, 1))
    return hidden


def tilted(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    angle = (10, 20, 30)[strength - 1] * rng.choice([-1, 1])
    middle = (face.shape[0] - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), angle, 1)
    return cv2.warpAffine(face, turn, face.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


CORRUPTIONS: dict[str, Corruption] = {
    "Gaussian noise": gaussian_noise,
    "shot noise": shot_noise,
    "impulse noise": impulse_noise,
    "defocus": defocus,
    "motion blur": motion_blur,
    "pixelation": pixelation,
    "JPEG": jpeg,
    "low light": low_light,
    "glare": glare,
    "fog": fog,
    "covered": covered,
    "tilted": tilted,
}


def corrupted(faces: np.ndarray, name: str, strength: int) -> np.ndarray:
    """Return faces with one corruption, the same for the same faces.

    Args:
        faces: uint8, N x 64 x 64 x 3, RGB; or larger squares, with a face of 64 pixels in the middle of each.
        name: a key of `CORRUPTIONS`.
        strength: one of `STRENGTHS`.
    """
    rng = np.random.default_rng(strength)
    changed = [CORRUPTIONS[name](face.astype(float), strength, rng) for face in faces]
    return np.stack(changed).round().clip(0, 255).astype(np.uint8)


def in_onnx(files: dict[str, Path]) -> AgeGenderEstimator:
    """The networks of two weights files, by their target; ONNX Runtime reads faster."""
    with TemporaryDirectory() as folder:
        exported = {target: Path(folder) / f"{target}.onnx" for target in TARGETS}
        for target, path in exported.items():
            to_onnx(weights.load(files[target]), path, weights.read_card(files[target]))
        return AgeGenderEstimator(exported["age"], exported["gender"], backend="onnx")


def measured(estimator: AgeGenderEstimator, faces: np.ndarray, table: pd.DataFrame) -> dict[str, float]:
    """How far ages are off, and to which side; how many lie in their interval, and how many genders match."""
    read = estimator.predict_faces(faces)
    truth = AGE.labels(table)
    return {
        "mae": float(np.abs(read.age - truth).mean()),
        "bias": float((read.age - truth).mean()),
        "coverage": float(((read.age_low <= truth) & (truth <= read.age_high)).mean()),
        "accuracy": float(((read.p_male > 0.5) == GENDER.labels(table)).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("data/utkface"))
    parser.add_argument("--faces", type=int, help="only the first so many")
    parser.add_argument("--rival", nargs=2, metavar=("NAME", "WEIGHTS"), help="another age network")
    arguments = parser.parse_args()
    usual = RIVAL_FACES if arguments.rival else sys.maxsize
    count = arguments.faces or usual
    results.check_committed(trial=count < usual)
    store = FaceStore(arguments.store)
    split = "validation" if arguments.rival else "test"
    faces, table = store.split(split)
    faces, table = faces[:count], table[:count]
    other, files = "UTKFace alone", ALONE
    if arguments.rival:
        other, path = arguments.rival
        files = {"age": Path(path), "gender": weights.pretrained("gender")}
    readers = {"built in": AgeGenderEstimator(backend="onnx"), other: in_onnx(files)}
    rows: list[dict[str, Any]] = []
    for corruption, strength in [("none", 0), *product(CORRUPTIONS, STRENGTHS)]:
        seen = corrupted(faces, corruption, strength) if strength else faces
        for network, estimator in readers.items():
            row = {"network": network, "corruption": corruption, "strength": strength}
            rows.append(row | measured(estimator, seen, table))
            print(rows[-1], flush=True)
    results.record(
        f"book/results/corruptions{'-validation' if arguments.rival else ''}.json",
        rows,
        weights=weights.built_in(),
        stores=[store],
        data=f"UTKFace, {split}",
        faces=len(faces),
        other={target: weights.weights_sha256(path) for target, path in files.items()},
    )


if __name__ == "__main__":
    main()
