import hashlib
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssrlib import FaceStore, store
from ssrlib.datasets import synthetic

from .conftest import taken


def chunk(names: list[str], seed: int = 0) -> store.Chunk:
    faces = np.random.default_rng(seed).integers(0, 256, (len(names), 64, 64, 3), dtype=np.uint8)
    rows = pd.DataFrame({"path": names, "age": 30.0, "split": [store.split_of(name) for name in names]})
    return faces, rows, store.NO_REJECTS


@given(st.text())
def test_split_is_the_hash_modulo_100(name):
    part = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    limits = {
        "holdout": range(10),
        "test": range(10, 20),
        "validation": range(20, 30),
        "train": range(30, 100),
    }
    assert part in limits[store.split_of(name)]


def test_written_faces_come_back_in_order(tmp_path):
    one, two = chunk(["a", "b", "é"]), chunk(["c"], seed=1)
    rejects = pd.DataFrame({"path": ["x"], "reason": ["damaged"]})
    written = store.write_store(
        tmp_path / "faces", lambda _: [one, (two[0], two[1], rejects)], {"margin": 0.1}
    )
    opened = FaceStore(tmp_path / "faces")
    assert np.array_equal(opened.faces, np.concatenate([one[0], two[0]]))
    assert list(opened.rows["path"]) == ["a", "b", "é", "c"]
    assert opened.rejects.to_dict("records") == [{"path": "x", "reason": "damaged"}]
    assert opened.info["crop"] == {"margin": 0.1}
    assert len(written) == len(opened) == 4
    opened.verify()


def test_splits_part_the_store(drawn_store):
    parts = [drawn_store.split(name) for name in store.SPLITS]
    assert sum(len(faces) for faces, _ in parts) == len(drawn_store)
    assert len(set().union(*(rows["path"] for _, rows in parts))) == len(drawn_store)
    with pytest.raises(ValueError, match="no split 'dev'; there are: train, validation, test, holdout"):
        drawn_store.split("dev")


def test_an_interrupted_write_leaves_no_store(tmp_path):
    def broken(_):
        yield chunk(["a"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_store(tmp_path / "faces", broken, {})
    with pytest.raises(FileNotFoundError, match="no such store"):
        FaceStore(tmp_path / "faces")
    with pytest.raises(ValueError, match="not a whole face store"):
        FaceStore(tmp_path / "faces.partial")
    store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {})
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


class Killed(BaseException):
    pass


def kill_at(number, monkeypatch):
    """Raise Killed just before a file gets to the disk, or to its name, for the nth time."""
    seen = []

    def counted(real):
        def call(*arguments):
            seen.append(real)
            if len(seen) == number:
                raise Killed
            return real(*arguments)

        return call

    for name in ("fsync", "rename", "replace", "truncate"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


def test_killed_at_any_step_it_goes_on_and_ends_with_the_same_bytes(tmp_path):
    chunks = [chunk(["a", "b"]), chunk(["c"], seed=1)]

    def write(path):
        return store.write_store(path, lambda start: chunks[start:], {"margin": 0.1}, plan="these")

    def there(path):
        return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}

    write(tmp_path / "whole" / "faces")
    for number in range(1, 100):
        place = tmp_path / str(number)
        store.write_store(place / "faces", lambda _: [chunk(["older"])], {})
        try:
            with pytest.MonkeyPatch.context() as monkeypatch:
                kill_at(number, monkeypatch)
                write(place / "faces")
            break
        except Killed:
            write(place / "faces")
            assert there(place) == there(tmp_path / "whole"), f"killed at step {number}"
    assert 10 < number < 100


def test_a_store_is_still_there_after_a_kill_between_the_two_moves(tmp_path):
    def fails(_):
        raise OSError("no photo can be read")

    store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {}).path.rename(
        tmp_path / "faces.replaced"
    )
    with pytest.raises(OSError, match="no photo can be read"):
        store.write_store(tmp_path / "faces", fails, {})
    assert list(FaceStore(tmp_path / "faces").rows["path"]) == ["a"]


def test_the_second_at_the_same_place_says_so_and_touches_nothing(tmp_path):
    store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {})
    before = (tmp_path / "faces" / "store.json").stat()
    with taken(tmp_path / "faces"), pytest.raises(OSError, match="faces: another process is writing there"):
        store.write_store(tmp_path / "faces", lambda _: [chunk(["b"])], {})
    assert (tmp_path / "faces" / "store.json").stat() == before
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_a_full_disk_loses_nothing_and_the_same_call_goes_on(small_disk):
    disk, enlarge = small_disk
    older, starts = store.write_store(disk / "faces", lambda _: [chunk(["older"])], {}), []

    def chunks(start):
        starts.append(start)
        yield from (chunk([f"{number}-{face}" for face in range(8)]) for number in range(start, 4))

    full = r"faces\.partial: cannot be written \(No space left.*give the same command again"
    with pytest.raises(OSError, match=full):
        store.write_store(disk / "faces", chunks, {}, plan="these")
    older.verify()
    enlarge()
    written = store.write_store(disk / "faces", chunks, {}, plan="these")
    written.verify()
    assert len(written) == 32
    assert starts[0] == 0 < starts[1]


@pytest.mark.parametrize("name", ["store.json", "faces.npy"])
@pytest.mark.parametrize("keep", [0, 30])
def test_half_written_stores_are_refused(tmp_path, name, keep):
    path = tmp_path / "faces"
    store.write_store(path, lambda _: [chunk(["a", "b"])], {})
    (path / name).write_bytes((path / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"prepare it again"):
        FaceStore(path)


def test_damaged_tables_are_refused(tmp_path):
    opened = store.write_store(tmp_path / "faces", lambda _: [chunk(["a", "b"])], {})
    (opened.path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"rows\.parquet cannot be read; prepare it again"):
        len(FaceStore(opened.path).rows)
    chunk(["a"])[1].to_parquet(opened.path / "rows.parquet")
    with pytest.raises(ValueError, match=r"has 1 rows instead of 2"):
        len(FaceStore(opened.path).rows)


def test_verify_notices_one_changed_pixel(tmp_path):
    opened = store.write_store(tmp_path / "faces", lambda _: [chunk(["a", "b"])], {})
    data = bytearray((opened.path / "faces.npy").read_bytes())
    data[-1] ^= 1
    (opened.path / "faces.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"faces\.npy has changed"):
        opened.verify()


def test_other_peoples_folders_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not a face store; choose another place"):
        store.write_store(tmp_path, lambda _: [chunk(["a"])], {})
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("folder", ["faces.partial", "faces.replaced"])
@pytest.mark.parametrize("there_is_a_store", [False, True])
def test_what_others_keep_beside_a_store_is_not_removed(tmp_path, folder, there_is_a_store):
    if there_is_a_store:
        store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {})
    note = tmp_path / folder / "parts" / "thesis.txt"
    note.parent.mkdir(parents=True)
    note.write_text("years of work")
    with pytest.raises(ValueError, match=rf"{folder}: has thesis\.txt in it, .*move that folder"):
        store.write_store(tmp_path / "faces", lambda _: [chunk(["b"])], {})
    assert note.read_text() == "years of work"


def test_what_others_keep_in_a_store_is_not_removed_with_it(tmp_path):
    made = store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {})
    (made.path / ".DS_Store").touch()
    store.write_store(tmp_path / "faces", lambda _: [chunk(["b"])], {})
    note = made.path / "notes.txt"
    note.write_text("who is who")
    with pytest.raises(ValueError, match=r"faces: has notes\.txt in it, .*would be lost"):
        store.write_store(tmp_path / "faces", lambda _: [chunk(["c"])], {})
    assert note.read_text() == "who is who"
    assert store.FaceStore(made.path).rows["path"].tolist() == ["b"]


def test_an_older_store_with_its_picture_is_removed_though_a_run_was_killed_before(tmp_path):
    older = store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {}).path
    (older / "report.png").touch()
    older.rename(tmp_path / "faces.replaced")
    store.write_store(tmp_path / "faces", lambda _: [chunk(["b"])], {})
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_faces_of_another_size_are_refused(tmp_path):
    faces, rows, rejects = chunk(["a"])
    with pytest.raises(ValueError, match="n x 64 x 64 x 3"):
        store.write_store(tmp_path / "faces", lambda _: [(faces[:, :32], rows, rejects)], {})


def test_describe_counts_faces_by_split(drawn_store):
    table = drawn_store.describe()
    assert table["faces"].to_dict() == drawn_store.rows["split"].value_counts().to_dict()
    assert list(table.index) == [name for name in store.SPLITS if name in set(drawn_store.rows["split"])]
    assert table["female"].between(0, 1).all()
    assert (table["25 %"] <= table["median"]).all()


@pytest.mark.parametrize("damage", ["[]", '{"counts": 3}', '{"counts": {"faces": 240, "rejects": 0}}'])
def test_a_damaged_description_gets_one_clear_error(damage, drawn_store, tmp_path):
    shutil.copytree(drawn_store.path, tmp_path / "faces")
    (tmp_path / "faces" / "store.json").write_text(damage)
    with pytest.raises(ValueError, match="faces: not a whole face store; prepare it again"):
        FaceStore(tmp_path / "faces")


@pytest.mark.parametrize("crop", [{}, {"crop": "wide"}], ids=["missing", "a word"])
def test_a_store_that_does_not_tell_its_crop_is_refused(crop, tmp_path):
    path = store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {}).path / "store.json"
    info = json.loads(path.read_text())
    del info["crop"]
    path.write_text(json.dumps(info | crop))
    with pytest.raises(ValueError, match=r"faces: store\.json does not say how .* cropped; prepare it again"):
        FaceStore(tmp_path / "faces")


def test_a_damaged_head_of_the_faces_gets_one_clear_error(drawn_store, tmp_path):
    shutil.copytree(drawn_store.path, tmp_path / "faces")
    path = tmp_path / "faces" / "faces.npy"
    path.write_bytes(path.read_bytes().replace(b")", b"(", 1))
    with pytest.raises(ValueError, match="faces: not a whole face store; prepare it again"):
        FaceStore(tmp_path / "faces")


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ("12.5", 12.5, "is numbers, and that of .*one is text"),
        (True, 12.5, "is numbers, and that of .*one is truth values"),
        (pd.Timestamp(2026, 1, 1), "2026", "is text, and that of .*one is dates"),
    ],
)
def test_stores_with_columns_of_two_kinds_are_not_joined(tmp_path, first, second, kinds):
    made = []
    for name, value in (("one", first), ("none", None), ("two", second)):
        faces, rows = synthetic.generate(20, seed=1)
        rows = rows.assign(score=pd.Series([value] * len(rows), dtype=object if value is None else None))
        chunk = faces, rows, store.NO_REJECTS
        made.append(store.write_store(tmp_path / name, lambda _, chunk=chunk: [chunk], {"kind": "drawn"}))
    with pytest.raises(ValueError, match=f"two: its column score {kinds}"):
        store.join(made, tmp_path / "both")
    assert not list(tmp_path.glob("both*"))
    assert len(store.join(made[:2], tmp_path / "both")) == 40


def test_stores_join_with_all_rows_and_rejects_and_only_if_cropped_alike(tmp_path):
    def written(name, names, crop, **columns):
        faces, rows, _ = chunk(names, seed=len(name))
        rejects = pd.DataFrame({"path": [f"bad {name}"], "reason": ["damaged"]})
        made = [(faces, rows.assign(source=name, **columns), rejects)]
        return store.write_store(tmp_path / name, lambda _: made, crop)

    one = written("one", ["a", "b"], {"kind": "find", "margin": 0.0, "shift": 0.1})
    two = written("other", ["c"], {"kind": "cropped already", "margin": 0.0, "shift": 0.1}, race="Asian")
    both = store.join([one, two], tmp_path / "both")
    assert np.array_equal(both.faces, np.concatenate([one.faces, two.faces]))
    assert both.rows["source"].tolist() == ["one", "one", "other"]
    assert both.rows["split"].tolist() == [*one.rows["split"], *two.rows["split"]]
    assert both.rows["race"].isna().tolist() == [True, True, False]
    assert both.rejects["path"].tolist() == ["bad one", "bad other"]
    assert both.info["crop"] == one.info["crop"]
    wide = written("wide", ["d"], {"kind": "find", "margin": 0.4, "shift": 0.1})
    with pytest.raises(ValueError, match=r"wide: cropped with another margin than .*one; prepare both alike"):
        store.join([one, wide], tmp_path / "all")


def cropped(folder, **crop) -> FaceStore:
    """Write a store of one face that was cut out in this way."""
    made = {"margin": 0.0, "shift": 0.1} | crop
    return store.write_store(folder, lambda _: [chunk([folder.name])], made)


def test_faces_that_two_detectors_found_are_not_joined(tmp_path):
    whole = cropped(tmp_path / "whole", kind="cropped already")
    ours = cropped(tmp_path / "ours", kind="find", detector="finder")
    haar = cropped(tmp_path / "haar", kind="find", detector="haar")
    differ = "haar: its faces were found by haar, and those of .*ours by finder; prepare both with the same"
    both = store.join([whole, ours], tmp_path / "both of ours")
    for stores in ([ours, haar], [whole, ours, haar], [both, haar]):
        with pytest.raises(ValueError, match=differ):
            store.join(stores, tmp_path / "all")
    assert not list(tmp_path.glob("all*"))


def test_a_joined_store_keeps_how_the_faces_of_each_were_cropped(tmp_path):
    whole = cropped(tmp_path / "whole", kind="cropped already")
    ours = cropped(tmp_path / "ours", kind="find", detector="finder")
    both = store.join([whole, ours], tmp_path / "both")
    assert both.info["crop"] == ours.info["crop"], "or nobody would hear that other faces differ from them"
    parts = [
        {"store": "whole", "faces": 1, "crop": whole.info["crop"]},
        {"store": "ours", "faces": 1, "crop": ours.info["crop"]},
    ]
    assert both.info["joined"] == parts
    more = cropped(tmp_path / "more", kind="find", detector="finder")
    again = store.join([both, more], tmp_path / "again")
    assert again.info["joined"] == [*parts, {"store": "more", "faces": 1, "crop": more.info["crop"]}]
    # What an older version joined lacks it, and counts as one store.
    old = both.path / "store.json"
    old.write_text(json.dumps({name: value for name, value in both.info.items() if name != "joined"}))
    anew = store.join([FaceStore(both.path), more], tmp_path / "anew")
    assert anew.info["joined"][0] == {"store": "both", "faces": 2, "crop": ours.info["crop"]}
    assert anew.info["sha256"] == again.info["sha256"]


def test_changed_labels_do_not_pass_for_the_ones_that_were_written(tmp_path):
    opened = store.write_store(tmp_path / "faces", lambda _: [chunk(["a", "b"])], {})
    opened.rows.assign(age=31.0).to_parquet(opened.path / "rows.parquet", index=False)
    with pytest.raises(ValueError, match=r"rows\.parquet has changed"):
        FaceStore(opened.path).verify()


def test_old_faces_do_not_get_the_labels_of_a_store_that_took_their_place(tmp_path):
    opened = store.write_store(tmp_path / "faces", lambda _: [chunk(["a", "b"])], {})
    store.write_store(tmp_path / "faces", lambda _: [chunk(["c", "d"])], {})
    for name in ("rows", "rejects"):
        changed = rf"faces: {name}\.parquet is not the one .* when the store was opened; open it again"
        if name == "rejects":
            pd.DataFrame({"path": [], "reason": [], "why": []}).to_parquet(opened.path / "rejects.parquet")
        with pytest.raises(ValueError, match=changed):
            getattr(opened, name)
    assert list(FaceStore(tmp_path / "faces").rows["path"]) == ["c", "d"]


def abc_and_more(tmp_path) -> list[FaceStore]:
    refused = pd.DataFrame({"path": ["bad"], "reason": ["damaged"]})
    return [
        store.write_store(tmp_path / name, lambda _, name=name: [(*chunk(list(name))[:2], refused)], {})
        for name in ("abcde", "fgh")
    ]


def test_joined_stores_have_every_face_and_reject_once(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "JOINED_FACES", 2)
    made = abc_and_more(tmp_path)
    both = store.join(made, tmp_path / "both")
    assert "".join(both.rows["path"]) == "abcdefgh"
    assert np.array_equal(both.faces, np.concatenate([one.faces for one in made]))
    assert len(both.rejects) == 2


def test_a_join_does_not_replace_what_it_joins(tmp_path):
    one, other = abc_and_more(tmp_path)
    (tmp_path / "link").symlink_to(one.path)
    for out in (one.path, other.path, tmp_path / "link"):
        with pytest.raises(ValueError, match="is one of the stores to join, and would be replaced; choose"):
            store.join([one, other], out)
    assert len(FaceStore(one.path)) == 5


def test_a_store_is_joined_once_however_it_is_spelled(tmp_path):
    one, other = synthetic.store(20, path=tmp_path / "one"), synthetic.store(20, seed=1)
    (tmp_path / "deep").mkdir()
    for again in (one, FaceStore(tmp_path / "deep" / ".." / "one")):
        with pytest.raises(ValueError, match="one: named twice, so each of its faces would be there twice"):
            store.join([one, other, again], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_an_interrupted_join_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "JOINED_FACES", 2)
    made, append, written = abc_and_more(tmp_path), store._append, []

    def stopped_at_the_third(partial, number, part):
        if number == 2 and 2 not in written:
            written.append(2)
            raise KeyboardInterrupt
        written.append(number)
        append(partial, number, part)

    monkeypatch.setattr(store, "_append", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        store.join(made, tmp_path / "both")
    both = store.join(made, tmp_path / "both")
    assert written == [0, 1, 2, 2, 3, 4]
    assert "".join(both.rows["path"]) == "abcdefgh"


def test_a_store_behind_a_link_stays_where_it_is(tmp_path, monkeypatch):
    (tmp_path / "large").mkdir()
    write = lambda path, name: store.write_store(path, lambda _: [chunk([name])], {})  # noqa: E731
    write(tmp_path / "large" / "faces", "a")
    (tmp_path / "link").symlink_to(tmp_path / "large" / "faces")
    for name in "bc":
        assert list(write(tmp_path / "link", name).rows["path"]) == [name]
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "large" / "faces")
    assert list(write(".", "d").rows["path"]) == ["d"]
    assert sorted(path.name for path in (tmp_path / "large").iterdir() if path.is_dir()) == ["faces"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"plan"'])
def test_a_damaged_note_of_what_was_finished_is_no_obstacle(tmp_path, content):
    (tmp_path / "faces.partial").mkdir()
    (tmp_path / "faces.partial" / "store.json").write_text(content)
    written = store.write_store(tmp_path / "faces", lambda _: [chunk(["a"])], {}, plan="these")
    assert list(written.rows["path"]) == ["a"]
