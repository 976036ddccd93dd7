"""Does a second head help SSR-Net to learn? Trained with and without one, on UTKFace, with three seeds each.

    python -m tools.experiments.helping --start ssrlib/pretrained/utkface/gender.safetensors --jobs 2

See race.py for how, and `ssrlib.heads.Helped` for the second head. Both start as in contest.py. It is
measured on validation only. Writes book/results/helping.json.
"""

from dataclasses import replace

from ssrlib import Recipe
from ssrlib.heads import Helped, helped_loss
from ssrlib.network import FaceNetwork
from ssrlib.recipe import Loss
from ssrlib.training import new_network
from tools.experiments import race

ALONE, HELPED = "SSR, plain ReLUs", "SSR, plain ReLUs, helped"


def build(name: str, recipe: Recipe) -> tuple[FaceNetwork, Recipe, Loss | None]:
    recipe = replace(recipe, waking=False)
    network = new_network(recipe)
    if name == ALONE:
        return network, recipe, None
    return Helped(network), recipe, helped_loss


if __name__ == "__main__":
    race.run(race.Race([ALONE, HELPED], build, rival=ALONE), "helping", __doc__)
