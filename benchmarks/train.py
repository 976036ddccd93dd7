"""Training, one change at a time: from the usual way to `ssrlib.fit`, on the same faces and network.

    python -m benchmarks.train

The usual way is a `Dataset` that opens JPEGs with Pillow and changes each face by itself, a `DataLoader`
with a process per core, and an eager network in float32 in PyTorch's usual memory layout. Each row below
adds one change to the row before it, up to `fit` with what `--fast` chooses. The rows run in turn, each
warmed up first, in three rounds or as many as you ask for; a round is a process, and a row's speed is the
median. All run on the device that `fit` takes. Without bfloat16 there is a row less; a loop in float16 would
have to scale its losses, and only `fit` does. On a GPU there are more rows, `fit` with large batches among
them, and none compiled if it cannot be. The result's file is named after the device, so that those of
several devices lie side by side.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssrlib import FaceStore, Recipe, fit, results
from ssrlib.augment import MILD, augment
from ssrlib.datasets import synthetic
from ssrlib.store import join
from ssrlib.training import fast, keep_memory, new_network

ROUNDS = 3
WARM_UP, TIMED = 20, 100  # steps
BATCH = 64
LARGE = 2048
DEVICE = Fabric(devices=1).device
ON_GPU = DEVICE.type != "cpu"

# A processor without bfloat16 would only imitate it, several times more slowly.
BITS = ["bfloat16"] if fast()["precision"] == "bf16-mixed" else []
COMPILED = ["compiled"] if fast()["compile"] or not ON_GPU else []
GRAPHS = ["CUDA graphs"] if COMPILED and DEVICE.type == "cuda" else []
PLACE, PATIENCE, LARGER = "faces on the GPU", "nobody waits", f"batches of {LARGE:,}"
CHANGES = ["packed faces", "channels last", *BITS, "memory kept", "fused optimizer", *COMPILED]
CHANGES += [PLACE, PATIENCE, *GRAPHS, LARGER] if ON_GPU else []
FITS = {"ssrlib.fit": BATCH} | ({f"ssrlib.fit, {LARGER}": LARGE} if ON_GPU else {})
ROWS = ["the usual way", *CHANGES, *FITS]

Batches = Iterator[tuple[Tensor, Tensor]]


class Photos(Dataset[tuple[Tensor, np.float32]]):
    """Faces as they lie in most repositories: one JPEG of 200 x 200 pixels each."""

    def __init__(self, files: list[Path], ages: np.ndarray):
        self.files, self.ages = files, ages

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.float32]:
        with Image.open(self.files[index]) as photo:
            face = np.array(photo.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
        generator = torch.Generator().manual_seed(torch.initial_seed() + index)
        batch = torch.from_numpy(face).permute(2, 0, 1)[None]
        return augment(batch, generator, **MILD)[0], self.ages[index]


def loaded(store: FaceStore) -> Batches:
    """Batches as most repositories make them."""
    faces, rows = store.split("train")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.jpg" for i in range(len(faces))]
        for file, face in zip(files, faces, strict=True):
            large = cv2.resize(face[..., ::-1], (200, 200), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(file), large)
        data = Photos(files, rows["age"].to_numpy(np.float32))
        loader = DataLoader(
            data,
            BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=os.cpu_count() or 1,
            persistent_workers=True,
        )
        while True:
            yield from ((batch.to(DEVICE), ages.to(DEVICE)) for batch, ages in loader)


def packed(store: FaceStore, place: torch.device, size: int) -> Batches:
    """Batches of faces that lie in one array, there or on the GPU, and are changed all at once."""
    faces, rows = store.split("train")
    kept = torch.from_numpy(faces).to(place)
    ages = torch.from_numpy(rows["age"].to_numpy(np.float32)).to(place)
    while True:
        chosen = torch.randint(len(kept), (size,), device=place)
        batch = kept[chosen].to(DEVICE).permute(0, 3, 1, 2)
        yield augment(batch, torch.default_generator, **MILD), ages[chosen].to(DEVICE)


def loop(batches: Batches, changes: list[str]) -> Callable[[], Tensor]:
    """A plain training loop; each call of what it returns is one step."""
    last = torch.channels_last if "channels last" in changes else torch.contiguous_format
    network = new_network(Recipe()).to(DEVICE).train()
    network.to(memory_format=last)  # type: ignore[call-overload]
    mode = "reduce-overhead" if "CUDA graphs" in changes else None
    model = torch.compile(network, mode=mode) if "compiled" in changes else network
    optimizer = torch.optim.Adam(network.parameters(), 0.005, fused="fused optimizer" in changes)
    precise = "bfloat16" not in changes

    def step() -> Tensor:
        faces, ages = next(batches)
        optimizer.zero_grad()  # before: a CUDA graph writes the next gradients to the same place
        with nullcontext() if precise else torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            loss = (model(faces.contiguous(memory_format=last)) - ages).abs().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def one_round(store: FaceStore) -> None:
    """Print each row and its faces a second, as JSON. Memory that is kept from one row on stays kept."""
    for row in ROWS:
        torch._dynamo.reset()
        faces = fitted(store, FITS[row]) if row in FITS else speed(store, row)
        print(json.dumps([row, faces]), flush=True)


def speed(store: FaceStore, row: str) -> float:
    """Faces a second of one row."""
    changes = CHANGES[: CHANGES.index(row) + 1] if row in CHANGES else []
    size = LARGE if LARGER in changes else BATCH
    if "memory kept" in changes:
        keep_memory()
    place = DEVICE if PLACE in changes else torch.device("cpu")
    step = loop(packed(store, place, size) if changes else loaded(store), changes)
    for number in range(WARM_UP + TIMED):
        if number == WARM_UP:
            start = settled()
        loss = step()
        if PATIENCE not in changes:
            loss.item()
    return TIMED * size / (settled() - start)


def settled() -> float:
    """The time when all work is done."""
    if ON_GPU:
        torch.accelerator.synchronize()
    return time.perf_counter()


def fitted(store: FaceStore, size: int) -> float:
    """`fit` with `--fast`, which does more: averaged weights, a schedule, a watcher; without validation."""
    recipe = Recipe(epochs=3, batch_size=size, **fast())
    told: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        if size == LARGE:  # the same faces many times: an epoch needs many steps, for few are told of
            store = join([store] * 50, Path(folder) / "often")
        fit(
            new_network(recipe),
            store,
            recipe,
            watch=lambda progress: told.append((progress.step, time.perf_counter())),
        )
    an_epoch = told[-1][0] // recipe.epochs
    steps, seconds = 0, 0.0
    for (before, begin), (after, end) in pairwise(told):
        if before > an_epoch and after % an_epoch and before % an_epoch:
            steps, seconds = steps + after - before, seconds + end - begin
    return steps * size / seconds


def device_name() -> str:
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    if ON_GPU:
        return f"GPU of {results.processor()}"
    return f"{results.processor()} {'with' if BITS else 'without'} bfloat16"


def main(rounds: int) -> None:
    results.check_committed(trial=rounds < ROUNDS)
    times: dict[str, list[float]] = {row: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        store = synthetic.store(4000, path=Path(folder) / "drawn")
        command = [sys.executable, "-m", "benchmarks.train", "--store", str(store.path)]
        for _ in range(rounds):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as measuring:
                assert measuring.stdout
                for line in measuring.stdout:
                    row, faces = json.loads(line)
                    times[row].append(faces)
                    print(f"{faces:10,.0f} faces a second: {row}", flush=True)
            if measuring.returncode:
                raise SystemExit(measuring.returncode)
    device = device_name()
    speeds = {row: float(np.median(measured)) for row, measured in times.items()}
    for row, faces in speeds.items():
        print(f"{faces:10,.0f} faces a second, {faces / speeds['the usual way']:6.1f} times: {row}")
    name = re.sub(r"[^a-z0-9]+", "-", device.lower())
    measured = {"faces a second": speeds, "all rounds": times, "device": device, "batch": BATCH}
    data = "4,000 drawn faces"
    results.record(f"book/results/benchmark-train-{name}.json", measured, weights=(), data=data, seed=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, help="measure one round on these faces, and print its rows")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    if arguments.store:
        one_round(FaceStore(arguments.store))
    else:
        main(arguments.rounds)
