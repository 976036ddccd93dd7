"""The tools that train: their networks can learn."""

import pytest
import torch

from ssrlib import Recipe
from tools.experiments.ablations import VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_ablated_networks_can_learn(name, drawn_store):
    network = VARIANTS[name](Recipe())
    answers = network(torch.from_numpy(drawn_store.faces[:8].copy()).permute(0, 3, 1, 2))
    assert answers.shape == (8,)
    answers.std().backward()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert any(gradient.any() for gradient in gradients)
