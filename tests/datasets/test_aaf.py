from pathlib import Path

import pytest

from ssrlib.datasets import aaf
from ssrlib.prepare import prepare
from ssrlib.store import split_of

from .conftest import jpeg, tar


@pytest.fixture
def official(tmp_path, put):
    """The lists with and without the names' suffix, and Windows line ends."""
    put("image sets/train.txt", b"00000A02 0\r\n07381A40 1\r\nsomething else\r\n")
    put("image sets/val.txt", b"00001A80.jpg 0\n")
    for number, name in enumerate(("00000A02", "07381A40", "00001A80")):
        put(f"original images/{name}.jpg", jpeg(number, (180, 140)))
    return tmp_path


def test_age_and_gender_are_read_and_the_hash_splits(official):
    rows, rejects = aaf.rows(official)
    assert list(rows["age"]) == [2, 40, 80]
    assert list(rows["gender"]) == ["female", "male", "female"]
    assert list(rows["part"]) == ["train", "train", "val"]
    assert list(rows["split"]) == [split_of(f"{name}.jpg") for name in ("00000A02", "07381A40", "00001A80")]
    assert list(rejects["path"]) == ["something else"]
    assert all(Path(file).is_file() for file in rows["file"])


def test_a_packed_copy_has_the_same_labels_and_splits(official, tmp_path):
    whole = aaf.rows(official)[0]
    labels = "path,age,gender,left_eye_x\n00000A02.jpg,2,female,1.5\n07381A40.jpg,40,male,2\n"
    labels += "00001A80.jpg,80,female,3\nnowhere.jpg,20,male,4\n"
    photos = {f"aaf/{name.rpartition('/')[2]}": jpeg() for name in whole["path"]}
    rows, rejects = aaf.rows(tar(tmp_path / "aaf.tar", {"aaf/labels.csv": labels.encode(), **photos}))
    for column in ("age", "gender", "split", "source"):
        assert list(rows[column]) == list(whole[column])
    assert list(rows["left_eye_x"]) == ["1.5", "2", "3"]
    assert rejects.to_dict("records") == [{"path": "nowhere.jpg", "reason": "not in the tar file"}]


def test_faces_are_found_in_its_photos(official, tmp_path, portrait):
    (official / "original images" / "00000A02.jpg").write_bytes(portrait)
    store = prepare(*aaf.rows(official), tmp_path / "store", aaf.CROP)
    assert "00000A02.jpg" in store.rows["path"].iloc[0]


def test_what_is_missing_is_named(official, put):
    put("image sets/val.txt", b"\xff\n")
    with pytest.raises(ValueError, match=r"val\.txt: not a text, or a damaged one"):
        aaf.rows(official)
    (official / "image sets" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt: no such list of All-Age-Faces"):
        aaf.rows(official)
    put("image sets/train.txt", b"")
    put("image sets/val.txt", b"")
    with pytest.raises(ValueError, match="name no photo"):
        aaf.rows(official)
