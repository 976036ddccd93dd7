"""What do wrong labels cost? Some train faces get the age of another one, under three losses.

    python -m tools.experiments.labels --epochs 6 --seeds 0 \\
        --start ssrlib/pretrained/utkface/gender.safetensors

trains on UTKFace; see race.py for how. Validation keeps its labels. Writes book/results/labels.json.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ssrlib import FaceStore, Recipe
from ssrlib.heads import contestant
from ssrlib.network import FaceNetwork
from ssrlib.recipe import Loss
from tools.experiments import race

LOSSES = {
    "absolute error": ("SSR, plain ReLUs, awake start", "l1"),
    "squared error": ("SSR, plain ReLUs, awake start", "l2"),
    "label distribution": ("label distribution (DLDL)", "l1"),
}
SHARES = (0, 10, 30, 50)


def build(name: str, recipe: Recipe) -> tuple[FaceNetwork, Recipe, Loss | None]:
    """The network of "LOSS, SHARE %"; the share changes only the labels."""
    head, loss = LOSSES[name.split(",")[0]]
    return contestant(head, replace(recipe, loss=loss))


def mislabeled(path: Path, name: str, seed: int) -> FaceStore:
    """A store whose train faces have, in the share that the name says, one another's ages."""
    store, share = FaceStore(path), float(name.split(",")[1].removesuffix("%")) / 100
    rng, train = np.random.default_rng(seed), np.flatnonzero(store.rows["split"] == "train")
    chosen = rng.choice(train, round(share * len(train)), replace=False)
    ages = store.rows["age"].to_numpy(copy=True)
    ages[chosen] = ages[rng.permutation(chosen)]
    store.rows = store.rows.assign(age=ages)
    return store


ALL = race.Race(
    [f"{loss}, {share} %" for share in SHARES for loss in LOSSES], build, "absolute error, 0 %", mislabeled
)

if __name__ == "__main__":
    race.run(ALL, "labels", __doc__)
