import os
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssrlib.datasets import synthetic, utkface
from ssrlib.prepare import prepare

from .conftest import tar

NAMES = [
    "1_1_0_20170101000000001.jpg.chip.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
    "90_0_4_20170101000000003.jpg.chip.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
]


def photos() -> dict[str, bytes]:
    faces, _ = synthetic.generate(len(NAMES))
    bgr = (cv2.resize(face[..., ::-1], (200, 200)) for face in faces)
    return {name: cv2.imencode(".jpg", face)[1].tobytes() for name, face in zip(NAMES, bgr, strict=True)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "UTKFace").mkdir()
    for name, content in photos().items():
        (tmp_path / "UTKFace" / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def tars(tmp_path):
    folder = tmp_path / "tars"
    folder.mkdir()
    for i in (0, 1):
        content = {f"UTKFace/{name}": photo for name, photo in list(photos().items())[2 * i : 2 * i + 2]}
        tar(folder / f"utkface-{i}.tar", content)
    return folder


@given(st.integers(0, 999), st.integers(0, 1), st.integers(0, 4), st.integers(0, 10**17))
def test_every_well_formed_name_is_read(age, gender, race, time):
    labels = utkface.parse(f"{age}_{gender}_{race}_{time}.jpg.chip.jpg")
    assert labels["age"] == age
    assert labels["gender"] == ("male", "female")[gender]
    assert labels["race"] == utkface.RACES[race]


@pytest.mark.parametrize(
    "name", ["61_1_20170109142408075.jpg.chip.jpg", "5_2_0_1.jpg", "5_0_5_1.jpg", "-5_0_0_1.jpg", ""]
)
def test_names_that_lack_a_field_are_refused(name):
    with pytest.raises(ValueError, match="the name is not"):
        utkface.parse(name)


@pytest.mark.parametrize("source", ["folder", "tars"])
def test_folder_and_tars_give_the_same_store(source, request, tmp_path):
    path = request.getfixturevalue(source)
    store = prepare(*utkface.rows(path), tmp_path / "store", utkface.CROP)
    assert len(store) == 3
    assert sorted(store.rows["age"]) == [1, 55, 90]
    assert dict(zip(store.rows["age"], store.rows["gender"], strict=True)) == {
        1: "female",
        55: "male",
        90: "male",
    }
    assert list(store.rejects["reason"]) == ["the name is not [age]_[gender 0-1]_[race 0-4]_[date&time].jpg"]
    for face, path in zip(store.faces, store.rows["path"], strict=True):
        original = cv2.imdecode(np.frombuffer(photos()[path.split("/")[-1]], np.uint8), cv2.IMREAD_COLOR)
        expected = cv2.resize(original, (64, 64), interpolation=cv2.INTER_AREA)[..., ::-1]
        # Pillow and OpenCV may round a pixel differently.
        assert np.abs(face.astype(int) - expected).max() <= 2


def test_a_damaged_photo_is_rejected_and_the_rest_goes_on(folder, tmp_path):
    (folder / "UTKFace" / NAMES[0]).write_bytes(b"broken")
    store = prepare(*utkface.rows(folder), tmp_path / "store", utkface.CROP)
    assert len(store) == 2
    reasons = dict(zip(store.rejects["path"], store.rejects["reason"], strict=True))
    assert reasons[f"UTKFace/{NAMES[0]}"] == "not an image, or a damaged one"


def test_nothing_to_read_is_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"no UTKFace photo here, neither as \.jpg nor in a \.tar"):
        utkface.rows(tmp_path)
    (tmp_path / "half.tar").write_bytes(b"not a tar at all" * 100)
    with pytest.raises(ValueError, match=r"half\.tar: not a whole tar file"):
        utkface.rows(tmp_path)


def test_the_real_data_set(utkface_folder):
    rows, rejects = utkface.rows(utkface_folder)
    assert (len(rows), len(rejects)) == (21_364, 3)
    assert set(rows["split"]) == {"train", "validation", "test"}
    assert rows["age"].between(1, 116).all()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_name_that_is_no_text_is_a_reject(put, tmp_path):
    for name in (b"a\xff/30_1_2_1.jpg", b"\xff.jpg", b"30_1_2_2.jpg"):
        put(f"UTKFace/{os.fsdecode(name)}")
    store = prepare(*utkface.rows(tmp_path / "UTKFace"), tmp_path / "store", utkface.CROP)
    assert list(store.rows["path"]) == ["30_1_2_2.jpg"]
    assert set(store.rejects["path"]) == {r"a\xff/30_1_2_1.jpg", r"\xff.jpg"}
    assert "the name is not UTF-8; rename the file or its folder" in set(store.rejects["reason"])
    with pytest.raises(ValueError, match="not UTF-8; rename"):
        utkface.rows(tmp_path / "UTKFace" / os.fsdecode(b"a\xff"))


def test_races_are_named_as_the_data_set_numbers_them():
    read = [utkface.parse(f"30_1_{code}_1.jpg")["race"] for code in range(5)]
    assert read == ["White", "Black", "Asian", "Indian", "Other"]
