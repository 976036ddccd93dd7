import numpy as np
import pandas as pd
import pytest
import torch

from ssrlib import FaceStore, Recipe, fit, store, weights
from ssrlib.datasets import synthetic
from ssrlib.evaluation import predict, score, targets
from ssrlib.training import new_network

QUICK = Recipe(epochs=2, batch_size=32)


def test_fit_keeps_the_best_epoch_and_records_all(drawn_store, tmp_path):
    network = new_network(QUICK)
    history = fit(network, drawn_store, QUICK, tmp_path)
    assert list(history["epoch"]) == [1, 2]
    assert np.isfinite(history["loss"]).all()
    faces, rows = drawn_store.split("validation")
    figures = score(predict(network, faces), targets(rows, "age"), "age")
    assert figures["mae"] == pytest.approx(history["mae"].min(), abs=1e-4)
    assert not network.training
    saved = weights.load(tmp_path / "best.safetensors")
    assert np.array_equal(predict(saved, faces), predict(network, faces))
    assert weights.read_card(tmp_path / "best.safetensors")["epoch"] == history["mae"].idxmin() + 1
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2


def test_same_seed_same_weights_other_seed_others(drawn_store):
    networks = [new_network(recipe) for recipe in (QUICK, QUICK, Recipe(epochs=2, batch_size=32, seed=1))]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        fit(network, drawn_store, Recipe(epochs=2, batch_size=32, seed=seed))
    first, again, other = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_few_epochs_beat_the_best_constant_guess(tmp_path):
    drawn = store.write(tmp_path / "drawn", lambda _: [_drawn(800)], {})
    network = new_network(Recipe(epochs=8, batch_size=32))
    history = fit(network, drawn, Recipe(epochs=8, batch_size=32))
    faces, rows = drawn.split("test")
    ages = rows["age"].to_numpy()
    constant = np.abs(ages - drawn.rows["age"].median()).mean()
    assert np.abs(predict(network, faces) - ages).mean() < 0.7 * constant
    assert history["loss"].iloc[-1] < 0.6 * history["loss"].iloc[0]


def _drawn(count):
    faces, rows = synthetic.generate(count, seed=11)
    return faces, rows, store.NO_REJECTS


def changed(drawn_store, path, change) -> FaceStore:
    rows = change(drawn_store.rows.copy())
    return store.write(path, lambda _: [(np.array(drawn_store.faces), rows, drawn_store.rejects)], {})


def test_stores_that_cannot_be_trained_on_are_refused(drawn_store, tmp_path):
    no_validation = changed(drawn_store, tmp_path / "a", lambda rows: rows.assign(split="train"))
    with pytest.raises(ValueError, match="no face of the validation split has a known age"):
        fit(new_network(QUICK), no_validation, QUICK)
    no_gender = changed(drawn_store, tmp_path / "b", lambda rows: rows.drop(columns="gender"))
    recipe = Recipe(target="gender", epochs=1)
    with pytest.raises(ValueError, match="no column 'gender'"):
        fit(new_network(recipe), no_gender, recipe)
    with pytest.raises(ValueError, match="do not fill a batch of 5000"):
        fit(new_network(QUICK), drawn_store, Recipe(batch_size=5000))


def test_unknown_labels_are_left_out(drawn_store, tmp_path):
    def forget(rows):
        rows.loc[rows.index % 2 == 0, "gender"] = None
        return rows

    half = changed(drawn_store, tmp_path / "half", forget)
    recipe = Recipe(target="gender", epochs=1, batch_size=16)
    history = fit(new_network(recipe), half, recipe)
    assert np.isfinite(history["loss"]).all()
    assert history["accuracy"].between(0, 1).all()


@pytest.mark.parametrize(
    "wrong", [{"target": "height"}, {"epochs": 0}, {"learning_rate": -1.0}, {"batch_size": 0}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_exploding_loss_is_named(drawn_store):
    recipe = Recipe(epochs=1, batch_size=32, learning_rate=1e30)
    with pytest.raises(ValueError, match="epoch 1: the loss is no longer a number"):
        fit(new_network(recipe), drawn_store, recipe)
