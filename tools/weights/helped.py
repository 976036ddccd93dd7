"""The last training of an age network: a second head helps it to learn, and is thrown away.

    python -m tools.weights.helped --start runs/varied-0/age/best.safetensors --out runs/helped-0

The network goes on from what `ssrlib train` taught it. Each face comes once an epoch: balanced faces had
taught it that old people are more frequent than they are. The helper learns label distributions from the same
two streams (`ssrlib.heads.Helped`). OUT/age/best.safetensors is an SSR-Net like any other; what its training
needs is in OUT/with-helper. On two cores, beside another training, it takes 50 minutes. Stopped, the same
command goes on.
"""

import argparse
import shutil
from pathlib import Path

import torch

from ssrlib import FaceStore, Recipe, files, fit, weights
from ssrlib.heads import HELP, Helped, helped_loss
from ssrlib.recipe import AUGMENTATIONS
from ssrlib.training import fast, note_start, start_from

EPOCHS, BATCH, RATE = 54, 64, 0.005


def train(start: Path, out: Path, store: Path, **changes: object) -> None:
    """Train an age network with a helper, and write it without."""
    # Plain ReLUs are no worse, see the contest.
    recipe = Recipe.best(**{"batch_size": BATCH, "learning_rate": RATE, "waking": False} | fast() | changes)
    place, folder = out / "age", out / "with-helper"
    known = start_from(start, recipe)
    torch.manual_seed(recipe.seed)
    network = Helped(known)
    fit(network, FaceStore(store), recipe, folder, loss=helped_loss)
    with files.atomic_write(place / "history.csv") as partial:
        shutil.copyfile(folder / "history.csv", partial)
    card = weights.read_card(folder / "best.safetensors")
    card["recipe"]["loss"] = f"l1, and {HELP:g} times the helper's"
    weights.save(network.alone(), place / "best.safetensors", card)
    note_start(place / "best.safetensors", start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--store", type=Path, default=Path("data/faces"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--augmentation", default="varied", choices=list(AUGMENTATIONS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.start.absolute().is_relative_to(asked.out.absolute()):
        parser.error(f"{asked.start}: would be overwritten by this training; give another --out")
    changes = {"epochs": asked.epochs, "augmentation": asked.augmentation, "seed": asked.seed}
    train(asked.start, asked.out, asked.store, **changes)


if __name__ == "__main__":
    main()
