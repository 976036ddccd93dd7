import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssrlib import evaluation, store, weights
from ssrlib.network import SSRNet

ages = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 110))


@given(ages, st.floats(-20, 20))
def test_a_constant_error_is_its_own_mae(truth, error):
    figures = evaluation.score(truth + error, truth, "age")
    assert figures["mae"] == pytest.approx(abs(error), abs=1e-9)


@given(ages, st.integers(1, 30))
def test_groups_hold_every_face_once_and_average_to_the_whole(truth, step):
    values = truth[::-1].copy()
    groups = evaluation.errors_by_age(values, truth, step)
    assert sum(group["faces"] for group in groups) == len(truth)
    whole = sum(group["faces"] * group["mae"] for group in groups) / len(truth)
    assert whole == pytest.approx(evaluation.score(values, truth, "age")["mae"])
    assert all(abs(group["bias"]) <= group["mae"] + 1e-9 for group in groups)


def test_unknown_labels_do_not_count():
    figures = evaluation.score(np.array([0.9, 0.2, 0.7]), np.array([1.0, 0.0, np.nan]), "gender")
    assert figures == {"mae": pytest.approx(0.15), "accuracy": 1.0}
    with pytest.raises(ValueError, match="no face here has a known gender"):
        evaluation.score(np.array([0.5]), np.array([np.nan]), "gender")


def test_the_best_constant_guess_comes_from_train_only():
    splits = ["train"] * 3 + ["test"] * 2
    rows = pd.DataFrame({"split": splits, "age": [10, 20, 90, 0, 0], "gender": ["male"] * 2 + ["female"] * 3})
    ages = evaluation.constant_guess(rows, np.array([0.0, 40.0]), "age")
    assert (ages["guess"], ages["mae"]) == (20, 20)
    genders = evaluation.constant_guess(rows, np.array([1.0, 1.0, 0.0, 1.0]), "gender")
    assert (genders["guess"], genders["accuracy"]) == ("male", 0.75)


def test_errors_of_exactly_n_years_do_not_count_as_smaller():
    values, truth = np.array([20.0, 24.99, 25.0, 30.0]), np.full(4, 20.0)
    assert evaluation.score(values, truth, "age")["ca5"] == 0.5
    assert evaluation.cs_curve(values, truth)[4] == {"years": 5, "share": 0.5, "interval": [0.0, 1.0]}


@given(ages)
def test_figures_lie_in_their_intervals_and_the_curve_only_rises(truth):
    table = pd.DataFrame({"value": truth[::-1], "truth": truth, "low": np.nan, "high": np.nan})
    figures = evaluation.summary(evaluation.figures_per_face(table))
    for name, interval in figures["intervals"].items():
        if interval:
            assert interval[0] - 1e-9 <= figures[name] <= interval[1] + 1e-9
    assert figures["rmse"] + 1e-9 >= figures["mae"] >= abs(figures["bias"]) - 1e-9
    shares = [point["share"] for point in evaluation.cs_curve(truth[::-1], truth)]
    assert shares == sorted(shares)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(100):
        low, high = evaluation.summary(pd.DataFrame({"mae": rng.exponential(5, 200)}))["intervals"]["mae"]
        hits += low <= 5 <= high
    assert 88 <= hits <= 100


def test_one_face_has_no_interval_and_groups_come_worst_first():
    found = evaluation.by_group(pd.DataFrame({"mae": [1.0, 9.0, 2.0]}), pd.Series(["a", "alone", "a"]))
    assert [group["group"] for group in found] == ["alone", "a"]
    assert found[0]["intervals"] == {"mae": None}
    genders = evaluation.by_group(pd.DataFrame({"accuracy": [1.0, 0.0]}), pd.Series(["good", "bad"]))
    assert genders[0]["group"] == "bad"


def store_of(rows: pd.DataFrame, path):
    faces = np.random.default_rng(0).integers(0, 256, (len(rows), 64, 64, 3), np.uint8)
    return store.write(path, lambda _: [(faces, rows, store.NO_REJECTS)], {"kind": "noise"})


def rows_of(count: int, **columns) -> pd.DataFrame:
    rows = {"path": [f"{i}.jpg" for i in range(count)], "age": 30.0, "gender": "male", "split": "test"}
    return pd.DataFrame(rows | columns)


def test_a_split_is_read_in_batches_and_only_that_split(age_network, tmp_path, monkeypatch):
    rows = rows_of(20, age=np.arange(20.0), split=["test", "train"] * 10)
    noise = store_of(rows, tmp_path / "noise")
    whole = evaluation.predictions(age_network, noise, "test")
    assert whole["age"].tolist() == list(range(0, 20, 2))
    faces = noise.split("test")[0]
    both = [evaluation.predict(age_network, seen) for seen in (faces, faces[:, :, ::-1])]
    assert whole["value"].to_numpy() == pytest.approx(np.mean(both, axis=0), abs=1e-4)
    assert whole["difference"].to_numpy() == pytest.approx(abs(both[0] - both[1]), abs=1e-4)
    monkeypatch.setattr(evaluation, "BATCH", 3)
    parts = evaluation.predictions(age_network, noise, "test")
    assert parts["value"].to_numpy() == pytest.approx(whole["value"].to_numpy(), abs=1e-4)


def test_all_equal_ages_and_a_train_split_without_labels(age_network, tmp_path):
    figures = evaluation.evaluate(age_network, store_of(rows_of(5), tmp_path / "noise"), "test")
    assert figures["constant"] == {}
    assert [group["faces"] for group in figures["groups"]["age"]] == [5]
    assert np.isfinite(figures["mae"])
    json.dumps(figures, allow_nan=False)


def test_unknown_genders_are_left_out_for_gender_and_a_group_for_age(age_network, tmp_path):
    genders = ["male", "female", None, None, None, None]
    noise = store_of(rows_of(6, gender=genders), tmp_path / "noise")
    gender_network = weights.load(weights.pretrained("gender"))
    assert evaluation.evaluate(gender_network, noise, "test")["faces"] == 2
    groups = evaluation.evaluate(age_network, noise, "test")["groups"]["gender"]
    assert {group["group"]: group["faces"] for group in groups} == {"male": 1, "female": 1, "unknown": 4}


def test_an_empty_split_says_which_there_are(age_network, tmp_path):
    noise = store_of(rows_of(3), tmp_path / "noise")
    with pytest.raises(ValueError, match="no face is in the split 'validation'; there are: test"):
        evaluation.evaluate(age_network, noise, "validation")
    unknown = store_of(rows_of(3, age=np.nan), tmp_path / "unknown")
    with pytest.raises(ValueError, match="no face of the test split has a known age"):
        evaluation.evaluate(age_network, unknown, "test")


def test_answers_that_are_no_numbers_are_refused(tmp_path):
    broken = SSRNet()
    torch.nn.init.constant_(broken.stream1[0][0].bias, torch.nan)
    with pytest.raises(ValueError, match=r"not a number for 3 of 3 faces, first for 0\.jpg"):
        evaluation.evaluate(broken, store_of(rows_of(3), tmp_path / "noise"), "test")


def test_calibrated_probabilities_and_intervals_are_measured(age_network, drawn_store):
    wide = {"scale": [1, 0, 0], "middles": [50], "bands": [[-200, 200]]}
    figures = evaluation.evaluate(age_network, drawn_store, "test", wide)
    assert (figures["coverage"], figures["width"]) == (1.0, 120.0)
    gender_network = weights.load(weights.pretrained("gender"))
    figures = evaluation.evaluate(gender_network, drawn_store, "test", {"beta": [0.0, 0.0, 0.0]})
    assert figures["brier"] == 0.25
    assert [(part["said"], part["faces"]) for part in figures["reliability"]] == [(0.5, figures["faces"])]


@pytest.mark.parametrize("target", ["age", "gender"])
def test_built_in_intervals_and_probabilities_hold_on_test(target):
    results = Path(__file__).parents[1] / "book" / "results"
    figures = json.loads((results / f"{target}-test.json").read_text())["figures"]
    if target == "age":
        assert figures["coverage"] == pytest.approx(0.9, abs=0.035)
        large = [group for group in figures["groups"]["age"] if group["faces"] >= 100]
        assert all(group["intervals"]["coverage"][1] >= 0.88 for group in large)
    else:
        gaps = [abs(part["said"] - part["was"]) * part["faces"] for part in figures["reliability"]]
        assert sum(gaps) / figures["faces"] < 0.04


def test_predict_leaves_training_mode_as_it_was(age_network):
    faces = np.zeros((600, 64, 64, 3), np.uint8)
    age_network.train()
    values = evaluation.predict(age_network, faces)
    assert age_network.training
    age_network.eval()
    assert values.shape == (600,)
    assert np.allclose(values, values[0])
    assert evaluation.predict(age_network, faces[:0]).shape == (0,)
