import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssrlib.datasets import morph


@given(st.integers(0, 999999), st.integers(0, 99), st.sampled_from("MF"), st.integers(0, 120), st.booleans())
def test_every_well_formed_name_is_read(subject, picture, sex, age, capitals):
    name = f"{subject:06}_{picture}{sex}{age}.jpg"
    labels = morph.parse(name.upper() if capitals else name)
    gender = {"M": "male", "F": "female"}[sex]
    assert labels == {"subject": f"morph-{subject:06}", "gender": gender, "age": age}


def test_all_photos_of_a_person_are_in_one_split(put, tmp_path):
    for name in (
        "Album1/009055_1M54.JPG",
        "Album2/009055_2M61.jpg",
        "Album1/1_1F20.JPG",
        "Album1/readme.txt",
    ):
        put(name)
    put("Album1/portrait.jpg")
    rows, rejects = morph.rows(tmp_path)
    assert len(rows) == 3
    assert rows.groupby("subject")["split"].nunique().max() == 1
    assert list(rejects["path"]) == ["Album1/portrait.jpg"]


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no photo with a name of MORPH2's form"):
        morph.rows(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        morph.rows(tmp_path / "nothing")
