import pandas as pd
import pytest
from skimage import data

from ssrlib import detectors, face_crop
from ssrlib.datasets import folder
from ssrlib.prepare import prepare

from .conftest import tar

TABLE = pd.DataFrame(
    {
        "path": ["Grüße/我.png", "b.png", "c.png", "d.png", "e.png", None],
        "age": ["42", "7.5", "old", "-3", "20", "20"],
        "gender": ["female", None, "male", "male", "f", None],
        "subject": ["s", "s", "t", "t", "t", None],
        "split": ["test", None, None, None, None, None],
        "camera": ["x"] * 6,
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_is_read_and_every_wrong_row_gets_its_reason(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    TABLE.to_csv(path, index=False) if suffix == ".csv" else TABLE.to_parquet(path)
    rows, rejects = folder.rows(path)
    assert list(rows["path"]) == ["Grüße/我.png", "b.png"]
    assert list(rows["age"]) == [42.0, 7.5]
    assert rows["gender"].iloc[0] == "female"
    assert rows["gender"].isna().iloc[1]
    assert rows["split"].iloc[0] == "test"
    assert "camera" in rows
    assert list(rejects["reason"]) == [
        "the age is not a number",
        "age not from 0 to 120",
        'the gender is neither "female" nor "male"',
        "no path",
    ]


def test_columns_that_a_store_needs_are_not_taken_for_others(tmp_path):
    TABLE.assign(size=100, source="phone").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="rename the columns size and source: a store needs"):
        folder.rows(tmp_path / "t.csv")


def test_people_may_be_numbered(tmp_path):
    pd.DataFrame({"path": ["a.png", "b.png"], "age": [4, 5], "subject": [7, 7]}).to_parquet(
        tmp_path / "t.parquet"
    )
    rows, _ = folder.rows(tmp_path / "t.parquet")
    assert list(rows["subject"]) == ["7", "7"]
    assert rows["split"].nunique() == 1


def test_photos_of_one_name_do_not_share_a_split(tmp_path):
    paths = [f"{person}/{number}.jpg" for person in range(40) for number in range(3)]
    pd.DataFrame({"path": paths, "age": 30}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(UserWarning, match="120 photos have a name that others have.* add a column subject"):
        rows, _ = folder.rows(tmp_path / "t.csv")
    assert set(rows["split"]) >= {"train", "validation", "test"}
    people = [path.split("/")[0] for path in paths]
    pd.DataFrame({"path": paths, "age": 30, "subject": people}).to_csv(tmp_path / "t.csv", index=False)
    rows, _ = folder.rows(tmp_path / "t.csv")
    assert (rows.groupby("subject")["split"].nunique() == 1).all()


def test_a_tar_of_a_folder_as_it_is_can_be_read(tmp_path):
    files = {"./labels.csv": b"path,age\na.png,30\n", "./a.png": b"a photo"}
    rows, rejects = folder.rows(tar(tmp_path / "mine.tar", files))
    assert (list(rows["path"]), len(rejects)) == (["a.png"], 0)


def test_faces_are_found_in_whole_photos(tmp_path):
    pd.DataFrame({"path": ["a.png", "cup.png"], "age": [40, 1]}).to_csv(tmp_path / "t.csv", index=False)
    face_crop.write_photo(data.astronaut(), tmp_path / "a.png")
    face_crop.write_photo(data.coffee(), tmp_path / "cup.png")
    store = prepare(*folder.rows(tmp_path / "t.csv"), tmp_path / "store", folder.CROP)
    photo = data.astronaut()
    assert (store.faces[0] == face_crop.align(photo, detectors.find(photo)[0].landmarks)).all()
    assert store.rejects.to_dict("records") == [{"path": "cup.png", "reason": "no face was found"}]


def test_tables_that_cannot_be_used_get_one_clear_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("file,years\na,1\n")
    with pytest.raises(ValueError, match="there is no column age and no column path"):
        folder.rows(path)
    for sign in ";\t":
        path.write_text(f"path{sign}age\na{sign}1\n")
        with pytest.raises(ValueError, match="no columns path and age; columns are separated by commas"):
            folder.rows(path)
    with pytest.raises(ValueError, match="a folder; give the table in it, a CSV or parquet file with the co"):
        folder.rows(tmp_path)
    path.write_text("path,age\na,old\n")
    with pytest.raises(
        ValueError, match="no row can be used; the most frequent reason: the age is not a num"
    ):
        folder.rows(path)
    path.write_text("path,age,gender\na,1,M\nb,2,F\n,3,F\n")
    with pytest.raises(ValueError, match='reason: the gender is neither "female" nor "male"'):
        folder.rows(path)
    path.write_text("path,age\n")
    with pytest.raises(ValueError, match="the table has no rows"):
        folder.rows(path)
    (tmp_path / "t.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="not a CSV or parquet file"):
        folder.rows(tmp_path / "t.parquet")
    with pytest.raises(FileNotFoundError, match="no such table"):
        folder.rows(tmp_path / "none.csv")


def test_a_damaged_table_gets_one_line(tmp_path):
    (tmp_path / "t.csv").write_text("path,age\na.png,3\nb.png,4,5,6\n")
    with pytest.raises(ValueError, match=r"t\.csv: not a CSV .*Expected 2 fields in line 3, saw 4\)$"):
        folder.rows(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"path,age\na.png,3\nb\0.png,4\n")
    # Before 3.1, pandas kept what stands before the zero byte.
    assert list(folder.rows(tmp_path / "t.csv")[1]["reason"]) in (["no path"], [])
    pd.DataFrame({"path": [1, 2], "age": [3, 4]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(
        ValueError, match=r"t\.parquet: no row can be used; the most frequent reason: no path"
    ):
        folder.rows(tmp_path / "t.parquet")
    pd.DataFrame({"path": ["a"], "age": [3], "e": [[1.0, 2.0]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"leave out the columns with several values in a row: e"):
        folder.rows(tmp_path / "t.parquet")


def test_an_unknown_person_is_nobody_however_it_is_written(tmp_path):
    lines = [f"{number}.jpg,30,{word},{word}" for number, word in enumerate(["", "NA", "#N/A", "None"] * 25)]
    (tmp_path / "t.csv").write_text("path,age,gender,subject\n" + "\n".join(lines))
    rows, rejects = folder.rows(tmp_path / "t.csv")
    assert not len(rejects)
    assert rows[["gender", "subject"]].isna().all(axis=None)
    assert rows["split"].nunique() > 1


def test_a_split_that_one_photo_of_a_person_has_is_all_of_theirs(tmp_path):
    lines = ["a.jpg,30,ann,", "b.jpg,31,ann,test", "c.jpg,32,ann,", "d.jpg,32,bob,"]
    (tmp_path / "t.csv").write_text("path,age,subject,split\n" + "\n".join(lines))
    rows, _ = folder.rows(tmp_path / "t.csv")
    assert set(rows[rows["subject"] == "ann"]["split"]) == {"test"}
    (tmp_path / "u.csv").write_text("path,age,subject,split\na.jpg,30,ann,train\nb.jpg,31,ann,test\n")
    with pytest.warns(UserWarning, match="one person into several splits.*ann"):
        rows, _ = folder.rows(tmp_path / "u.csv")
    assert list(rows["split"]) == ["train", "test"]
