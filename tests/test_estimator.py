from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from ssrlib import AgeGenderEstimator, detectors, face_crop, landmarks, weights
from ssrlib.estimator import Reading, draw
from testing.faces import FOGGY_AND_CLEAR, LYING, PHOTO, scene


@pytest.fixture(scope="module")
def estimator():
    return AgeGenderEstimator()


def test_astronaut_is_one_woman(estimator, tmp_path):
    (reading,) = estimator.predict(PHOTO)
    assert 20 < reading.age < 60
    assert reading.gender == ("male" if reading.p_male > 0.5 else "female")
    # The built-in network hardly knows, and the book says so; the one of UTKFace alone reads her right.
    other = AgeGenderEstimator(gender=weights.PRETRAINED / "utkface" / "gender.safetensors")
    assert other.predict(PHOTO)[0].gender == "female"
    face_crop.write_photo(PHOTO, tmp_path / "photo.png")
    assert (
        estimator.predict(tmp_path / "photo.png")
        == estimator.predict(str(tmp_path / "photo.png"))
        == [reading]
    )


def test_a_face_and_its_mirror_image_get_the_same_reading(estimator):
    face = face_crop.crop(PHOTO, detectors.find(PHOTO)[0])
    for values in estimator.predict_faces(np.stack([face, face[:, ::-1]])):
        assert values[0] == pytest.approx(values[1], abs=1e-3)


def test_the_interval_holds_the_age_and_weights_without_calibration_have_none(
    estimator, age_network, tmp_path
):
    (reading,) = estimator.predict(PHOTO)
    assert reading.age_low <= reading.age <= reading.age_high
    crop = {"crop": weights.read_card(weights.pretrained("age"))["crop"]}
    bare = AgeGenderEstimator(age=weights.save(age_network, tmp_path / "bare.safetensors", crop))
    (without,) = bare.predict(PHOTO)
    assert without.age == reading.age
    assert np.isnan([without.age_low, without.age_high]).all()
    assert draw(PHOTO, [without]).shape == PHOTO.shape


def test_collage_has_its_faces_largest_first(estimator):
    collage = np.hstack([PHOTO[::2, ::2], PHOTO[::2, ::-2]])
    collage = np.vstack([np.hstack([PHOTO, PHOTO[:, ::-1]]), np.pad(collage, ((0, 0), (0, 512), (0, 0)))])
    readings = estimator.predict(collage)
    assert len(readings) == 4
    widths = [reading.box.width for reading in readings]
    assert widths == sorted(widths, reverse=True)
    ages = [reading.age for reading in readings]
    assert max(ages) - min(ages) < 12


def test_a_box_that_was_placed_on_something_else_is_read_but_not_surely_a_face(estimator):
    photo = PHOTO
    (found,) = estimator.predict(photo)
    on_her, on_the_rocket = (detectors.Box(*found.box[:4]), detectors.Box(380, 300, 90, 90))
    readings = estimator.predict(photo, [on_her, on_the_rocket])
    assert found.sure
    assert [reading.sure for reading in readings] == [True, False]


def test_a_high_box_is_asked_about_where_it_is_read(estimator):
    (found,) = estimator.predict(PHOTO)
    x, y, side = (2 * round(value / 2) for value in found.box[:3])
    around, below = (x, y - side // 2, side, 2 * side), (x, y, side, 3 * side)
    square, *high = estimator.predict(PHOTO, [(x, y, side, side), around, below])
    assert high[0].age == square.age
    assert [reading.sure for reading in (square, *high)] == [True, True, False]


@pytest.mark.parametrize("roll", [-30, 30])
def test_a_box_on_a_tilted_face_is_read_at_the_points_that_the_finder_sees(estimator, roll):
    (upright,) = estimator.predict(PHOTO)
    x, y, side, _ = box = upright.box[:4]
    turn = cv2.getRotationMatrix2D((x + side / 2, y + side / 2), roll, 1)
    tilted = cv2.warpAffine(PHOTO, turn, PHOTO.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    (reading,) = estimator.predict(tilted, [box])
    assert reading.sure
    assert reading.box[:4] == box
    assert reading.age == pytest.approx(upright.age, abs=3)
    assert estimator.predict(tilted, [reading.box]) == [reading]


def test_a_box_without_a_face_is_read_as_the_square_that_it_is(estimator):
    box = detectors.Box(380, 300, 90, 90)
    (reading,) = estimator.predict(PHOTO, [box])
    assert reading.box == box
    assert reading.age == estimator.predict_faces(face_crop.crop(PHOTO, box)[None]).age[0]
    (scored,) = estimator.predict(PHOTO, [box._replace(score=0.9)])
    assert not scored.sure


@pytest.mark.parametrize("score", [None, 0.99])
def test_points_may_be_an_array(estimator, score):
    (found,) = detectors.find(PHOTO)
    box = found._replace(score=score)
    (expected,) = estimator.predict(PHOTO, [box])
    assert estimator.predict(PHOTO, [box._replace(landmarks=np.array(box.landmarks))]) == [expected]


def test_a_crop_is_doubted_that_is_none_of_those_which_the_networks_know(estimator):
    assert not estimator.predict_whole(PHOTO).sure, "her portrait, in which her face is small"
    (box,) = detectors.find(PHOTO)
    center, side, roll = landmarks.square(np.array(box.landmarks))

    def is_sure(right=0.0, size=1.0, turn=0.0) -> bool:
        points = landmarks.placed(center + side * np.array([right, 0]), size * side, roll + turn)
        return estimator.predict_whole(face_crop.align(PHOTO, points)).sure

    assert all([is_sure(), is_sure(right=0.1), is_sure(size=1.15), is_sure(size=0.9), is_sure(turn=12)])
    off = [is_sure(right=0.35), is_sure(size=1.5), is_sure(size=0.7), is_sure(turn=30)]
    assert not any([*off, *(is_sure(turn=turn) for turn in (90, 180, 270))])
    # Whatever it is called, the pixels are read as they are.
    face = face_crop.align(PHOTO, landmarks.placed(center, side, roll + 90))
    assert estimator.predict_whole(face).age == estimator.predict_faces(face[None]).age[0]


def test_what_the_finder_hardly_takes_for_a_face_is_not_surely_one(estimator):
    readings = estimator.predict(FOGGY_AND_CLEAR)
    assert [reading.sure for reading in readings] == [False, True]
    boxes = [reading.box for reading in readings]
    assert estimator.predict(FOGGY_AND_CLEAR, boxes) == readings
    unscored = [box._replace(score=None) for box in boxes]
    assert [reading.sure for reading in estimator.predict(FOGGY_AND_CLEAR, unscored)] == [True, True]
    with pytest.warns(UserWarning, match="from faces that finder found; those that haar finds may be read"):
        by_haar = AgeGenderEstimator(detector="haar").predict(PHOTO)
    assert [reading.sure for reading in by_haar] == [True]


def test_a_detector_that_the_weights_name_or_do_not_forbid_gets_no_warning(tmp_path, recwarn):
    crop = {"kind": "cropped already", "margin": 0.0, "shift": 0.1}
    mine = weights.save(weights.load(weights.pretrained("age")), tmp_path / "age.safetensors", {"crop": crop})
    AgeGenderEstimator(detector="finder")
    AgeGenderEstimator(age=mine, detector="finder")
    assert not [warning for warning in recwarn if warning.category is UserWarning]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_on_its_side_is_found_if_it_is_looked_for(estimator, quarters):
    lying = np.ascontiguousarray(np.rot90(PHOTO, quarters))
    assert not any(reading.sure for reading in estimator.predict(lying))
    (reading,) = estimator.predict(lying, any_angle=True)
    assert reading.sure


@pytest.mark.parametrize("turn", LYING)
def test_what_is_found_of_a_face_on_its_side_is_doubted(estimator, turn):
    lying, _ = scene(100, turn)
    found = detectors.find(lying)
    assert found
    readings = estimator.predict(lying)
    assert not any(reading.sure for reading in readings)
    # The finds themselves stay, with their scores.
    assert [reading.box for reading in readings] == found
    assert detectors.find(scene(100, LYING[-1])[0])[0].score > detectors.SURE


def test_a_face_whose_box_is_given_again_is_doubted_again(estimator):
    lying, _ = scene(100, LYING[-1])
    found = detectors.find(lying)
    assert found
    assert estimator.predict(lying, found) == estimator.predict(lying)


def test_a_face_that_the_border_cuts_is_doubted(estimator):
    cut = {
        "chin up": PHOTO[110:],
        "half": PHOTO[:, :220],
        "little": PHOTO[80:],
        "as little": PHOTO[:, :250],
        "close": PHOTO[70:185, 160:290],
    }
    readings = {name: estimator.predict(np.ascontiguousarray(part)) for name, part in cut.items()}
    sure = {name: [reading.sure for reading in found] for name, found in readings.items()}
    assert sure == {
        "chin up": [False],
        "half": [False],
        "little": [True],
        "as little": [True],
        "close": [True],
    }
    # Where her face is, we know: half of the square around it lies outside.
    beyond = detectors.Box(*readings["half"][0].box[:4])
    assert [reading.sure for reading in estimator.predict(cut["half"].copy(), [beyond])] == [False]


@pytest.fixture
def by_haar(monkeypatch):
    """An estimator whose detector finds her, and takes the rocket for a face."""
    rocket = detectors.Box(380, 300, 90, 90)
    haar = detectors.DETECTORS["haar"]
    wrong = replace(haar, search=lambda photo: [*haar.search(photo), rocket])
    monkeypatch.setitem(detectors.DETECTORS, "haar", wrong)
    return AgeGenderEstimator(detector="haar")


def test_the_finder_is_asked_about_what_another_detector_finds(by_haar):
    readings = by_haar.predict(PHOTO)
    assert [reading.sure for reading in readings] == [True, False]
    assert all(reading.box.landmarks is None for reading in readings), "they are read as the squares they are"
    boxes = [reading.box for reading in readings]
    assert by_haar.predict(PHOTO, boxes) == readings
    assert not by_haar.predict_whole(data.rocket()).sure


def test_points_without_a_score_are_asked_about(estimator):
    (found,) = detectors.find(PHOTO)
    points = np.array(found.landmarks)
    on_the_rocket = detectors.Box(
        380, 300, 90, 90, tuple(map(tuple, (points + np.array([200, 230])).tolist()))
    )
    readings = estimator.predict(PHOTO, [found._replace(score=None), on_the_rocket])
    assert [reading.sure for reading in readings] == [True, False]


def test_without_onnx_runtime_another_detectors_finds_are_sure(by_haar, monkeypatch):
    def broken(name):
        raise ImportError("DLL load failed")

    monkeypatch.setattr(detectors, "network", broken)
    detectors.can_look.cache_clear()
    assert [reading.sure for reading in by_haar.predict(PHOTO)] == [True, True]
    assert by_haar.predict_whole(PHOTO).sure
    detectors.can_look.cache_clear()


@pytest.mark.parametrize("crop", [(-0.2, 0.1), (0.3, 0.1), (0.0, 0.4), (0.0, -0.2)])
def test_a_whole_crop_is_sure_where_its_network_knows_the_face(crop, estimator, monkeypatch):
    (found,) = detectors.find(PHOTO)
    monkeypatch.setattr(estimator, "crop", face_crop.Crop(*crop))
    assert estimator.predict_whole(face_crop.crop_face(PHOTO, found, estimator.crop)).sure
    assert not estimator.predict_whole(PHOTO).sure


def test_no_face_is_an_empty_list(estimator):
    assert estimator.predict(data.coffee()) == []


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_readings_are_stable_under_a_ten_percent_change_of_the_box(estimator, scale):
    box = detectors.Box(173, 61, 100, 100)
    side = round(box.width * scale)
    other = detectors.Box(box.x + (box.width - side) // 2, box.y + (box.height - side) // 2, side, side)
    ages, _, _, p_male = estimator.predict_faces(np.stack([face_crop.crop(PHOTO, b) for b in (box, other)]))
    assert abs(ages[1] - ages[0]) < 6
    assert abs(p_male[1] - p_male[0]) < 0.2


@pytest.mark.parametrize(
    "photo",
    [
        PHOTO / 255,
        PHOTO.astype(np.float32),
        PHOTO[:, :, 0],
        np.dstack([PHOTO, PHOTO[:, :, 0]]),
        np.zeros((0, 5, 3), np.uint8),
        PHOTO.astype(np.uint16),
    ],
)
def test_arrays_that_break_the_contract_are_refused(estimator, photo):
    with pytest.raises(ValueError, match="must be an RGB array, uint8 from 0 to 255"):
        estimator.predict(photo)


def test_faces_from_zero_to_one_are_refused(estimator):
    with pytest.raises(ValueError, match="must be uint8"):
        estimator.predict_faces(np.zeros((1, 64, 64, 3)))


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("shape", [(1, 128, 128, 3), (2, 3, 64, 64), (64, 64, 3)])
def test_faces_of_another_shape_are_refused(backend, shape):
    message = f"N x 64 x 64 x 3, not uint8, {' x '.join(map(str, shape))}"
    with pytest.raises(ValueError, match=message):
        AgeGenderEstimator(backend=backend).predict_faces(np.zeros(shape, np.uint8))


def test_boxes_may_be_plain_numbers(estimator):
    (reading,) = estimator.predict(PHOTO)
    plain = [reading.box[:4], np.array(reading.box[:4])]
    cropped = estimator.predict(PHOTO, [reading.box._replace(landmarks=None, score=None)])
    assert estimator.predict(PHOTO, plain[:1]) == estimator.predict(PHOTO, plain[1:]) == cropped


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 0, 0),
        (10, 10, -5, -5),
        (10, 10, np.nan, 9),
        (np.nan, 9, 9, 9),
        (9, 9, np.inf, 9),
        (9, 9, 50),
        (9, 9, 50, 50, 0.99),
        (9, 9, 50, 50, 0.99, 1),
    ],
)
def test_what_is_no_box_is_refused(estimator, box):
    with pytest.raises(ValueError, match="is no box"):
        estimator.predict(PHOTO, [box])


@pytest.mark.parametrize("landmarks", [((9.0, 9.0),) * 3, ((9.0, np.nan),) * 5, ((9.0, 9.0, 9.0),) * 5])
def test_landmarks_other_than_five_points_are_refused(estimator, landmarks):
    with pytest.raises(ValueError, match="landmarks must be five points"):
        estimator.predict(PHOTO, [detectors.Box(200, 60, 90, 90, landmarks)])


@pytest.mark.parametrize("landmarks", [((9.0,),) * 5, ((1, 2), (3,), (4, 5), (6, 7), (8, 9)), range(10)])
def test_points_without_a_second_number_are_refused(estimator, landmarks):
    with pytest.raises(ValueError, match="landmarks must be five points"):
        estimator.predict(PHOTO, [detectors.Box(200, 60, 90, 90, landmarks)])


NOWHERE = [np.ones((5, 2)), landmarks.TEMPLATE + 9e9, landmarks.TEMPLATE / 100, landmarks.TEMPLATE * 9e200]


@pytest.mark.parametrize("points", [*NOWHERE, landmarks.TEMPLATE - [70, 0], landmarks.TEMPLATE * 500])
def test_landmarks_that_no_face_of_the_photo_has_are_refused(estimator, points):
    box = detectors.Box(173, 61, 100, 100, tuple(map(tuple, points.tolist())))
    with pytest.raises(ValueError, match=r"no face's in a photo of 512 x 512 pixels; give its eyes, nose"):
        estimator.predict(PHOTO, [box])


def test_a_photo_of_another_library_is_refused_with_what_to_do(estimator):
    with pytest.raises(TypeError, match=r"not Image: np\.asarray\(image\.convert\('RGB'\)\)"):
        estimator.predict(Image.fromarray(PHOTO))


def test_weights_that_were_cropped_differently_warn(tmp_path, age_network):
    other = weights.save(age_network, tmp_path / "age.safetensors", {"crop": {"margin": 0.4, "shift": 0.0}})
    with pytest.warns(UserWarning, match="cropped differently"):
        AgeGenderEstimator(age=other)


def test_the_weights_own_crop_is_used(tmp_path, age_network):
    crop = {"crop": {"margin": 0.4, "shift": 0.0}}
    networks = {"age": age_network, "gender": weights.load(weights.pretrained("gender"))}
    paths = {name: weights.save(network, tmp_path / name, crop) for name, network in networks.items()}
    wide = AgeGenderEstimator(**paths)
    box = detectors.find(PHOTO)[0]
    expected = wide.predict_faces(face_crop.align(PHOTO, box.landmarks, wide.crop)[np.newaxis]).age
    assert wide.crop.margin == 0.4
    assert wide.predict(PHOTO)[0].age == expected[0]


def crowd(*boxes) -> list[Reading]:
    return [Reading(detectors.Box(*box), 34.0, 25.0, 44.0, 0.9) for box in boxes]


def test_a_label_stays_off_other_faces(tmp_path):
    photo = np.zeros((480, 640, 3), np.uint8)
    other = (100, 50, 120, 120)  # where the label of the face below it would be
    drawn = draw(photo, crowd((100, 175, 120, 120), other))
    assert drawn.shape == photo.shape
    inside = drawn[55:165, 105:215]
    assert not inside.any()


def test_the_label_of_a_doubtful_face_is_longer():
    photo = np.zeros((480, 640, 3), np.uint8)
    (reading,) = crowd((100, 175, 120, 120))
    certain, doubtful = (draw(photo, [reading._replace(sure=sure)]) for sure in (True, False))
    ends = [np.flatnonzero(drawn[150:175].any(axis=(0, 2))).max() for drawn in (certain, doubtful)]
    assert ends[1] > ends[0] + 40


def test_in_a_crowd_labels_become_numbers_with_a_legend(tmp_path):
    photo = np.zeros((300, 640, 3), np.uint8)
    faces = [(60 * column, 60 * row, 58, 58) for row in range(5) for column in range(10)]
    drawn = draw(photo, crowd(*faces))
    assert drawn.shape[0] > photo.shape[0]
    assert drawn.shape[1] == photo.shape[1]
    free = [not drawn[y + 24 : y + 56, x + 2 : x + 56].any() for x, y, *_ in faces]
    assert all(free), "numbers stay in the upper border"


def test_beside_a_photo_narrower_than_its_label_there_is_room_for_it():
    amber = draw(np.zeros((480, 640, 3), np.uint8), crowd((100, 200, 99, 99)))[190, 101]
    for side in (60, 120, 200):
        photo = np.full((side, side, 3), 7, np.uint8)
        drawn = draw(photo, crowd((0, 0, side, side)))
        assert drawn.shape[0] == side
        assert (drawn[side // 2, side // 2] == 7).all()
        label = drawn[2:18]
        written = np.flatnonzero((label[..., 0].astype(int) - amber[0] < -50).any(axis=0))
        assert 200 < written.max() < drawn.shape[1] - 1, "the label ends inside the picture"


def test_draw_marks_a_copy(estimator):
    original = PHOTO.copy()
    readings = estimator.predict(PHOTO)
    drawn = draw(PHOTO, readings)
    assert np.array_equal(PHOTO, original)
    x, y, width, height = readings[0].box[:4]
    changed = (drawn != PHOTO).any(axis=2)
    assert changed[y + height, x + width // 2]
    assert not changed[y + height + 20 :, :].any()
