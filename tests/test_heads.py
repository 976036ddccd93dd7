import numpy as np
import pytest
import torch
from coral_pytorch.dataset import corn_label_from_logits, levels_from_labelbatch, proba_to_label
from coral_pytorch.losses import coral_loss, corn_loss
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ssrlib import Recipe, fit, heads
from ssrlib.heads import CONTEST, HEADS, Contestant, Helped, contestant, helped_loss
from ssrlib.training import new_network

SIZE = 40_531
AGES = torch.tensor([0.0, 1.0, 26.0, 99.4, 100.0, 116.0])


def logits(columns=heads.CLASSES, seed=0):
    return torch.randn(len(AGES), columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CONTEST)
def test_every_contestant_has_about_the_same_size(name):
    network, _, _ = contestant(name, Recipe())
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(SIZE, rel=0.03)


@pytest.mark.parametrize("name", CONTEST)
def test_every_contestant_reads_one_age_a_face_and_can_learn(name):
    network, recipe, loss = contestant(name, Recipe(seed=3))
    faces = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    assert network.eval()(faces).shape == (4,)
    outputs = network.train()(faces)
    lost = loss(outputs, torch.tensor([1.0, 20, 40, 90])) if loss else outputs.mean()
    lost.backward()
    moved = [weight.grad.abs().sum() > 0 for weight in network.parameters() if weight.grad is not None]
    # Plain ReLUs may be born dead; without dynamic range, nobody reads eta and delta.
    assert np.mean(moved) > (0.5 if name == "SSR, plain ReLUs" else 0.8)
    assert recipe.waking == ("plain" not in name)


def test_the_same_seed_gives_the_same_contestant():
    one, again, other = (contestant("one number", Recipe(seed=seed))[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_contestants_train_with_fit(drawn_store, tmp_path):
    network, recipe, loss = contestant("label distribution and error (DLDL-v2)", Recipe(epochs=2))
    history = fit(network, drawn_store, recipe, tmp_path, lambda _: None, loss=loss)
    assert history["loss"].iloc[1] < history["loss"].iloc[0]
    other, recipe, loss = contestant("mean and variance", Recipe(epochs=2))
    with pytest.raises(ValueError, match="holds a run of another network"):
        fit(other, drawn_store, recipe, tmp_path, lambda _: None, loss=loss)


def test_a_helped_network_reads_as_it_does_alone(drawn_store, tmp_path):
    recipe = Recipe(epochs=1, waking=False)
    network = Helped(new_network(recipe))
    history = fit(network, drawn_store, recipe, tmp_path, lambda _: None, loss=helped_loss)
    assert len(history) == 1
    faces = torch.from_numpy(drawn_store.split("validation")[0]).permute(0, 3, 1, 2)
    alone = network.alone()
    ages, stages = network(faces, return_stages=True)
    assert torch.equal(ages, alone(faces))
    assert len(stages) == 3
    assert alone.state_dict().keys() == new_network(recipe).state_dict().keys()


def test_a_helper_teaches_the_streams_and_not_the_stages():
    network = Helped(new_network(Recipe(seed=1))).train()
    outputs = network(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8))
    assert outputs.shape == (4, 1 + heads.CLASSES)
    heads.distribution_loss(outputs[:, 1:], torch.tensor([1.0, 20, 40, 90])).backward()
    assert not any(weight.grad.any() for weight in network.fusions.parameters())
    for stream in (network.stream1, network.stream2):
        assert all(block[0].weight.grad.abs().sum() > 0 for block in stream)


def test_a_helped_network_goes_on_from_another_and_keeps_its_terms():
    start = new_network(Recipe(seed=2))
    start.terms = "for research"
    alone = Helped(start).alone()
    assert alone.terms == "for research"
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in start.state_dict().items())


def test_the_helped_loss_counts_the_helper_twenty_times():
    x = logits()
    ages = torch.full((len(AGES), 1), 30.0)
    expected = (ages[:, 0] - AGES).abs().mean() + 20 * heads.distribution_loss(x, AGES)
    torch.testing.assert_close(helped_loss(torch.cat([ages, x], dim=1), AGES), expected)


def test_unknown_heads_are_refused():
    with pytest.raises(ValueError, match="there is no head 'two numbers'; there are: one number"):
        Contestant("two numbers")


def test_contestants_refuse_what_is_no_face():
    with pytest.raises(ValueError, match="channels last"):
        Contestant("one number")(torch.zeros(2, 64, 64, 3))


def test_questions_cost_what_coral_says():
    answers = levels_from_labelbatch(heads.classes_of(AGES), heads.CLASSES)
    assert torch.equal(heads.answers_of(AGES), answers)
    x = logits(heads.CLASSES - 1)
    torch.testing.assert_close(heads.questions_loss(x, AGES), coral_loss(x, answers))
    assert torch.equal(heads.count_of_yes(x), proba_to_label(x.sigmoid()).float())


def test_conditional_questions_cost_what_corn_says():
    x = logits(heads.CLASSES - 1)
    expected = corn_loss(x, heads.classes_of(AGES), heads.CLASSES)
    torch.testing.assert_close(heads.conditional_loss(x, AGES), expected)
    sure = x + 3
    assert torch.equal(heads.conditional_count(sure), corn_label_from_logits(sure).float())


def test_shared_questions_never_contradict_one_another():
    layers = HEADS["questions, shared weights (CORAL)"].layers(340).eval()
    nn.init.normal_(layers.limits)
    with torch.no_grad():
        answers = layers(torch.rand(20, 340), torch.rand(20, 340)).sigmoid()
    order = layers.limits.argsort()
    assert (answers[:, order].diff(dim=1) >= 0).all()


@given(st.floats(0, 100))
def test_a_label_distribution_is_a_hill_around_the_age(age):
    (shares,) = heads.label_distribution(torch.tensor([age]))
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert abs(shares.argmax().item() - age) <= 0.5 + 1e-4
    if 10 <= age <= 90:
        years = torch.arange(101.0)
        mean = (shares * years).sum()
        assert mean.item() == pytest.approx(age, abs=1e-2)
        assert (shares * (years - mean) ** 2).sum().sqrt().item() == pytest.approx(2, abs=1e-2)


def test_a_distribution_that_fits_costs_nothing():
    fitting = heads.label_distribution(AGES).clamp_min(1e-30).log()
    assert heads.distribution_loss(fitting, AGES).item() == pytest.approx(0, abs=1e-5)
    off = (AGES - heads.expected_value(fitting)).abs().mean()
    torch.testing.assert_close(heads.distribution_and_error(fitting, AGES), off, atol=1e-4, rtol=0)


def test_mean_and_variance_by_hand():
    # Half of the weight on 20, half on 40: cross entropy log 2, mean 30, variance 100.
    x = torch.full((1, 101), -1e4)
    x[0, [20, 40]] = 0
    expected = np.log(2) + 0.2 * 0.5 * 10**2 + 0.05 * 100
    assert heads.mean_variance(x, torch.tensor([20.0])).item() == pytest.approx(expected)


def test_one_stage_is_the_formula_of_one_stage():
    outputs = torch.zeros(1, 2 * 4 + 1)
    outputs[0, 2] = 1  # all the weight on bin 2 of 4
    assert heads.one_stage(outputs).item() == pytest.approx(101 * 2 / 4)
    outputs[0, 4 + 2] = 0.5  # shifted by half a bin
    outputs[0, 8] = 1  # and bins half as wide
    assert heads.one_stage(outputs).item() == pytest.approx(101 * 2.5 / 4 / 2)


def test_older_than_a_hundred_counts_as_a_hundred():
    assert heads.classes_of(AGES).tolist() == [0, 1, 26, 99, 100, 100]
