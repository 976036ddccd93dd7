import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from ssrlib import detectors, weights
from ssrlib.calibration import age_interval
from ssrlib.detectors import Box
from ssrlib.estimator import AgeGenderEstimator, Reading
from ssrlib.tracking import LONGEST, LOST_SECONDS, STEADY, Following, Tracker, find_again, find_new, iou
from testing.faces import FOGGY_AND_CLEAR, LYING, scene

boxes = st.builds(Box, *[st.integers(0, 300)] * 2, *[st.integers(1, 300)] * 2)


def reading(x: int, age: float = 30.0, y: int = 100, side: int = 80) -> Reading:
    return Reading(Box(x, y, side, side), age, age - 10, age + 10, 0.2)


@given(boxes, boxes)
def test_iou_is_a_symmetric_share_and_1_only_for_the_same_box(a, b):
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1
    assert (iou(a, b) == 1) == (a[:4] == b[:4])


def test_two_faces_keep_their_numbers_while_they_move_and_change_their_order():
    tracker = Tracker()
    for step in range(20):
        left, right = reading(20 + 8 * step, age=20, y=20), reading(300 - 8 * step, age=60, y=220)
        order = [left, right] if step % 2 else [right, left]
        shown = tracker.update(order, now=step / 15)
    assert {track.number: round(track.smooth.age) for track in shown} in ({1: 60, 2: 20}, {1: 20, 2: 60})
    assert len(tracker.tracks) == 2


def test_best_overlap_wins():
    tracker = Tracker()
    for now in (0.0, 0.1):
        tracker.update([reading(0, age=20), reading(60, age=60)], now)
    shown = tracker.update([reading(50, age=60)], 0.2)
    assert [round(track.smooth.age) for track in shown] == [60]


def test_a_face_seen_once_is_not_shown_and_one_long_gone_gets_a_new_number():
    tracker = Tracker()
    assert tracker.update([reading(0)], 0.0) == []
    assert [track.number for track in tracker.update([reading(0)], 0.1)] == [1]
    assert tracker.update([], 0.2) == []
    assert [track.number for track in tracker.update([reading(0)], 0.3)] == [1]
    tracker.update([], 0.31 + LOST_SECONDS)
    tracker.update([reading(0)], 1.0)
    assert [track.number for track in tracker.update([reading(0)], 1.1)] == [2]


# In a second without noise a scatter of 3 falls, and with it the time, from four seconds to two or three.
@pytest.mark.parametrize(
    ("noise", "longer", "then"), [(0.5, 1, 1), (1.2, 1, 1), (3.0, 4, 3), (20.0, LONGEST, LONGEST)]
)
def test_smoothing_calms_noise_and_follows_a_change_within_its_time(noise, longer, then):
    rng = np.random.default_rng(0)
    tracker, latest, smooth = Tracker(), [], []
    for step in range(150):
        (track, *_) = tracker.update([reading(0, 30 + rng.normal(0, noise))], step / 15) or [None]
        if track:
            latest.append(track.latest.age)
            smooth.append(track.smooth.age)
    assert np.std(smooth[15:]) < 0.4 * np.std(latest[15:]) / longer**0.5
    assert abs(np.mean(smooth) - 30) < max(1, noise / 4)
    before = track.smooth.age
    for step in range(150, 165):  # one second of another age
        (track,) = tracker.update([reading(0, 50.0)], step / 15)
    arrived = (track.smooth.age - before) / (50 - before)
    assert arrived == pytest.approx(1 - math.exp(-1 / then), abs=0.05)


def test_a_label_stays_where_its_average_swings_between_two_numbers():
    tracker, shown = Tracker(), set()
    for step in range(150):
        tracks = tracker.update([reading(0, 30.5 + 2 * (-1) ** step)], step / 15)
        shown |= {track.label for track in tracks if step > 30}
    assert len(shown) == 1
    for step in range(150, 450):
        (track,) = tracker.update([reading(0, 50.0)], step / 15)
    assert track.label[0] == 50
    for shown_bound, bound in zip(track.label[1:3], track.smooth[2:4], strict=True):
        assert abs(shown_bound - bound) < STEADY[1]
    assert track.smooth[1:4] == pytest.approx((50, 40, 60), abs=0.1)


def test_in_half_a_minute_bounds_change_no_more_often_than_the_age():
    """Forty still faces; the bounds follow from how far a face and its mirror image differ."""
    card = weights.read_card(weights.pretrained("age"))["calibration"]
    changes = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise, apart, seconds = rng.uniform(0.2, 4), rng.uniform(-6, 6), 32
        mirrored = rng.uniform(5, 85) + rng.normal(0, noise * 2**0.5, (2, 15 * seconds)) + [[0], [apart]]
        ages = mirrored.mean(axis=0).clip(0)
        bounds = age_interval(card, ages, np.abs(mirrored[0] - mirrored[1]))
        tracker, labels = Tracker(), []
        values = np.column_stack([ages, *bounds, rng.normal(0.5, 0.05, len(ages))]).tolist()
        for step, numbers in enumerate(values):
            shown = tracker.update([Reading(Box(100, 100, 80, 80), *numbers)], step / 15)
            labels += [track.label for track in shown if step > 30]
        changes.append(np.count_nonzero(np.diff(labels, axis=0), axis=0))
    age, low, high, p_male = np.sum(changes, axis=0)
    assert max(low, high) <= age
    assert p_male <= age


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(0, 20), st.floats(0.001, 2))
def test_a_labels_age_lies_between_its_bounds(ages, reach, seconds):
    tracker = Tracker()
    for step, age in enumerate(ages):
        read = Reading(Box(100, 100, 80, 80), age, max(0, age - reach), age + reach, 0.2)
        for track in tracker.update([read], step * seconds):
            assert track.label[1] <= track.label[0] <= track.label[2]


def test_a_face_that_was_sure_once_stays_sure_and_another_one_is_still_doubted():
    tracker, shown = Tracker(), []
    for step, sure in enumerate([False, False, True, False]):
        readings = [reading(0)._replace(sure=sure), reading(200)._replace(sure=False)]
        shown = tracker.update(readings, step / 15) or shown
        told = {track.number: (track.smooth.sure, track.steady.sure) for track in shown}
        assert told == ({1: (step > 1,) * 2, 2: (False,) * 2} if step else {})


def test_nobody_is_younger_than_0():
    tracker = Tracker()
    for step in range(10):
        tracker.update([reading(0, 40.0)], step / 10)
    for step in range(10, 60):  # a child takes the place: the age falls faster than its bounds
        (track,) = tracker.update([reading(0, 5.0)], step / 10)
        assert 0 <= track.smooth.age_low <= track.smooth.age
        assert track.label[1] >= 0


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(0.001, 0.5))
def test_smooth_values_stay_within_what_was_read(ages, seconds):
    tracker = Tracker()
    for step, age in enumerate(ages):
        shown = tracker.update([reading(0, age)], step * seconds)
    assert min(ages) - 1e-9 <= shown[0].smooth.age <= max(ages) + 1e-9


def test_a_clock_that_stands_still_does_no_harm():
    tracker = Tracker()
    for _ in range(3):
        shown = tracker.update([reading(0)], 5.0)
    assert shown[0].smooth.age == pytest.approx(30.0)


@pytest.fixture(scope="module")
def frame():
    return np.ascontiguousarray(cv2.resize(data.astronaut(), (640, 640))[:480])


def test_quick_searches_find_the_face_that_the_thorough_one_finds(frame):
    (thorough,) = detectors.find(frame)
    (new,) = find_new(frame)
    (again,) = find_again(frame, [Box(new.x + 20, new.y - 15, new.width, new.height)])
    assert iou(thorough, new) > 0.7
    assert iou(thorough, again) > 0.7


def test_a_doubtful_face_is_still_doubted_where_it_is_found_again():
    estimator, following = AgeGenderEstimator(backend="onnx"), Following()
    for now in (0.0, 0.1):  # the second frame is searched only near the faces of the first
        tracks = following.follow(FOGGY_AND_CLEAR, now, estimator)
    assert following.searched == 0
    sure = {track.steady.box.x > 300: track.steady.sure for track in tracks}
    assert sure == {True: True, False: False}, "she in the open, and she in fog"


def test_a_followed_face_on_its_side_is_doubted_as_the_search_doubts_it(monkeypatch):
    lying, following = scene(100, LYING[-1])[0], Following()
    estimator = AgeGenderEstimator(backend="onnx")
    asked = []
    monkeypatch.setattr("ssrlib.estimator.lies_otherwise", lambda *seen: asked.append(seen) or [True])
    for now in (0.0, 0.1, 0.2):
        tracks = following.follow(lying, now, estimator)
    assert [track.steady.sure for track in tracks] == [False]
    assert len(asked) == 1, "a followed frame is not asked about"


def test_two_tracks_near_one_face_find_it_once(frame):
    (box,) = find_new(frame)
    assert len(find_again(frame, [box, Box(box.x + 10, box.y, box.width, box.height)])) == 1


@pytest.mark.parametrize("box", [Box(-200, -200, 50, 50), Box(630, 470, 100, 100), Box(0, 0, 1, 1)])
def test_a_box_beyond_the_border_finds_nothing(frame, box):
    assert find_again(frame, [box]) == []
