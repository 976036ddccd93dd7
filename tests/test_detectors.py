"""The built-in finder on photos that anyone may use: people with their heads tilted, and things."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from ssrlib import detectors, results
from ssrlib.detectors import Box, iou
from ssrlib.landmarks import placed, square
from testing.faces import FOGGY_AND_CLEAR, PHOTO, scene

THINGS = [
    data.coffee(),
    data.rocket(),
    np.stack([data.brick()] * 3, -1),
]


WRONG = pytest.mark.xfail(strict=True, reason="at another turn a spot on the table is taken for a face")


@pytest.mark.parametrize("roll", [-60, -45, -30, -15, 0, 15, 30, 45, 60])
def test_a_head_is_found_at_any_tilt_and_its_points_tell_the_tilt(roll):
    frame, points = scene(100, roll)
    (box,) = detectors.find(frame)
    seen = np.array(box.landmarks)
    center, side, turn = square(seen)
    assert abs(turn - square(points)[2]) < 8
    assert np.linalg.norm(seen - points, axis=1).mean() < 0.15 * np.linalg.norm(points[1] - points[0])
    assert side == pytest.approx(100, rel=0.15)
    assert np.linalg.norm(center - (320, 240)) < 10


@pytest.mark.parametrize("roll", [90, 120, 180, pytest.param(-90, marks=WRONG), -150])
def test_a_head_at_any_angle_is_found_if_asked(roll):
    frame, points = scene(100, roll)
    frame, points = np.ascontiguousarray(frame[:, 40:]), points - (40, 0)  # not as high as wide
    (box,) = detectors.find(frame, any_angle=True)
    seen = np.array(box.landmarks)
    assert np.linalg.norm(seen - points, axis=1).mean() < 0.15 * np.linalg.norm(points[1] - points[0])
    expected = detectors.box_of(points)
    assert iou(box, expected) > 0.7


def test_at_any_angle_an_upright_face_is_found_once_and_a_thing_is_none():
    frame, _ = scene(100, 40)
    assert detectors.find(frame, any_angle=True) == detectors.find(frame)
    assert [detectors.find(thing, any_angle=True) for thing in THINGS] == [[]] * len(THINGS)


@pytest.mark.parametrize("side", [24, 40, 80, 160, 320])
def test_a_head_is_found_at_any_size(side):
    frame, _points = scene(side, 10)
    hits = [box for box in detectors.find(frame) if abs(box.x + box.width / 2 - 320) < side / 4]
    assert len(hits) == 1
    assert hits[0].width == pytest.approx(side, rel=0.2)


@pytest.mark.parametrize(
    "changed",
    [
        lambda photo: photo[:, ::-1],
        lambda photo: np.stack([photo.mean(-1).astype(np.uint8)] * 3, -1),
        lambda photo: (photo * 0.12).astype(np.uint8),
        lambda photo: cv2.GaussianBlur(photo, (0, 0), 3),
        lambda photo: photo[:, :230],  # half a face at the border
        lambda photo: photo[70:185, 160:290],  # fills the frame
    ],
)
def test_mirrored_grey_dark_blurred_cut_off_and_close(changed):
    boxes = detectors.find(np.ascontiguousarray(changed(PHOTO)))
    assert len(boxes) == 1


@pytest.mark.parametrize("thing", [*THINGS, data.cat()])
def test_things_are_no_faces(thing):
    assert detectors.find(thing) == []


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 50), (3, 2000), (100, 4000), (20_000, 100), (100, 20_000), (7, 5)]
)
def test_pictures_of_any_shape(shape):
    assert detectors.find(np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)) == []


def test_fifty_faces():
    face = PHOTO[50:200, 150:300]
    crowd = np.tile(cv2.resize(face, (96, 96), interpolation=cv2.INTER_AREA), (5, 10, 1))
    boxes = detectors.find(crowd)
    assert len(boxes) == 50
    assert max(iou(a, b) for i, a in enumerate(boxes) for b in boxes[:i]) < detectors.SAME


def test_a_face_is_found_again_where_it_was_and_near_there_and_not_elsewhere():
    frame, _ = scene(100, 20)
    (box,) = detectors.find(frame)
    (again,) = detectors.look_again(frame, [box])
    assert iou(box, again) > 0.9
    near = Box(*box[:4], tuple((x + 12, y - 9) for x, y in box.landmarks))
    (again,) = detectors.look_again(frame, [near])
    assert iou(box, again) > 0.75
    far = Box(*box[:4], tuple((x + 150, y) for x, y in box.landmarks))
    assert detectors.look_again(frame, [far]) == []
    # Two that were one are one again.
    assert len(detectors.look_again(frame, [box, near])) == 1


def test_a_find_carries_its_score_into_a_large_photo_and_through_a_second_look():
    surest = [box.score for box in detectors.look(FOGGY_AND_CLEAR)][:2]
    found = detectors.find(FOGGY_AND_CLEAR)
    assert [box.score for box in found] == surest[::-1]
    assert found[0].score < detectors.SURE < 0.9 < found[1].score
    assert detectors.find(FOGGY_AND_CLEAR, any_angle=True)[0].score == found[0].score
    again = detectors.look_again(FOGGY_AND_CLEAR, found)
    assert {box.x > 300: box.score for box in again} == {False: found[0].score, True: found[1].score}
    large = cv2.resize(PHOTO, None, fx=3, fy=3)
    assert detectors.find(large)[0].score > 0.9
    assert [box.score for box in detectors.find(PHOTO, "haar")] == [None]


def test_a_face_lies_as_it_was_found_or_otherwise():
    assert detectors.lies_otherwise(PHOTO, []) == []
    (upright,) = detectors.find(PHOTO)
    center, side, roll = square(np.array(upright.landmarks))
    turned = [
        upright._replace(landmarks=tuple(map(tuple, placed(center, side, roll + turn).tolist())))
        for turn in (0, 90, 180, 270)
    ]
    assert detectors.lies_otherwise(PHOTO, turned) == [False, True, True, True]
    for roll in (-45, -20, 20, 45):
        frame, _ = scene(100, roll)
        assert detectors.lies_otherwise(frame, detectors.find(frame)) == [False]


def test_a_box_and_its_landmarks_tell_the_same_place():
    box = Box(100, 50, 80, 80)
    seen = detectors.box_of(detectors.points_of(box))
    assert seen[:4] == pytest.approx(box[:4])


def test_landmarks_of_a_large_photo_are_in_its_own_pixels():
    frame, _ = scene(100, 0)
    large = cv2.resize(frame, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    (small_box,), (large_box,) = detectors.find(frame), detectors.find(large)
    expected = (np.array(small_box.landmarks) + 0.5) * 4 - 0.5
    assert np.abs(np.array(large_box.landmarks) - expected).max() < 14


def test_look_tells_how_sure_it_is():
    frame, _ = scene(100, 0)
    found = detectors.look(frame)
    scores = [box.score for box in found]
    assert scores[0] > 0.9
    assert all(0 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)


def test_the_thresholds_are_what_validation_chose():
    metrics = results.load("finder-threshold")["metrics"]
    assert (metrics["chosen"], metrics["sure"]) == (detectors.CERTAIN, detectors.SURE)


def test_threads_do_not_disturb_one_another():
    photo = data.astronaut()
    photos = [
        np.ascontiguousarray(photo[start : start + 400, start : start + 400]) for start in range(0, 96, 12)
    ]
    alone = [detectors.find(part, "haar") for part in photos]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(partial(detectors.find, detector="haar"), photos)) == alone


@pytest.mark.skipif(sys.platform == "win32", reason="there everybody has a profile")
def test_where_nobody_has_a_home_the_package_is_there(tmp_path):
    """As in a container that runs under a number without a name."""
    program = """
import os, pwd

def nobody(number):
    raise KeyError(number)

pwd.getpwuid = nobody
del os.environ["HOME"]
from ssrlib import AgeGenderEstimator
from ssrlib.datasets import synthetic
print(synthetic.store(20).path)
"""
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "tmp")
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]


def test_yunet_gets_blue_first_and_gives_points_from_left_to_right(monkeypatch):
    seen = []

    class Fake:
        def setInputSize(self, size):
            seen.append(size)

        def detect(self, photo):
            seen.append(photo[0, 0].tolist())
            return 1, np.arange(15, dtype=np.float32)[None] + 10

    monkeypatch.setattr(detectors, "_yunet", lambda: Fake())
    photo = np.zeros((60, 90, 3), np.uint8) + np.array([1, 2, 3], np.uint8)
    (box,) = detectors.DETECTORS["yunet"].search(photo)
    assert seen == [(90, 60), [3, 2, 1]]
    assert box == Box(10, 11, 12, 13, ((14, 15), (16, 17), (18, 19), (20, 21), (22, 23)))
