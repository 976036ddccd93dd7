"""What is read from a face is decided in one place: a target that nobody has thought of yet works, too."""

import numpy as np
import pandas as pd
import pytest

from ssrlib import Recipe, cards, fit, inference, metrics, weights
from ssrlib.store import NO_REJECTS, write_store
from ssrlib.targets import AGE, GENDER, TARGETS, Target, target_named
from ssrlib.training import new_network

YAW = Target(
    name="yaw",
    value_range=90.0,
    unit="degrees",
    metric="mae",
    metric_label="mean absolute error (degrees)",
    higher_is_better=False,
    loss="l1",
    tolerance=1e-3,
    int8_tolerance=0.1,
)


def test_a_third_target_is_trained_and_measured(drawn_store, tmp_path, monkeypatch):
    monkeypatch.setitem(TARGETS, "yaw", YAW)
    brightness = drawn_store.faces.mean(axis=(1, 2, 3)) / 255 * 90
    rows = drawn_store.rows.assign(yaw=brightness)
    store = write_store(tmp_path / "store", lambda _: [(np.array(drawn_store.faces), rows, NO_REJECTS)], {})
    recipe = Recipe.best("yaw", epochs=1)
    network = new_network(recipe)
    history = fit(network, store, recipe, tmp_path / "run", watch=lambda _: None)
    assert list(history.columns) == ["epoch", "loss", "mae", "ca5"]
    trained = weights.load(tmp_path / "run" / "best.safetensors")
    measured = metrics.evaluate(trained, store, "validation")
    assert "mean absolute error" in cards.summary(measured)
    assert "years" not in cards.summary(measured) + cards.model_card(
        "yaw", {"recipe": {"target": "yaw"}}, measured
    )
    assert (measured["target"], trained.settings["value_range"]) == ("yaw", 90.0)
    assert measured["without_flip"]["mae"] == pytest.approx(history["mae"][0], abs=1e-4)
    assert measured["constant"]["guess"] == pytest.approx(
        np.median(brightness[rows["split"] == "train"]), abs=1e-3
    )
    with pytest.raises(ValueError, match="intervals are learned for ages only, not for yaw"):
        inference.calibrate(trained, store)


def test_labels_that_no_answer_can_reach_are_refused():
    turned = pd.DataFrame({"yaw": [-30.0, 12.0, np.nan, -1.0]})
    with pytest.raises(ValueError, match="the yaw of 2 faces is below 0, and answers begin at 0"):
        YAW.labels(turned)


def test_a_target_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="there is no target 'smile'; there are: age, gender"):
        target_named("smile")


def test_what_is_no_number_is_never_the_best():
    assert (AGE.best([np.nan, 5.6, 5.4, np.nan]), GENDER.best([np.nan, 0.92, 0.91])) == (2, 1)
