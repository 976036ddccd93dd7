"""Training, side by side: the usual way and `ssrlib.fit`, on the same faces and network, in turn.

    python -m benchmarks.train

The usual way is a `Dataset` that opens JPEGs with Pillow and changes each face by itself, a `DataLoader`
with a process a core, and an eager network in float32 in PyTorch's usual memory layout. Ours is `fit` with
`--fast`: packed faces, changed as a batch, in bfloat16, compiled. Both do the same changes, see the same
number of faces, and are timed after a first epoch that warms up. With a GPU, both use it.
"""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ssrlib import FaceStore, Recipe, fit, results
from ssrlib.augment import MILD, augment
from ssrlib.datasets import synthetic
from ssrlib.training import new_network

EPOCHS = 3
RECIPE = Recipe(epochs=EPOCHS, batch_size=64)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Photos(Dataset):
    """Faces as they lie in most repositories: one JPEG of 200 x 200 pixels each."""

    def __init__(self, files: list[Path], ages: np.ndarray):
        self.files, self.ages = files, ages

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, np.float32]:
        with Image.open(self.files[index]) as photo:
            face = np.asarray(photo.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
        generator = torch.Generator().manual_seed(torch.initial_seed() + index)
        batch = torch.from_numpy(face).permute(2, 0, 1)[None]
        return augment(batch, generator, **MILD)[0], self.ages[index]


def usual(store: FaceStore, folder: Path) -> float:
    faces, rows = store.split("train")
    files = []
    for i, face in enumerate(faces):
        files.append(folder / f"{i}.jpg")
        large = cv2.resize(face[..., ::-1], (200, 200), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(files[-1]), large)
    data = Photos(files, rows["age"].to_numpy(np.float32))
    workers = os.cpu_count() or 0
    loader = DataLoader(data, RECIPE.batch_size, shuffle=True, drop_last=True, num_workers=workers)
    network = new_network(RECIPE).to(DEVICE).train()
    optimizer = torch.optim.Adam(network.parameters(), RECIPE.learning_rate)
    for epoch in range(EPOCHS):
        if epoch == 1:
            start = time.perf_counter()
        for batch, ages in loader:
            loss = (network(batch.to(DEVICE)) - ages.to(DEVICE)).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    loss.item()
    return (EPOCHS - 1) * len(loader) * RECIPE.batch_size / (time.perf_counter() - start)


def ours(store: FaceStore) -> float:
    """Validation, which the usual way does without here, falls into an epoch's last step: left out."""
    recipe, times = replace(RECIPE, precision="bf16-mixed", compile=True), []
    fit(new_network(recipe), store, recipe, watch=lambda _: times.append(time.perf_counter()))
    epochs = np.array(times).reshape(EPOCHS, -1)
    steps = np.diff(epochs[1:, :-1])
    return float(recipe.batch_size / steps.mean())


def main() -> None:
    results.check_committed()
    with tempfile.TemporaryDirectory() as folder:
        store = synthetic.store(4000, path=Path(folder) / "drawn")
        speeds = {"usual": usual(store, Path(folder)), "ours": ours(store)}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    for name, speed in speeds.items():
        print(f"{name:6} {speed:8.0f} faces a second")
    ratio = speeds["ours"] / speeds["usual"]
    print(f"ours is {ratio:.1f} times as fast, on {device}")
    measured = {"faces a second": speeds, "times as fast": ratio, "device": device}
    place, data = "book/results/benchmark-train.json", "4,000 drawn faces"
    results.record(place, measured, weights=(), data=data, seed=0)


if __name__ == "__main__":
    main()
