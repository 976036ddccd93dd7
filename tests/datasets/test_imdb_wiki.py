from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from ssrlib.datasets import imdb_wiki
from ssrlib.prepare import prepare

BORN = date(1981, 5, 10).toordinal() + 366

# path, birthday, year, gender, score, second score, name
PEOPLE = [
    ("00/a.jpg", BORN, 2009, 1.0, 4.3, np.nan, "Ann O'Nym"),
    ("00/b.jpg", BORN, 2011, 0.0, 1.0, -0.5, "Ann O'Nym"),
    ("01/no face.jpg", BORN, 2009, 1.0, -np.inf, np.nan, "B"),
    ("01/unsure.jpg", BORN, 2009, 1.0, 0.9, np.nan, "B"),
    ("01/two.jpg", BORN, 2009, 1.0, 3.0, 2.0, "B"),
    ("02/future.jpg", BORN, 1950, 1.0, 3.0, np.nan, "C"),
    ("02/year 0.jpg", 0, 2014, 1.0, 3.0, np.nan, "C"),
    ("02/unknown.jpg", BORN, 2009, np.nan, 3.0, np.nan, "D"),
    ("03/nameless.jpg", BORN, 2009, 0.0, 3.0, np.nan, ""),
]


def write_mat(path, source="imdb", people=PEOPLE):
    """The same nesting as the original's: a 1 x 1 struct of 1 x N fields, with cells of one string."""

    def cells(texts):
        array = np.empty((1, len(texts)), object)
        for i, text in enumerate(texts):
            array[0, i] = np.array([text]) if text else np.array([], dtype="<U1")
        return array

    paths, born, taken, gender, score, second, names = zip(*people, strict=True)
    record = {
        "dob": np.array([born], np.int32),
        "photo_taken": np.array([taken], np.uint16),
        "full_path": cells(paths),
        "gender": np.array([gender]),
        "name": cells(names),
        "face_location": cells(["box"] * len(people)),
        "face_score": np.array([score]),
        "second_face_score": np.array([second]),
    }
    if source == "imdb":
        record["celeb_id"] = np.arange(100, 100 + len(people), dtype=np.uint16)[None]
    path.mkdir(parents=True, exist_ok=True)
    savemat(path / f"{source}.mat", {source: record})
    return path


@pytest.mark.parametrize("source", ["imdb", "wiki"])
def test_published_filter_names_what_it_removes(source, tmp_path):
    rows, rejects = imdb_wiki.rows(write_mat(tmp_path / "crop", source))
    assert list(rows["path"]) == ["00/a.jpg", "00/b.jpg", "03/nameless.jpg"]
    assert list(rows["age"]) == [28, 30, 28]
    assert list(rows["gender"]) == ["male", "female", "female"]
    assert set(rows["source"]) == {source}
    assert dict(zip(rejects["path"], rejects["reason"], strict=True)) == {
        "01/no face.jpg": "no face was detected",
        "01/unsure.jpg": "face score below 1",
        "01/two.jpg": "a second face with a score above 0",
        "02/future.jpg": "age not from 0 to 100",
        "02/year 0.jpg": "age not from 0 to 100",
        "02/unknown.jpg": "gender unknown",
    }


def test_thresholds_are_parameters(tmp_path):
    path = write_mat(tmp_path / "crop")
    rows, _ = imdb_wiki.rows(path, min_face_score=0.5, max_second_face_score=5.0)
    assert {"01/unsure.jpg", "01/two.jpg"} <= set(rows["path"])
    rows, _ = imdb_wiki.rows(path, max_age=29)
    assert "00/b.jpg" not in set(rows["path"])
    with pytest.raises(
        ValueError, match="no photo passes the filters; the most frequent reason: face score be"
    ):
        imdb_wiki.rows(path, min_face_score=9)


def test_one_person_is_in_one_split_in_both_parts(tmp_path):
    imdb, _ = imdb_wiki.rows(write_mat(tmp_path / "imdb_crop"))
    wiki, _ = imdb_wiki.rows(write_mat(tmp_path / "wiki_crop", "wiki"))
    splits = {*imdb["split"][:2], *wiki["split"][:2]}
    assert len(splits) == 1
    assert imdb["subject"][2] == "imdb-108"


@given(st.dates(date(1850, 1, 1), date(2010, 12, 31)), st.integers(1900, 2015))
def test_age_is_that_on_the_first_of_july(birthday, year):
    age = imdb_wiki.age(birthday.toordinal() + 366, year)
    had_birthday = (birthday.month, birthday.day) < (7, 1)
    assert age == year - birthday.year - (0 if had_birthday else 1)


def test_photos_are_found_beside_the_metadata(tmp_path, put):
    path = write_mat(tmp_path / "imdb_crop")
    put("imdb_crop/00/a.jpg")
    store = prepare(*imdb_wiki.rows(path), tmp_path / "store", imdb_wiki.CROP)
    assert list(store.rows["path"]) == ["00/a.jpg"]
    assert store.rejects["reason"].value_counts()["No such file or directory"] == 2


def test_other_files_get_one_clear_error(tmp_path, put):
    with pytest.raises(FileNotFoundError, match=r"neither imdb\.mat nor wiki\.mat"):
        imdb_wiki.rows(tmp_path)
    write_mat(write_mat(tmp_path / "both"), "wiki")
    with pytest.raises(ValueError, match=r"both: imdb\.mat and wiki\.mat are both here; give each a folder"):
        imdb_wiki.rows(tmp_path / "both")
    put("imdb.mat", b"not matlab" * 50)
    with pytest.raises(ValueError, match=r"imdb\.mat: not IMDB-WIKI's metadata"):
        imdb_wiki.rows(tmp_path)
    savemat(tmp_path / "imdb.mat", {"other": [1]})
    with pytest.raises(ValueError, match=r"imdb\.mat: not IMDB-WIKI's metadata"):
        imdb_wiki.rows(tmp_path)
    whole = write_mat(tmp_path / "whole") / "imdb.mat"
    savemat(whole, {"imdb": loadmat(whole)["imdb"]}, do_compression=True)
    content = bytearray(whole.read_bytes())
    content[-40:-20] = bytes(20)
    put("imdb.mat", bytes(content))
    with pytest.raises(ValueError, match=r"imdb\.mat: not IMDB-WIKI's metadata"):
        imdb_wiki.rows(tmp_path)
