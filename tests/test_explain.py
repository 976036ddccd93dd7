import numpy as np
import pytest
import torch
from torch import nn

from ssrlib import explain
from ssrlib.datasets import synthetic
from ssrlib.inference import predict


class Corner(nn.Module):
    """A network whose answer is the mean of the top left corner's red."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, faces):
        return self.weight * faces[:, 0, :16, :16].float().mean(dim=(1, 2))


FACES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


def test_occlusion_finds_what_a_network_looks_at():
    maps = explain.occlusion(Corner(), FACES, patch=16, stride=16)
    assert maps.shape == (3, 4, 4)
    expected = FACES.mean(axis=(1, 2)).astype(np.uint8)[:, 0] - FACES[:, :16, :16, 0].mean(axis=(1, 2))
    assert maps[:, 0, 0] == pytest.approx(expected, abs=1e-3)
    maps[:, 0, 0] = 0
    assert not maps.any()


@pytest.mark.parametrize("color", [200, (200, 0, 0)])
def test_occlusion_covers_with_the_color_that_is_asked_for(color):
    maps = explain.occlusion(Corner(), FACES, patch=16, stride=16, color=color)
    assert maps[:, 0, 0] == pytest.approx(200 - FACES[:, :16, :16, 0].mean(axis=(1, 2)), abs=1e-3)


def test_gradient_is_the_slope_and_nothing_elsewhere():
    network = Corner()
    network.train()
    maps = explain.gradient(network, FACES)
    assert network.training
    assert maps[:, :16, :16] == pytest.approx(1 / 256)
    assert not maps[:, 16:].any()
    assert not maps[:, :, 16:].any()


def test_no_faces_have_no_maps_and_no_terms(age_network):
    none = np.zeros((0, 64, 64, 3), np.uint8)
    assert explain.gradient(age_network, none).shape == (0, 64, 64)
    assert explain.stage_terms(age_network, none).shape == (0, 3)


def test_terms_sum_to_the_answer(age_network):
    faces, _ = synthetic.generate(20, seed=5)
    terms = explain.stage_terms(age_network, faces)
    assert terms.shape == (20, 3)
    assert terms.sum(axis=1) == pytest.approx(predict(age_network, faces), abs=1e-3)
