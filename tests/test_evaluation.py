import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssrlib import evaluation

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


def test_predict_leaves_training_mode_as_it_was(age_network):
    faces = np.zeros((600, 64, 64, 3), np.uint8)
    age_network.train()
    values = evaluation.predict(age_network, faces)
    assert age_network.training
    age_network.eval()
    assert values.shape == (600,)
    assert np.allclose(values, values[0])
    assert evaluation.predict(age_network, faces[:0]).shape == (0,)
