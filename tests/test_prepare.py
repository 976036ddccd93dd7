import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import pandas as pd
import pytest
from skimage import data

from ssrlib import face_crop
from ssrlib import prepare as preparation
from ssrlib.datasets import folder, utkface
from ssrlib.prepare import prepare

from .conftest import POSIX
from .datasets.conftest import jpeg
from .test_face_crop import png_bomb


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """1,300 photos, six chunks, of which every hundredth cannot be read."""
    path = tmp_path_factory.mktemp("photos")
    good = [jpeg(i) for i in range(8)]
    for i in range(1300):
        content = b"broken" if i % 100 == 50 else good[i % 8]
        (path / f"{i % 90}_{i % 2}_{i % 5}_{i:05}.jpg").write_bytes(content)
    return path


def files(store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.path.iterdir()}


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """The store of a run that nothing disturbed."""
    return files(prepare(*utkface.rows(photos), tmp_path_factory.mktemp("whole") / "store", utkface.CROP))


def test_every_photo_is_a_face_or_a_reject(photos, tmp_path, whole):
    store = prepare(*utkface.rows(photos), tmp_path / "store", utkface.CROP, ThreadPoolExecutor(2))
    assert len(store) == 1287
    assert store.rejects["reason"].value_counts().to_dict() == {"not an image, or a damaged one": 13}
    assert not set(store.rows["path"]) & set(store.rejects["path"])
    assert not {"file", "offset", "size"} & set(store.rows.columns)
    assert files(store) == whole


def test_the_same_with_processes(photos, tmp_path, whole, monkeypatch):
    monkeypatch.setattr(preparation, "FEW_PARTS", 1)
    assert files(prepare(*utkface.rows(photos), tmp_path / "store", utkface.CROP)) == whole


def test_the_same_on_a_dask_cluster(photos, tmp_path, whole):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=False
    )
    with cluster, distributed.Client(cluster) as client:
        store = prepare(*utkface.rows(photos), tmp_path / "store", utkface.CROP, client.get_executor())
    assert files(store) == whole


def test_rows_of_two_tables_joined_can_be_prepared(tmp_path):
    (tmp_path / "a").mkdir()
    for name, content in {"1.jpg": jpeg(0), "2.jpg": b"broken"}.items():
        (tmp_path / "a" / name).write_bytes(content)
    pd.DataFrame({"path": ["1.jpg", "2.jpg"], "age": [3, 4]}).to_csv(tmp_path / "a" / "t.csv", index=False)
    rows, rejects = folder.rows(tmp_path / "a" / "t.csv")
    twice = pd.concat([rows, rows.assign(path=["3.jpg", "4.jpg"])])
    store = prepare(twice, rejects, tmp_path / "store", utkface.CROP)
    assert (list(store.rows["path"]), list(store.rejects["path"])) == (["1.jpg", "3.jpg"], ["2.jpg", "4.jpg"])


KILLED = """
import sys
from ssrlib.datasets import utkface
from ssrlib import prepare
if __name__ == "__main__":
    prepare.prepare(*utkface.rows(sys.argv[1]), sys.argv[2], utkface.CROP)
"""


@POSIX
def test_killed_again_and_again_it_goes_on_and_ends_with_the_same_bytes(photos, tmp_path, whole):
    script = tmp_path / "job.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(photos), str(tmp_path / "store")]
    parts = tmp_path / "store.partial" / "parts"
    for done in (1, 2, 4):  # of six parts
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as job:
            while len(list(parts.glob("rows-*.parquet"))) < done and job.poll() is None:
                time.sleep(0.002)
            os.killpg(job.pid, signal.SIGKILL)
        assert len(list(parts.glob("rows-*.parquet"))) >= done
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == whole
    assert not (tmp_path / "store.partial").exists()


WAITS = """
import signal, sys, time
from ssrlib import prepare
if __name__ == "__main__":
    with prepare._pool(prepare.FEW_PARTS) as pool:
        for _ in range(50):
            prepare._submit(pool, [], {}).result()
        status = [open(f"/proc/{process}/status").read() for process in pool._processes]
        masks = [int(text.split("SigBlk:")[1].split()[0], 16) for text in status]
        print(all(mask >> signal.SIGINT - 1 & 1 for mask in masks), flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which signals a process sees")
def test_helpers_take_no_ctrl_c_and_end_with_a_killed_process(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(WAITS)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as job:
        blocked = job.stdout.readline()
        job.kill()
        try:
            job.communicate(timeout=60)  # to the end of the pipe, which the helper inherited
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            pytest.fail("the helper goes on without the process that it works for")
    assert blocked == b"True\n"


KILLED_EARLY = """
import os, signal, sys, time
from multiprocessing import util
import pandas as pd
from ssrlib import prepare
from ssrlib.face_crop import Crop

helpers, start = [], util.spawnv_passfds

def starting(path, arguments, files):
    helper = start(path, arguments, files)
    if any("spawn_main" in str(word) for word in arguments):
        helpers.append(helper)
        if len(helpers) == 2:
            open(sys.argv[1], "w").close()  # waits until the first one reads
            time.sleep(0.5)  # now it waits for work, and holds the lock of the queue
            os.kill(helpers[0], signal.SIGKILL)
            time.sleep(0.5)
    return helper

if __name__ == "__main__":
    util.spawnv_passfds = starting
    part = pd.DataFrame({"path": ["a"], "file": [sys.argv[1]], "offset": [0], "size": [-1]})
    try:
        with prepare._pool(prepare.FEW_PARTS) as pool:
            list(prepare._in_order(pool, [part] * 3, Crop()))
    except ChildProcessError:
        print("ended")
"""


@pytest.mark.skipif(sys.platform != "linux" or os.cpu_count() == 1, reason="needs two helpers and a pipe")
def test_a_helper_killed_while_the_next_one_starts_is_waited_for_by_nobody(tmp_path):
    (tmp_path / "job.py").write_text(KILLED_EARLY)
    os.mkfifo(tmp_path / "photo")
    command = [sys.executable, "job.py", "photo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "ended\n", done.stderr


def test_a_killed_helper_ends_the_run_in_one_sentence(photos, tmp_path, whole):
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            raise BrokenExecutor("a child process terminated abruptly")

    tables = utkface.rows(photos)
    with pytest.raises(OSError, match=r"a helper process was ended .* the same command goes on from there"):
        prepare(*tables, tmp_path / "store", utkface.CROP, Broken(1))
    assert files(prepare(*tables, tmp_path / "store", utkface.CROP)) == whole


def test_what_is_done_is_not_done_again(photos, tmp_path, whole, monkeypatch):
    real, calls = preparation.extract_all, []

    def failing(places, crop):
        calls.append(len(places))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(places, crop)

    monkeypatch.setattr(preparation, "extract_all", failing)
    tables = utkface.rows(photos)
    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        prepare(*tables, tmp_path / "store", utkface.CROP, executor)
    before = len(calls)
    with ThreadPoolExecutor(1) as executor:
        store = prepare(*tables, tmp_path / "store", utkface.CROP, executor)
    assert sum(calls[before:]) == len(tables[0]) - 2 * preparation.CHUNK
    assert files(store) == whole


def test_another_job_at_the_same_place_starts_anew(photos, tmp_path):
    tables = utkface.rows(photos)
    partial = tmp_path / "store.partial"
    (partial / "parts").mkdir(parents=True)
    (partial / "parts" / "plan").write_text("another job's")
    (partial / "faces.npy").write_bytes(b"x" * 1000)
    assert len(prepare(*tables, tmp_path / "store", utkface.CROP, ThreadPoolExecutor(1))) == 1287


def test_every_kind_of_bad_photo_is_counted_by_its_reason(tmp_path):
    (tmp_path / "text.jpg").write_text("dear diary")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "half.jpg").write_bytes(jpeg()[:2000])
    (tmp_path / "bomb.png").write_bytes(png_bomb(40_000))
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "good.jpg").write_bytes(jpeg(3))
    names = ["text.jpg", "empty.jpg", "half.jpg", "bomb.png", "folder.jpg", "missing.jpg", "good.jpg"]
    pd.DataFrame({"path": names, "age": 30}).to_csv(tmp_path / "table.csv", index=False)
    store = prepare(*folder.rows(tmp_path / "table.csv"), tmp_path / "store", utkface.CROP)
    assert list(store.rows["path"]) == ["good.jpg"]
    reasons = dict(zip(store.rejects["path"], store.rejects["reason"], strict=True))
    assert reasons.pop("half.jpg").startswith("not an image, or a damaged one")
    assert reasons == {
        "text.jpg": "not an image, or a damaged one",
        "empty.jpg": "the file is empty",
        "bomb.png": "larger than 100 million pixels, or than 32,766 on a side",
        "folder.jpg": "Is a directory",
        "missing.jpg": "No such file or directory",
    }


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(photos, tmp_path, whole, monkeypatch):
    from ssrlib import store

    real, calls = store._append, []

    def full(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(store, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(*utkface.rows(photos), tmp_path / "store", utkface.CROP, ThreadPoolExecutor(1))
    monkeypatch.setattr(store, "_append", real)
    again = prepare(*utkface.rows(photos), tmp_path / "store", utkface.CROP, ThreadPoolExecutor(1))
    assert files(again) == whole


def test_a_job_stopped_before_the_last_move_is_finished_by_its_own_plan_only(photos, tmp_path, whole):
    tables = utkface.rows(photos)
    first = prepare(*tables, tmp_path / "store", utkface.CROP)
    first.path.rename(tmp_path / "store.partial")
    again = prepare(*tables, tmp_path / "store", utkface.CROP, executor="not needed: nothing is left to do")
    assert files(again) == whole

    again.path.rename(tmp_path / "store.partial")
    other = prepare(tables[0][:10], tables[1], tmp_path / "store", utkface.CROP)
    assert len(other) + len(other.rejects) == 10
    assert not (tmp_path / "store.partial").exists()


def test_photos_that_all_fail_get_one_clear_error(tmp_path):
    pd.DataFrame({"path": ["a.jpg", "b.jpg"], "age": 30}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(
        ValueError, match="store: not one photo gave a face; the most frequent reason: No such file"
    ):
        prepare(*folder.rows(tmp_path / "table.csv"), tmp_path / "store", folder.CROP)
    for name in ("a.jpg", "b.jpg"):  # the disk with the photos is there now
        face_crop.write_photo(data.astronaut(), tmp_path / name)
    assert len(prepare(*folder.rows(tmp_path / "table.csv"), tmp_path / "store", folder.CROP)) == 2


@pytest.mark.parametrize("error", [ValueError, TypeError, AttributeError])
def test_a_bug_of_ours_is_no_reject(photos, tmp_path, monkeypatch, error):
    def with_a_bug(photo):
        raise error("nobody's photo is to blame")

    monkeypatch.setattr(face_crop, "resize", with_a_bug)
    with pytest.raises(error, match=r"^nobody's photo"):
        prepare(*utkface.rows(photos), tmp_path / "store", utkface.CROP, ThreadPoolExecutor(1))


@pytest.mark.parametrize("changed", ["crop", "labels"])
def test_an_interrupted_job_is_not_gone_on_with_by_another_one(tmp_path, monkeypatch, changed):
    monkeypatch.setattr(preparation, "CHUNK", 2)
    (tmp_path / "photos").mkdir()
    for i in range(6):
        (tmp_path / "photos" / f"{i}_0_0_{i}.jpg").write_bytes(jpeg(i))
    rows, rejects = utkface.rows(tmp_path / "photos")
    extract_all, crop = preparation.extract_all, utkface.CROP

    def stopped_at_the_third(places, crop):
        if places[0][0].startswith("4"):
            raise KeyboardInterrupt
        return extract_all(places, crop)

    monkeypatch.setattr(preparation, "extract_all", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(rows, rejects, tmp_path / "faces", crop)
    assert (tmp_path / "faces.partial" / "parts" / "rows-000001.parquet").is_file()
    monkeypatch.setattr(preparation, "extract_all", extract_all)
    if changed == "crop":
        crop = face_crop.CroppedAlready(cut_rows=20)
    else:
        rows = rows.assign(age=rows["age"] + 1)
    resumed = prepare(rows, rejects, tmp_path / "faces", crop)
    assert resumed.info == prepare(rows, rejects, tmp_path / "whole", crop).info
