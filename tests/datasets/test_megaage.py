import numpy as np
import pytest

from ssrlib import face_crop
from ssrlib.datasets import megaage
from ssrlib.prepare import prepare

from .conftest import jpeg


@pytest.fixture
def folder(tmp_path, put):
    """Lists with Windows line ends, the last line without one."""
    for part, count in (("train", 40), ("test", 3)):
        put(f"list/{part}_name.txt", "\r\n".join(f"{i}.jpg" for i in range(1, count + 1)).encode())
        put(f"list/{part}_age.txt", "\r\n".join(str(i) for i in range(1, count + 1)).encode() + b"\r\n")
    put("test/2.jpg", jpeg(2, (178, 218)))
    return tmp_path


def test_both_lists_are_read_and_the_test_list_is_the_test_split(folder):
    rows, rejects = megaage.rows(folder)
    assert len(rejects) == 0
    assert list(rows.loc[rows["split"] == "test", "path"]) == ["test/1.jpg", "test/2.jpg", "test/3.jpg"]
    assert set(rows["split"]) == {"train", "validation", "test"}
    assert list(rows["age"]) == [*range(1, 41), 1, 2, 3]
    assert rows["gender"].isna().all()


def test_twenty_rows_are_cut_off_top_and_bottom(folder, tmp_path):
    store = prepare(*megaage.rows(folder), tmp_path / "store", megaage.CROP)
    assert list(store.rows["path"]) == ["test/2.jpg"]
    photo = face_crop.read_photo(jpeg(2, (178, 218)))
    assert np.array_equal(store.faces[0], face_crop.resize(photo[20:198]))


def test_lists_of_two_lengths_are_refused(folder, put):
    put("list/test_age.txt", b"1\r\n2\r\n")
    with pytest.raises(ValueError, match="3 names of the test list, but 2 ages"):
        megaage.rows(folder)


def test_empty_lists_are_named(folder, put):
    for part in ("train", "test"):
        for kind in ("name", "age"):
            put(f"list/{part}_{kind}.txt", b"")
    with pytest.raises(ValueError, match="names no photo with an age from 0 to 70"):
        megaage.rows(folder)


def test_wrong_ages_and_missing_lists_are_named(folder, put):
    put("list/test_age.txt", b"1\n71\n\xc2\xb2\n")
    _, rejects = megaage.rows(folder)
    assert list(rejects["path"]) == ["test/2.jpg", "test/3.jpg"]
    put("list/test_age.txt", b"\xff\n")
    with pytest.raises(ValueError, match=r"test_age\.txt: not a text, or a damaged one"):
        megaage.rows(folder)
    (folder / "list" / "train_age.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_age\.txt: no such list"):
        megaage.rows(folder)
