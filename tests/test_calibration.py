import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ssrlib import calibration
from ssrlib.targets import AGE, GENDER, TARGETS


def readings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ages as a network reads them: pulled to the middle, worse for the old and where mirrors disagree."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 100, count).astype(float)
    differences = rng.exponential(2, count)
    noise = rng.normal(0, 1, count) * (1 + 0.08 * truth + differences)
    return np.clip(truth + 0.2 * (35 - truth) + noise, 0, None), differences, truth


@pytest.fixture(scope="module")
def fitted() -> dict:
    return calibration.fit(AGE, *readings(3000, seed=0))


def inside(fitted: dict, ages, differences, truth) -> np.ndarray:
    low, high = calibration.age_interval(fitted, ages, differences)
    return (low <= truth) & (truth <= high)


def test_new_faces_are_covered_overall_and_in_every_decade(fitted):
    ages, differences, truth = readings(20_000, seed=1)
    covered = inside(fitted, ages, differences, truth)
    assert covered.mean() == pytest.approx(0.9, abs=0.02)
    for start in range(0, 100, 10):
        decade = (truth >= start) & (truth < start + 10)
        assert covered[decade].mean() == pytest.approx(0.9, abs=0.05)


def test_intervals_widen_with_disagreement(fitted):
    low, high = calibration.age_interval(fitted, np.full(2, 40.0), np.array([0.0, 10.0]))
    assert high[1] - low[1] > high[0] - low[0] + 5


def test_without_calibration_there_are_no_bounds_and_outputs_are_log_odds():
    low, high = calibration.age_interval(None, np.array([3.0]), np.array([0.0]))
    assert np.isnan([*low, *high]).all()
    assert calibration.probability(None, np.array([0.5, 0.625])) == pytest.approx([0.5, 1 / (1 + np.exp(-1))])


def test_a_calibration_for_the_other_target_is_refused(fitted):
    with pytest.raises(ValueError, match="is one for gender"):
        calibration.age_interval({"faces": 200, "platt": [1, 0]}, np.array([3.0]), np.array([0.0]))
    with pytest.raises(ValueError, match="is one for age"):
        calibration.probability(fitted, np.array([0.5]))
    with pytest.raises(ValueError, match="is one for gender"):
        calibration.widened({"faces": 200, "platt": [1, 0]}, 1.2)


def test_bands_are_not_turned_around(fitted):
    with pytest.raises(ValueError, match="above 0, not by -1"):
        calibration.widened(fitted, -1)


def test_calibrations_survive_json(fitted):
    copy = json.loads(json.dumps(fitted))
    expected = calibration.age_interval(fitted, np.array([20.0]), np.array([1.0]))
    assert calibration.age_interval(copy, np.array([20.0]), np.array([1.0])) == expected


@given(arrays(np.float64, 5, elements=st.floats(-50, 200)), arrays(np.float64, 5, elements=st.floats(0, 100)))
def test_an_interval_always_holds_its_reading(fitted, ages, differences):
    low, high = calibration.age_interval(fitted, ages, differences)
    assert (low <= ages).all()
    assert (ages <= high).all()


@given(st.floats(1, 3), st.floats(0, 100), st.floats(0, 100))
def test_wider_bands_hold_what_the_others_hold_and_go_back(fitted, factor, age, difference):
    reading = np.array([age]), np.array([difference])
    wide = calibration.widened(fitted, factor)
    (low, high), (lowest, highest) = (calibration.age_interval(each, *reading) for each in (fitted, wide))
    assert lowest <= low
    assert high <= highest
    back = calibration.widened(wide, 1 / factor)
    assert back["widened"] == pytest.approx(1)
    np.testing.assert_allclose(back["bands"], fitted["bands"])


@pytest.mark.parametrize("ages", [np.full(200, 30.0), np.repeat([10.0, 90.0], [199, 1])])
def test_ages_without_variety_still_give_intervals(ages):
    fitted = calibration.fit(AGE, ages + np.linspace(-5, 5, 200), np.ones(200), ages)
    assert inside(fitted, ages + np.linspace(-5, 5, 200), np.ones(200), ages).mean() >= 0.88


def test_faces_that_come_in_rotation_are_no_hindrance():
    """Every fifth is a child: folds that were dealt in the faces' order would have no child outside one."""
    ages, differences, truth = readings(1000, seed=3)
    grown = np.flatnonzero(truth >= 20)[:300]
    ages, differences, truth = ages[grown], differences[grown], truth[grown]
    noise = np.random.default_rng(4).normal(0, 2, 60)
    truth[::5], ages[::5] = 5.0, 8.0 + noise
    fitted = calibration.fit(AGE, ages, differences, truth)
    held = inside(fitted, ages, differences, truth)
    assert 0.85 <= held.mean() <= 0.97
    assert 0.85 <= held[::5].mean() <= 1


@pytest.mark.filterwarnings("error")
def test_answers_far_outside_are_certain():
    assert calibration.probability(None, np.array([-1e3, 0.5, 1e3])).tolist() == [0.0, 0.5, 1.0]


def gender_scores(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count).astype(float)
    return truth + rng.normal(0, 0.5, count), truth


def test_probabilities_are_honest_and_keep_the_order():
    scores, truth = gender_scores(4000, seed=0)
    fitted = calibration.fit(GENDER, scores, np.zeros_like(scores), truth)
    scores, truth = gender_scores(20_000, seed=1)
    p = calibration.probability(fitted, scores)
    assert (np.diff(p[np.argsort(scores)]) >= 0).all()
    for start in np.arange(0, 1, 0.2):
        part = (p >= start) & (p < start + 0.2)
        assert p[part].mean() == pytest.approx(truth[part].mean(), abs=0.05)
    # The scores as they are claim more than they know.
    raw = calibration.probability(None, scores)
    assert ((p - truth) ** 2).mean() < ((raw - truth) ** 2).mean()


def test_a_useless_network_gets_a_flat_probability():
    scores, truth = gender_scores(1000, seed=0)
    fitted = calibration.fit(GENDER, 1 - scores, np.zeros_like(scores), truth)
    p = calibration.probability(fitted, np.array([0.0, 0.5, 1.0]))
    assert p == pytest.approx(truth.mean(), abs=0.01)


def test_unknown_labels_are_left_out():
    ages, differences, truth = readings(1000, seed=2)
    half = np.where(np.arange(1000) % 2 == 0, truth, np.nan)
    assert calibration.fit(AGE, ages, differences, half)["faces"] == 500


@pytest.mark.parametrize(
    ("target", "values", "truth", "message"),
    [
        ("age", np.ones(50), np.ones(50), "at least 100 faces with a known age, not 50"),
        ("age", np.ones(200), np.full(200, np.nan), "at least 100 faces with a known age, not 0"),
        ("age", np.full(200, np.nan), np.ones(200), "not a number"),
        ("gender", np.ones(200), np.ones(200), "faces of both classes"),
    ],
)
def test_bad_input_gets_one_clear_sentence(target, values, truth, message):
    with pytest.raises(ValueError, match=message):
        calibration.fit(TARGETS[target], values, np.zeros_like(values), truth)


def test_calibration_needs_no_torch():
    code = "import sys, ssrlib.calibration; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
