from dataclasses import replace

import pytest
import torch

from ssrlib import Recipe, fit
from ssrlib.targets import TARGETS
from tools.experiments.trunks import TRUNKS, Trunk, loss_of

SIZE = 40_531


@pytest.mark.parametrize("name", TRUNKS)
def test_all_but_the_large_one_have_about_the_same_size(name):
    size = sum(parameter.numel() for parameter in Trunk(name).parameters())
    assert size == 2_780_933 if name == "large residual" else size == pytest.approx(SIZE, rel=0.03)


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize(("target", "largest"), [("age", 100), ("gender", 10)])
def test_every_trunk_reads_one_value_a_face_and_can_learn(name, target, largest):
    torch.manual_seed(0)
    network, faces = Trunk(name, target), torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    values = network.eval()(faces)
    assert values.shape == (4,)
    assert values.abs().max() <= largest
    outputs, loss = network.train()(faces), loss_of(network)
    assert outputs.shape == ((4, 101) if target == "age" else (4,))
    (loss(outputs, torch.tensor([1.0, 20, 40, 90])) if loss else outputs.sum()).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def test_a_trunk_trains_with_fit_and_teaches(drawn_store, tmp_path):
    recipe = Recipe(epochs=2)
    teacher = Trunk("plain convolutions (C3AE)")
    history = fit(teacher, drawn_store, recipe, tmp_path / "teacher", lambda _: None, loss=loss_of(teacher))
    assert history["loss"].iloc[1] < history["loss"].iloc[0]
    pupil = Trunk("residual")
    fit(pupil, drawn_store, recipe, watch=lambda _: None, teachers=[teacher], loss=loss_of(pupil))
    assert not pupil.training


def test_an_unknown_trunk_is_refused():
    with pytest.raises(ValueError, match="there is no trunk 'tree'; there are: residual"):
        Trunk("tree")


def test_a_trunks_classes_are_years(monkeypatch):
    monkeypatch.setitem(TARGETS, "yaw", replace(TARGETS["age"], name="yaw", value_range=180.0))
    with pytest.raises(ValueError, match="it cannot read yaw"):
        Trunk("residual", "yaw")


def test_what_is_no_face_is_refused():
    with pytest.raises(ValueError, match="channels last"):
        Trunk("residual")(torch.zeros(2, 64, 64, 3))
