import pytest

from ssrlib.datasets import appa_real

from .conftest import jpeg, tar

HEADER = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"


@pytest.fixture
def official(tmp_path, put):
    put("gt_avg_train.csv", (HEADER + "000000.jpg,36,5.5,1.25,4\n000001.jpg,42,20,2,\n").encode())
    put("gt_avg_valid.csv", (HEADER + "004113.jpg,38,30.5,3,35\n").encode())
    put("gt_avg_test.csv", (HEADER + "005613.jpg,38,80,4,121\n").encode())
    put("train/000000.jpg_face.jpg", jpeg())
    return tmp_path


def test_real_and_apparent_ages_are_read_and_the_authors_parts_are_the_splits(official):
    rows, rejects = appa_real.rows(official)
    assert list(rows["path"]) == ["train/000000.jpg_face.jpg", "valid/004113.jpg_face.jpg"]
    assert list(rows["age"]) == [4, 35]
    assert list(rows["apparent_age"]) == [5.5, 30.5]
    assert list(rows["apparent_std"]) == [1.25, 3]
    assert list(rows["part"]) == ["train", "valid"]
    assert list(rows["split"]) == ["train", "validation"]
    assert rows["gender"].isna().all()
    assert list(rejects["path"]) == ["train/000001.jpg_face.jpg", "test/005613.jpg_face.jpg"]


def test_a_packed_copy_has_the_same_splits(official, tmp_path):
    whole = appa_real.rows(official)[0]
    labels = b"path,age,part,left_eye_x\n000000.jpg,4,train,41.5\n004113.jpg,35,val,\n"
    photos = {f"appa/{name}": jpeg() for name in ("000000.jpg", "004113.jpg")}
    rows, rejects = appa_real.rows(tar(tmp_path / "appa.tar", {"appa/labels.csv": labels, **photos}))
    assert len(rejects) == 0
    for column in ("age", "split", "source"):
        assert list(rows[column]) == list(whole[column])


@pytest.mark.parametrize("labels", [b"path,age\na.jpg,4\n", b"path,age,part\na.jpg,4,exam\n"])
def test_a_packed_copy_without_parts_is_refused(labels, tmp_path):
    with pytest.raises(ValueError, match="must have a column part with train, valid, val, test"):
        appa_real.rows(tar(tmp_path / "appa.tar", {"labels.csv": labels, "a.jpg": jpeg()}))


def test_what_is_missing_is_named(official, put):
    put("gt_avg_test.csv", b"file_name,real_age\na.jpg,3\n")
    with pytest.raises(ValueError, match=r"gt_avg_test\.csv: there is no column apparent_age_avg and no"):
        appa_real.rows(official)
    put("gt_avg_test.csv", b"")
    with pytest.raises(ValueError, match=r"gt_avg_test\.csv: not the table that its name promises"):
        appa_real.rows(official)
    (official / "gt_avg_test.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"gt_avg_test\.csv: no such table of APPA-REAL"):
        appa_real.rows(official)


def test_each_part_of_a_packed_tar_becomes_its_split(tmp_path):
    labels = b"path,age,part\na.jpg,4,train\nb.jpg,5,val\nc.jpg,6,test\n"
    photos = {f"{name}.jpg": jpeg() for name in "abc"}
    rows, _ = appa_real.rows(tar(tmp_path / "appa.tar", {"labels.csv": labels} | photos))
    assert list(rows["split"]) == ["train", "validation", "test"]
