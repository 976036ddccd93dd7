import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from ssrlib.landmarks import TEMPLATE, square
from ssrlib.scenes import Portrait, Scene, draw_scene, mirrored, paste

# The astronaut's eyes, nose and corners of the mouth.
POINTS = np.array([[206.0, 101], [248, 101], [226, 122], [207, 141], [244, 141]])
ASTRONAUT = Portrait(data.astronaut(), POINTS)
PORTRAITS = [ASTRONAUT, Portrait(data.astronaut()[64:184, 164:284], TEMPLATE * 1.9, False)]
THINGS = [data.coffee(), data.cat(), np.zeros((30, 40, 3), np.uint8)]


@settings(max_examples=20, derandomize=True)
@given(st.floats(20, 150), st.floats(-60, 60), st.floats(60, 240), st.floats(60, 180))
def test_a_pasted_face_lies_as_asked(side, roll, x, y):
    scene = np.zeros((240, 320, 3), np.uint8)
    points, covered = paste(scene, ASTRONAUT, (x, y), side, roll)
    center, pasted_side, pasted_roll = square(points)
    np.testing.assert_allclose(center, (x, y), atol=0.05 * side)
    np.testing.assert_allclose(pasted_side, side, rtol=0.02)
    np.testing.assert_allclose(pasted_roll, roll, atol=0.5)
    edge = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5))) > 0
    assert (scene[~edge] == 0).all()
    assert scene[covered].std() > 10


def test_what_is_pasted_at_its_own_size_is_the_photo_itself():
    center, side, roll = square(POINTS)
    scene = np.zeros_like(ASTRONAUT.photo)
    points, covered = paste(scene, ASTRONAUT, center.tolist(), float(side), float(roll))
    assert covered.all()
    np.testing.assert_allclose(points, POINTS, atol=0.01)
    assert np.abs(scene.astype(int) - ASTRONAUT.photo).max() <= 2


def test_a_mirror_image_of_a_mirror_image_is_the_portrait():
    there = mirrored(ASTRONAUT)
    assert there.points[0, 0] < there.points[1, 0]
    back = mirrored(there)
    np.testing.assert_array_equal(back.photo, ASTRONAUT.photo)
    np.testing.assert_allclose(back.points, POINTS)
    assert abs(square(there.points)[2] + square(POINTS)[2]) < 1e-9


def test_the_template_is_pasted_upright():
    face = Portrait(np.full((64, 64, 3), 200, np.uint8), TEMPLATE)
    _, covered = paste(np.zeros((100, 100, 3), np.uint8), face, (50, 50), 32, 0)
    assert abs(covered.sum() - 32 * 32) < 3 * 32


def draw(seed: int) -> Scene:
    return draw_scene(np.random.default_rng(seed), PORTRAITS, THINGS)


def test_a_scene_is_the_same_for_the_same_seed_and_another_for_another():
    one, two, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(one.picture, two.picture)
    np.testing.assert_array_equal(one.points, two.points)
    assert one.picture.shape == other.picture.shape == (128, 128, 3)
    assert np.abs(one.picture.astype(int) - other.picture).mean() > 5


def test_scenes_hold_no_face_some_or_many_of_all_sizes_and_turns():
    scenes = [draw(seed) for seed in range(120)]
    counts = [len(scene.points) for scene in scenes]
    assert min(counts) == 0
    assert max(counts) > 3
    points = np.concatenate([scene.points for scene in scenes])
    _, sides, rolls = square(points)
    assert sides.min() < 20
    assert sides.max() > 80
    assert rolls.min() < -45
    assert rolls.max() > 45
    assert 0 < np.concatenate([scene.hidden for scene in scenes]).mean() < 0.5
    assert not draw_scene(np.random.default_rng(0), [], THINGS).points.size
