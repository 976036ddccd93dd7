import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssrlib import calibration, inference, metrics, store, weights
from ssrlib.network import FaceNetwork, SSRNet
from ssrlib.targets import AGE, GENDER

ages = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 110))


@given(ages, st.floats(-20, 20))
def test_a_constant_error_is_its_own_mae(truth, error):
    measured = metrics.score(truth + error, truth, AGE)
    assert measured["mae"] == pytest.approx(abs(error), abs=1e-9)


@given(ages, st.integers(1, 30))
def test_groups_hold_every_face_once_and_average_to_the_whole(truth, step):
    values = truth[::-1].copy()
    groups = metrics.errors_by_age(values, truth, step)
    assert sum(group["faces"] for group in groups) == len(truth)
    whole = sum(group["faces"] * group["mae"] for group in groups) / len(truth)
    assert whole == pytest.approx(metrics.score(values, truth, AGE)["mae"])
    assert all(abs(group["bias"]) <= group["mae"] + 1e-9 for group in groups)


def test_unknown_labels_do_not_count():
    measured = metrics.score(np.array([0.9, 0.2, 0.7]), np.array([1.0, 0.0, np.nan]), GENDER)
    assert measured == {"mae": pytest.approx(0.15), "accuracy": 1.0}
    with pytest.raises(ValueError, match="no face here has a known gender"):
        metrics.score(np.array([0.5]), np.array([np.nan]), GENDER)


def test_the_best_constant_guess_comes_from_train_only():
    splits = ["train"] * 3 + ["test"] * 2
    rows = pd.DataFrame({"split": splits, "age": [10, 20, 90, 0, 0], "gender": ["male"] * 2 + ["female"] * 3})
    ages = metrics.constant_baseline(rows, np.array([0.0, 40.0]), AGE)
    assert (ages["guess"], ages["mae"]) == (20, 20)
    genders = metrics.constant_baseline(rows, np.array([1.0, 1.0, 0.0, 1.0]), GENDER)
    assert (genders["guess"], genders["accuracy"]) == ("male", 0.75)


def test_errors_of_exactly_n_years_do_not_count_as_smaller():
    values, truth = np.array([20.0, 24.99, 25.0, 30.0]), np.full(4, 20.0)
    assert metrics.score(values, truth, AGE)["ca5"] == 0.5
    assert metrics.cs_curve(values, truth)[4] == {"years": 5, "share": 0.5, "interval": [0.0, 1.0]}


@given(ages)
def test_metrics_lie_in_their_intervals_and_the_curve_only_rises(truth):
    table = pd.DataFrame({"value": truth[::-1], "truth": truth, "low": np.nan, "high": np.nan})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 100)
        measured = metrics.summary(metrics.metrics_per_face(table, AGE))
    for name, interval in measured["intervals"].items():
        if interval:
            assert interval[0] - 1e-9 <= measured[name] <= interval[1] + 1e-9
    assert measured["rmse"] + 1e-9 >= measured["mae"] >= abs(measured["bias"]) - 1e-9
    shares = [point["share"] for point in metrics.cs_curve(truth[::-1], truth)]
    assert shares == sorted(shares)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(100):
        low, high = metrics.summary(pd.DataFrame({"mae": rng.exponential(5, 200)}))["intervals"]["mae"]
        hits += low <= 5 <= high
    assert 88 <= hits <= 100


def test_one_face_has_no_interval_and_groups_come_worst_first():
    found = metrics.by_group(pd.DataFrame({"mae": [1.0, 9.0, 2.0]}), pd.Series(["a", "alone", "a"]))
    assert [group["group"] for group in found] == ["alone", "a"]
    assert found[0]["intervals"] == {"mae": None}
    genders = metrics.by_group(pd.DataFrame({"accuracy": [1.0, 0.0]}), pd.Series(["good", "bad"]))
    assert genders[0]["group"] == "bad"


def store_of(rows: pd.DataFrame, path):
    faces = np.random.default_rng(0).integers(0, 256, (len(rows), 64, 64, 3), np.uint8)
    return store.write_store(path, lambda _: [(faces, rows, store.NO_REJECTS)], {"kind": "noise"})


def rows_of(count: int, **columns) -> pd.DataFrame:
    rows = {"path": [f"{i}.jpg" for i in range(count)], "age": 30.0, "gender": "male", "split": "test"}
    return pd.DataFrame(rows | columns)


def test_a_split_is_read_in_batches_and_only_that_split(age_network, tmp_path, monkeypatch):
    rows = rows_of(20, age=np.arange(20.0), split=["test", "train"] * 10)
    noise = store_of(rows, tmp_path / "noise")
    whole = inference.predict_split(age_network, noise, "test")
    assert whole["age"].tolist() == list(range(0, 20, 2))
    faces = noise.split("test")[0]
    both = [inference.predict(age_network, seen) for seen in (faces, faces[:, :, ::-1])]
    assert whole["value"].to_numpy() == pytest.approx(np.mean(both, axis=0), abs=1e-4)
    assert whole["difference"].to_numpy() == pytest.approx(abs(both[0] - both[1]), abs=1e-4)
    monkeypatch.setattr(inference, "BATCH", 3)
    parts = inference.predict_split(age_network, noise, "test")
    assert parts["value"].to_numpy() == pytest.approx(whole["value"].to_numpy(), abs=1e-4)


def test_gender_is_calibrated_on_the_networks_own_outputs(tmp_path):
    network = weights.load(weights.pretrained("gender"))
    faces = store_of(rows_of(200), tmp_path / "faces").split("test")[0]
    outputs, differences = inference.flip_average(lambda some: inference.predict(network, some), faces)
    noise = np.random.default_rng(1).normal(0, outputs.std(), 200)
    male = outputs + noise > np.median(outputs)
    rows = rows_of(200, gender=np.where(male, "male", "female"), split="validation")
    fitted = inference.calibrate(network, store_of(rows, tmp_path / "labeled"))
    expected = calibration.fit(GENDER, outputs, differences, male.astype(float))
    assert fitted["platt"] == pytest.approx(expected["platt"], rel=1e-3)


def test_all_equal_ages_and_a_train_split_without_labels(age_network, tmp_path):
    measured = metrics.evaluate(age_network, store_of(rows_of(5), tmp_path / "noise"), "test")
    assert measured["constant"] == {}
    assert [group["faces"] for group in measured["groups"]["age"]] == [5]
    assert np.isfinite(measured["mae"])
    json.dumps(measured, allow_nan=False)


def test_unknown_genders_are_left_out_for_gender_and_a_group_for_age(age_network, tmp_path):
    genders = ["male", "female", None, None, None, None]
    noise = store_of(rows_of(6, gender=genders), tmp_path / "noise")
    gender_network = weights.load(weights.pretrained("gender"))
    assert metrics.evaluate(gender_network, noise, "test")["faces"] == 2
    groups = metrics.evaluate(age_network, noise, "test")["groups"]["gender"]
    assert {group["group"]: group["faces"] for group in groups} == {"male": 1, "female": 1, "unknown": 4}


def test_an_empty_split_says_which_there_are(age_network, tmp_path):
    noise = store_of(rows_of(3), tmp_path / "noise")
    with pytest.raises(ValueError, match="no face is in the split 'validation'; there are: test"):
        metrics.evaluate(age_network, noise, "validation")
    unknown = store_of(rows_of(3, age=np.nan), tmp_path / "unknown")
    with pytest.raises(ValueError, match="no face of the test split has a known age"):
        metrics.evaluate(age_network, unknown, "test")


def test_answers_that_are_no_numbers_are_refused(tmp_path):
    broken = SSRNet()
    torch.nn.init.constant_(broken.stream1[0][0].bias, torch.nan)
    with pytest.raises(ValueError, match=r"not a number for 3 of 3 faces, first for 0\.jpg"):
        metrics.evaluate(broken, store_of(rows_of(3), tmp_path / "noise"), "test")


def test_calibrated_probabilities_and_intervals_are_measured(age_network, drawn_store):
    wide = {"scale": [1, 0, 0], "middles": [50], "bands": [[-200, 200]]}
    measured = metrics.evaluate(age_network, drawn_store, "test", wide)
    assert (measured["coverage"], measured["width"]) == (1.0, 120.0)
    gender_network = weights.load(weights.pretrained("gender"))
    measured = metrics.evaluate(gender_network, drawn_store, "test", {"platt": [0.0, 0.0]})
    assert measured["brier"] == 0.25
    assert [(part["mean_predicted"], part["faces"]) for part in measured["calibration_curve"]] == [
        (0.5, measured["faces"])
    ]


@pytest.mark.parametrize("target", ["age", "gender"])
def test_built_in_intervals_and_probabilities_hold_on_test(target):
    results = Path(__file__).parents[1] / "book" / "results"
    measured = json.loads((results / f"{target}-test.json").read_text())["metrics"]
    if target == "age":
        away = json.loads((results / "away.json").read_text())["metrics"]
        asked = ("age", "built in", "utkface")
        (home,) = (row for row in away if (row["target"], row["network"], row["source"]) == asked)
        assert home["coverage before widening"] == pytest.approx(0.9, abs=0.035)
        assert home["coverage before widening"] < home["coverage"] == measured["coverage"]
        large = [group for group in measured["groups"]["age"] if group["faces"] >= 100]
        assert all(group["intervals"]["coverage"][1] >= 0.88 for group in large)
    else:
        gaps = [
            abs(part["mean_predicted"] - part["fraction_positive"]) * part["faces"]
            for part in measured["calibration_curve"]
        ]
        assert sum(gaps) / measured["faces"] < 0.04


def test_predict_leaves_training_mode_as_it_was():
    faces = np.zeros((600, 64, 64, 3), np.uint8)
    network = SSRNet().train()
    values = inference.predict(network, faces)
    assert network.training
    assert values.shape == (600,)
    assert np.allclose(values, values[0])
    assert inference.predict(network, faces[:0]).shape == (0,)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 3), st.just(40)), elements=st.floats(0, 60)), st.floats(-5, 5)
)
def test_a_paired_comparison_drops_what_is_hard_for_both(errors, shift):
    """Each run off by the same: whatever the faces, the difference is sure. Runs that differ are not."""
    alike = np.repeat(errors[:1], 3, axis=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 100)
        told = metrics.compare(alike + shift, alike)
    assert told["difference"] == pytest.approx(shift, abs=1e-9)
    assert told["interval"] == pytest.approx([shift, shift], abs=1e-9)


def test_a_comparison_of_runs_that_scatter_is_unsure():
    rng = np.random.default_rng(1)
    errors = rng.exponential(5, size=(3, 500))
    told = metrics.compare(errors + np.array([[-1.0], [0], [1]]), errors)
    low, high = told["interval"]
    assert low < 0 < high
    assert 1 < high - low < 4


def test_what_counts_at_the_border():
    table = pd.DataFrame({"value": [24.0], "truth": [20.0], "low": [20.0], "high": [30.0]})
    found = metrics.metrics_per_face(table, AGE).iloc[0]
    assert found[["bias", "ca3", "ca5", "coverage"]].tolist() == [4, 0, 1, 1]


def test_groups_by_what_was_read_and_by_how_far_mirror_images_are_apart():
    table = pd.DataFrame({"value": [31.0, 41, 51, 61], "truth": 5.0, "difference": [9.0, 1, 5, 3]})
    found = metrics.groupings(table, AGE)
    assert found["mirror disagreement"].tolist() == ["quarter 4", "quarter 1", "quarter 3", "quarter 2"]
    assert found["predicted age"].tolist() == ["30-39", "40-49", "50-59", "60-69"]


def test_an_interval_is_one_of_95_percent():
    spread = np.where(np.arange(10_000) % 2, 1.0, -1.0)  # of deviation 1: the mean's is a hundredth
    low, high = metrics.summary(pd.DataFrame({"bias": spread}))["intervals"]["bias"]
    assert (high - low) / 2 == pytest.approx(0.0196, rel=0.08)


def test_a_reading_that_is_no_number_names_its_photo(tmp_path):
    class Broken(FaceNetwork):
        def __init__(self):
            super().__init__({"target": "age"})
            self.one = torch.nn.Parameter(torch.ones(()))

        def forward(self, faces):
            return self.one / (faces.float().mean(dim=(1, 2, 3)) < 200)

    faces = np.stack([np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)])
    rows = pd.DataFrame({"path": ["fine", "bad"], "age": 30.0, "split": "test"})
    made = store.write_store(tmp_path / "s", lambda _: [(faces, rows, store.NO_REJECTS)], {})
    with pytest.raises(ValueError, match="not a number for 1 of 2 faces, first for bad;"):
        inference.predict_split(Broken(), made, "test")
