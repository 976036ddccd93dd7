"""Training, one change at a time: from the usual way to `ssrlib.fit`, on the same faces and network.

    python -m benchmarks.train

The usual way is a `Dataset` that opens JPEGs with Pillow and changes each face by itself, a `DataLoader`
with a process per core, and an eager network in float32 in PyTorch's usual memory layout. Each row below
but the last adds one change to the row before it. The rows run in turn, each warmed up first, in three
rounds or as many as you ask for; a round is a process, and a row's speed is the median. On a GPU, there are
three rows more, on a processor without bfloat16 one less. The last row is `fit` with what `--fast` chooses,
which does not compile on a processor with bfloat16. The result's file is named after the device, so that
those of several devices lie side by side.
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
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssrlib import FaceStore, Recipe, fit, results
from ssrlib.augment import MILD, augment
from ssrlib.datasets import synthetic
from ssrlib.training import fast, keep_memory, new_network

ROUNDS = 3
WARM_UP, TIMED = 20, 100  # steps
BATCH = 64
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LARGE = 2048

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
    model = torch.compile(network) if "compiled" in changes else network
    optimizer = torch.optim.Adam(network.parameters(), 0.005, fused="fused optimizer" in changes)
    precise = "bfloat16" not in changes

    def step() -> Tensor:
        faces, ages = next(batches)
        with nullcontext() if precise else torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            loss = (model(faces.contiguous(memory_format=last)) - ages).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


# A processor without bfloat16 would only imitate it, several times more slowly.
BITS = ["bfloat16"] if fast()["precision"] != "32-true" else []
CHANGES = ["packed faces", "channels last", *BITS, "memory kept", "fused optimizer", "compiled"]
ON_GPU = ["faces on the GPU", "nobody waits", f"batches of {LARGE:,}"]
ROWS = ["the usual way", *CHANGES, *(ON_GPU if DEVICE.type == "cuda" else []), "ssrlib.fit"]


def one_round(store: FaceStore) -> None:
    """Print each row and its faces a second, as JSON. Memory that is kept from one row on stays kept."""
    for row in ROWS:
        torch._dynamo.reset()
        print(json.dumps([row, fitted(store) if row == "ssrlib.fit" else speed(store, row)]), flush=True)


def speed(store: FaceStore, row: str) -> float:
    """Faces a second of one row."""
    order = [*CHANGES, *ON_GPU]
    changes = order[: order.index(row) + 1] if row in order else []
    size = LARGE if ON_GPU[2] in changes else BATCH
    if "memory kept" in changes:
        keep_memory()
    place = DEVICE if ON_GPU[0] in changes else torch.device("cpu")
    step = loop(packed(store, place, size) if changes else loaded(store), changes)
    for number in range(WARM_UP + TIMED):
        if number == WARM_UP:
            start = settled()
        loss = step()
        if ON_GPU[1] not in changes:
            loss.item()
    return TIMED * size / (settled() - start)


def settled() -> float:
    """The time when all work is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def fitted(store: FaceStore) -> float:
    """`fit` with `--fast`, which does more: averaged weights, a schedule, a watcher; without validation."""
    recipe = Recipe(epochs=3, batch_size=BATCH, **fast())
    told: list[tuple[int, float]] = []
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
    return steps * BATCH / seconds


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
    on_cpu = f"{results.processor()} {'with' if BITS else 'without'} bfloat16"
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else on_cpu
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
