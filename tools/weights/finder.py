"""Train the built-in face finder on photos, in pieces: stopped anywhere, the same command goes on.

python -m tools.weights.finder DATA --pictures FOLDER --out runs/finder

FOLDER holds pictures without a face, of any size; CONTRIBUTING says which were used.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ssrlib import face_crop, results
from ssrlib.datasets import aaf, appa_real, utkface
from ssrlib.detectors import FINDER, PATCH, first_look
from ssrlib.export import onnx_model
from ssrlib.finder import Finder, Refiner, draw_patches, loss, refiner_loss, save, targets
from ssrlib.landmarks import TEMPLATE
from ssrlib.prepare import photo_bytes
from ssrlib.scenes import TILE, Portrait, Portraits, Scene, draw_scene
from ssrlib.training import WakingReLU

MARKS = [
    f"{point}_{axis}"
    for point in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    for axis in "xy"
]
BATCH, RATE, DECAY, SMOOTHING = 32, 4e-3, 1e-4, 0.998
STEPS = {"finder": 10_000, "refiner": 8_000}
SAVE_EVERY = 100
# From this share of its steps on, every so manyth scene is one without faces in which the network saw some.
MINE_FROM, MINED_OF, MINED_EVERY = 0.4, 4000, {"finder": 8, "refiner": 6}
# Seeds from here on are scenes without faces.
NOBODY = 1_000_000_000


class Photos:
    """The photos of a table as portraits: read when asked for."""

    def __init__(self, rows: pd.DataFrame):
        self.rows = rows.to_dict("records")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Portrait:
        row = self.rows[number]
        photo = face_crop.read_photo(photo_bytes(row["file"], row["offset"], row["size"]), row["path"])
        if row["source"] == "utkface":
            return Portrait(photo, (TEMPLATE + 0.5) * photo.shape[0] / 64 - 0.5, exact=False)
        return Portrait(photo, np.array([row[mark] for mark in MARKS], float).reshape(5, 2))


def rows_of(data: Path, splits: tuple[str, ...]) -> pd.DataFrame:
    """List the photos of all three data sets in these splits; of APPA-REAL, those whose points are known."""
    tables = [aaf.rows(data / "aaf" / "aaf.tar")[0], appa_real.rows(data / "appa" / "appa.tar")[0]]
    tables.append(utkface.rows(data / "utkface")[0].assign(source="utkface"))
    rows = pd.concat(tables, ignore_index=True)
    known = (rows["source"] == "utkface") | rows[MARKS].notna().all(axis=1)
    return rows[rows["split"].isin(splits) & known].reset_index(drop=True)


def training_rows(data: Path) -> pd.DataFrame:
    """List what is trained on: of UTKFace, which has no surroundings and no points, a fifth."""
    rows = rows_of(data, ("train",))
    spare = (rows["source"] == "utkface") & (rows.index % 5 > 0)
    return rows[~spare].reset_index(drop=True)


def pictures_in(folder: Path) -> list[np.ndarray]:
    """Read all pictures in a folder, each at most 800 pixels wide or high."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            picture = face_crop.read_photo(path)
            scale = min(1.0, 800 / max(picture.shape[:2]))
            found.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    if not found:
        raise SystemExit(f"{folder}: there are no pictures")
    return found


class Stream(IterableDataset):
    """The batches for a network from a step on, the same whoever asks when."""

    def __init__(self, name: str, step: int, mined: list[int], portraits: Photos, pictures: list[np.ndarray]):
        self.name, self.step, self.mined, self.photos = name, step, mined, (portraits, pictures)

    def seeds(self) -> Iterator[int]:
        number = self.step * BATCH
        while True:
            every = MINED_EVERY[self.name]
            mined = self.mined and number % every == 0
            yield self.mined[number // every % len(self.mined)] if mined else number
            number += 1

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        make = scenes if self.name == "finder" else patches
        return make(self.seeds(), *self.photos)


def scenes(
    seeds: Iterator[int], portraits: Portraits, pictures: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw what the finder learns from: uint8, 32 x 3 x 128 x 128, and `targets`, a scene a seed."""
    while True:
        drawn = [scene_of(next(seeds), portraits, pictures) for _ in range(BATCH)]
        pictures_of = np.stack([scene.picture.transpose(2, 0, 1) for scene in drawn])
        yield pictures_of, np.stack([targets(scene) for scene in drawn])


def scene_of(seed: int, portraits: Portraits, pictures: list[np.ndarray], **options: Any) -> Scene:
    """Draw the scene of a seed; from `NOBODY` on, one without faces."""
    shown = portraits if seed < NOBODY else list[Portrait]()
    return draw_scene(np.random.default_rng(seed), shown, pictures, **options)


def patches(
    seeds: Iterator[int], portraits: Portraits, pictures: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw what the refiner learns from, the patches of 32 scenes: uint8, N x 3 x 64 x 64, and N x 12.

    Every third scene is a large one without faces: most of what the finder sees in a photo is none.
    """
    while True:
        cut, wanted = [], []
        for i in range(BATCH):
            seed = next(seeds)
            found = patches_of(seed + NOBODY * (i % 3 == 2 and seed < NOBODY), portraits, pictures)
            cut.append(found[0])
            wanted.append(found[1])
        yield np.concatenate(cut).transpose(0, 3, 1, 2).copy(), np.concatenate(wanted)


def patches_of(seed: int, portraits: Portraits, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What `draw_patches` cuts out of the scene of a seed; from `NOBODY` on, of a large one without faces."""
    options = {"size": 2 * TILE} if seed >= NOBODY else {"wide": 0.4}
    scene = scene_of(seed, portraits, pictures, **options)
    return draw_patches(np.random.default_rng([seed, 1]), scene, first_look(scene.picture)[0])


def rate_at(step: int, steps: int) -> float:
    """Rise over the first 3 %, then fall as a cosine does."""
    done = step / steps
    return RATE * min(1.0, done / 0.03) * (0.5 + 0.5 * math.cos(math.pi * done))


def mine(network: nn.Module, pictures: list[np.ndarray]) -> list[int]:
    """Return the seeds of scenes without faces in which a network sees some, the worst first."""
    seeds = range(NOBODY, NOBODY + MINED_OF)
    network.eval()
    with torch.no_grad():
        worst = [(_highest(network, seed, pictures), seed) for seed in seeds]
    network.train()
    return [seed for logit, seed in sorted(worst, reverse=True) if logit > -2.0][: MINED_OF // 4]


def _highest(network: nn.Module, seed: int, pictures: list[np.ndarray]) -> float:
    """The logit of what looks most like a face in the scene of a seed, which has none."""
    if isinstance(network, Refiner):
        seen = patches_of(seed, [], pictures)[0]
    else:
        seen = scene_of(seed, [], pictures).picture[None]
    if not len(seen):
        return -np.inf
    return float(network(torch.from_numpy(seen.transpose(0, 3, 1, 2).copy()))[:, 0].max())


class Training:
    """A network on its way: its optimizer, the moving average of its weights, and how far it is."""

    def __init__(self, network: nn.Module, name: str, out: Path):
        self.network, self.name, self.file = network, name, out / f"{name}.pt"
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        self.smooth = {key: value.clone() for key, value in network.state_dict().items()}
        self.step, self.mined = 0, list[int]()
        if self.file.is_file():
            kept = torch.load(self.file, weights_only=True)
            network.load_state_dict(kept["network"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.smooth, self.step, self.mined = kept["smooth"], kept["step"], kept["mined"]

    def save(self) -> None:
        kept: dict[str, Any] = {"smooth": self.smooth, "step": self.step, "mined": self.mined}
        kept |= {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(kept, self.file.with_suffix(".new"))
        self.file.with_suffix(".new").replace(self.file)

    def learn(self, losses: tuple[Tensor, Tensor]) -> None:
        """Take a step against the two losses, and let the average follow."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, STEPS[self.name])
        self.optimizer.zero_grad(set_to_none=True)
        (losses[0] + 0.25 * losses[1]).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.smooth[key].lerp_(value, 1 - min(SMOOTHING, self.step / (self.step + 10)))


def train(network: nn.Module, portraits: Photos, pictures: list[np.ndarray], out: Path) -> None:
    """Train one of the two networks, or go on where it was stopped; it ends with its weights' average."""
    name, losses = ("finder", loss) if isinstance(network, Finder) else ("refiner", refiner_loss)
    now, steps = Training(network, name, out), STEPS[name]

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        part = Stream(name, now.step, now.mined, portraits, pictures)
        return iter(DataLoader(part, batch_size=None, num_workers=1))

    batches, began, sums = stream(), time.monotonic(), np.zeros(3)
    while now.step < steps:
        if not now.mined and now.step >= MINE_FROM * steps:
            now.mined = mine(network, pictures) or [NOBODY]
            batches = stream()
        drawn, wanted = next(batches)
        faces, points = losses(network(drawn), wanted)
        now.learn((faces, points))
        sums += [faces.item(), points.item(), 1]
        if now.step % SAVE_EVERY == 0 or now.step == steps:
            speed = (time.monotonic() - began) / sums[2]
            means = f"faces {sums[0] / sums[2]:.3f}, points {sums[1] / sums[2]:.3f}"
            print(f"{name}, step {now.step}: {means}; {speed:.2f} s a step", flush=True)
            began, sums = time.monotonic(), np.zeros(3)
            now.save()
    network.load_state_dict(now.smooth)
    network.eval()


def export(network: nn.Module, path: Path, size: tuple[int, int] | None) -> None:
    """Write a network as ONNX: `pictures` (uint8, N x 3 x height x width, any size or this one) in."""
    number, height, width = (torch.export.Dim(name) for name in ("number", "height", "width"))
    any_size = {2: height, 3: width} if size is None else {}
    example = torch.zeros(2, 3, *(size or (96, 128)), dtype=torch.uint8)
    model = onnx_model(network, {"pictures": example}, "answers", {0: number} | any_size)
    path.write_bytes(model.SerializeToString())


def card(portraits: Photos, pictures: list[np.ndarray]) -> dict[str, Any]:
    """Say what both networks were trained on."""
    faces = pd.DataFrame(portraits.rows)["source"].value_counts().to_dict()
    return {
        "data": {"faces": faces, "pictures without a face": len(pictures)},
        "splits": "train; of APPA-REAL the train part in it; of UTKFace a fifth, by its faces alone",
        "recipe": {"scenes a step": BATCH, "steps": STEPS, "learning_rate": RATE, "seed": 0},
        "commit": results.commit(),
        "terms": "All-Age-Faces, APPA-REAL and UTKFace are for research only, and so are these weights.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    parser.add_argument("--pictures", type=Path, required=True, help="pictures without a face")
    parser.add_argument("--out", type=Path, default=Path("runs/finder"))
    arguments = parser.parse_args()
    results.check_committed()
    cv2.setNumThreads(1)  # OpenCV's threads do not live on in the process that draws
    arguments.out.mkdir(parents=True, exist_ok=True)
    portraits = Photos(training_rows(arguments.data))
    pictures = pictures_in(arguments.pictures)
    print(f"{len(portraits)} faces, {len(pictures)} pictures without", flush=True)
    # The refiner learns from what the finder sees, so the finder has to be in its place first.
    FINDER.mkdir(exist_ok=True)
    torch.manual_seed(0)
    finder, refiner = Finder(), Refiner()
    # Plain ReLUs all died here in one run: 24 in a row before the answer, at a high rate.
    refiner.net[-2] = WakingReLU()
    train(finder, portraits, pictures, arguments.out)
    export(finder, FINDER / "finder.onnx", None)
    train(refiner, portraits, pictures, arguments.out)
    export(refiner, FINDER / "refiner.onnx", (PATCH, PATCH))
    save(finder, refiner, card(portraits, pictures), FINDER / "finder.safetensors")


if __name__ == "__main__":
    main()
