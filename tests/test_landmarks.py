import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from ssrlib import face_crop
from ssrlib.detectors import Box
from ssrlib.landmarks import MIDDLE, TEMPLATE, similarity, square, warp

PHOTO = data.astronaut()


@given(st.floats(-180, 180), st.floats(0.1, 10), st.floats(-500, 500), st.floats(-500, 500))
def test_square_tells_how_a_face_was_turned_scaled_and_moved(turn, scale, right, down):
    angle = np.radians(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center, side, roll = square(TEMPLATE @ matrix.T + [right, down])
    np.testing.assert_allclose(center, matrix @ [MIDDLE, MIDDLE] + [right, down], atol=1e-6)
    np.testing.assert_allclose(side, 64 * scale)
    assert abs((roll - turn + 180) % 360 - 180) < 1e-6


def test_square_of_many_faces_is_that_of_each():
    faces = TEMPLATE + np.random.default_rng(0).normal(0, 3, (4, 5, 2))
    together = square(faces)
    for i, face in enumerate(faces):
        for one, all_of_them in zip(square(face), together, strict=True):
            np.testing.assert_allclose(one, all_of_them[i])


def test_warp_shows_the_mean_of_what_shrinks():
    stripes = np.zeros((80, 80, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(warp(stripes, np.array([[0.25, 0, 0], [0, 0.25, 0]]), 20)[2:-2, 2:-2].astype(int)) < 4
    np.testing.assert_array_equal(warp(PHOTO, np.eye(2, 3), 64), PHOTO[:64, :64])


def test_an_aligned_upright_face_is_the_crop_of_its_box_whatever_the_margin():
    box = Box(180, 80, 100, 100)
    # Measured from the box's edge, the middle of its first pixel is at a half.
    upright = box[:2] + (TEMPLATE + 0.5 + [0, face_crop.SHIFT * 64]) * 100 / 64 - 0.5
    for margin, shift in ((0.0, 0.1), (0.4, 0.0), (-0.1, 0.05)):
        rule = face_crop.Crop(margin, shift)
        aligned = face_crop.align(PHOTO, upright, rule).astype(int)
        cropped = face_crop.crop(PHOTO, box, margin, shift).astype(int)
        assert np.abs(aligned - cropped).mean() < 3


def test_similarity_and_square_agree():
    moved = TEMPLATE * 1.7 + [9, -4] + np.random.default_rng(1).normal(0, 2, (5, 2))
    matrix = similarity(TEMPLATE, moved)
    center, side, _ = square(moved)
    np.testing.assert_allclose(matrix @ [MIDDLE, MIDDLE, 1], center)
    np.testing.assert_allclose(64 * np.hypot(matrix[0, 0], matrix[1, 0]), side)
