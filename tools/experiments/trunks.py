"""What are the two streams worth? Other networks of their size, and one of millions, under the same head.

    python -m tools.experiments.trunks --epochs 24 --batch-size 128 --jobs 15

trains them on UTKFace, in minutes on a large GPU; see race.py for how. Then, once, when nothing is left to
choose: the same with --test. Writes book/results/trunks.json.
"""

import torch

from ssrlib import Recipe
from ssrlib.heads import contestant
from ssrlib.network import FaceNetwork
from ssrlib.recipe import Loss
from ssrlib.trunks import TRUNKS, Trunk, loss_of
from tools.experiments import race

TWO_STREAMS = "two streams (SSR-Net)"


def build(name: str, recipe: Recipe) -> tuple[FaceNetwork, Recipe, Loss | None]:
    """One of the trunks, its recipe, and its loss."""
    if name == TWO_STREAMS:
        return contestant("label distribution (DLDL)", recipe)
    torch.manual_seed(recipe.seed)
    network = Trunk(name)
    return network, recipe, loss_of(network)


ALL = race.Race([TWO_STREAMS, *TRUNKS], build, rival=TWO_STREAMS)

if __name__ == "__main__":
    race.run(ALL, "trunks", __doc__)
