"""The last training of the age network on all data sets: a second head helps it, and is thrown away.

    python -m tools.weights.helped --start runs/varied-0/age/best.safetensors --out runs/helped-0
    python -m tools.weights.helped --start runs/varied-0/age/best.safetensors --out runs/alone-0 --alone

The network goes on from what `ssrlib train --balanced` taught it, with varied changes, and now each face
comes once an epoch: balanced faces had taught it that old people are more frequent than they are. The helper
learns label distributions from the same two streams (`ssrlib.heads.Helped`). With --alone there is none: that
shows what the helper did. OUT/age/best.safetensors is an SSR-Net like any other. Stopped, the same command
goes on.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from ssrlib import FaceStore, Recipe, fit, weights
from ssrlib.heads import Helped, helped_loss
from ssrlib.training import AUGMENTATIONS, fast, note_start

EPOCHS, BATCH, RATE = 54, 64, 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--augmentation", default="varied", choices=list(AUGMENTATIONS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="without a helper")
    asked = parser.parse_args()
    plan = Recipe.best(epochs=asked.epochs, batch_size=BATCH, learning_rate=RATE, seed=asked.seed, **fast())
    # Plain ReLUs are no worse, see the contest.
    recipe = replace(plan, augmentation=asked.augmentation, waking=False)
    store, network = FaceStore(asked.store), weights.load(asked.start)
    place, folder = asked.out / "age", asked.out / ("age" if asked.alone else "with-helper")
    if asked.alone:
        fit(network, store, recipe, folder)
    else:
        torch.manual_seed(asked.seed)
        helped = Helped(network)
        fit(helped, store, recipe, folder, loss=helped_loss)
        place.mkdir(exist_ok=True)
        shutil.copy(folder / "history.csv", place)
        card = weights.read_card(folder / "best.safetensors")
        weights.save(helped.alone(), place / "best.safetensors", card)
    note_start(place / "best.safetensors", asked.start)


if __name__ == "__main__":
    main()
