import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from ssrlib import files

from .conftest import POSIX

HOLD = """
import sys
from ssrlib import files
with files.alone(sys.argv[1]):
    print("mine", flush=True)
    sys.stdin.read()
"""


class Stopped(BaseException):
    """What no `except Exception` sees, as with Ctrl-C."""


def test_a_file_is_old_or_new_but_never_half(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("old")

    def write_half():
        with files.atomic_write(path) as partial:
            partial.write_text("ne")
            assert path.read_text() == "old"
            raise Stopped

    with pytest.raises(Stopped):
        write_half()
    assert path.read_text() == "old"
    with files.atomic_write(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_left_of_a_killed_process_does_no_harm(tmp_path):
    (tmp_path / "note.txt.partial").write_text("half of something lo")
    with files.atomic_write(tmp_path / "note.txt") as partial:
        partial.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_an_error_of_the_disk_names_the_folder(tmp_path):
    def write_on_a_full_disk():
        with files.atomic_write(tmp_path / "note.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        OSError,
        match=rf"{re.escape(str(tmp_path))}: cannot be written \(No space left.*give the same command again",
    ):
        write_on_a_full_disk()
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"file: cannot be written \((File exists|Not a directory)\)"),
        files.atomic_write(tmp_path / "file" / "note.txt"),
    ):
        pass


def test_an_error_about_something_else_stays_as_it_is(tmp_path):
    def starts_a_program(_):
        subprocess.run([str(tmp_path.parent / "pnnx")])

    def tells_of_it(_):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def reads_a_photo(_):
        (tmp_path.parent / "photo.jpg").read_bytes()

    def write(others):
        with files.atomic_write(tmp_path / "note.txt") as partial:
            others(partial)

    for others, words in (
        (starts_a_program, "pnnx"),
        (tells_of_it, "Broken pipe"),
        (reads_a_photo, "photo.jpg"),
    ):
        with pytest.raises(OSError, match=words) as raised:
            write(others)
        assert "cannot be written" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="cannot be written"):
        write(lambda partial: (partial / "deep").touch())


@pytest.fixture
def holder(tmp_path):
    """Another process that keeps others from tmp_path / "place" until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "place")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().rstrip() == b"mine"
        yield process
        process.kill()


def test_the_second_process_says_so_and_a_killed_one_does_not_block(holder, tmp_path):
    with (
        pytest.raises(OSError, match="place: another process is writing there; wait for its end"),
        files.alone(tmp_path / "place"),
    ):
        pass
    holder.kill()
    holder.wait()
    with files.alone(tmp_path / "place"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="only Linux has a folder that nobody can write")
def test_a_folder_that_nobody_can_write_is_not_called_busy():
    with (
        pytest.raises(OSError, match=r"/proc: cannot be written \(Permission denied\)"),
        files.alone("/proc/nope"),
    ):
        pass


def test_who_waits_gets_it_in_the_end(holder, tmp_path):
    got = []

    def take():
        with files.alone(tmp_path / "place", wait=True):
            got.append("it")

    waiting = Thread(target=take)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert got == []
    holder.kill()
    holder.wait()
    waiting.join()
    assert got == ["it"]


def test_who_has_it_may_ask_again(tmp_path):
    with files.alone(tmp_path / "place"):
        with files.alone(tmp_path / "place"):
            pass
        taken = [path.name for path in tmp_path.iterdir()]
        assert taken == [".place.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_name_promises_only_what_is_on_the_disk(tmp_path, monkeypatch):
    calls = []

    def noted(name):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *words: (calls.append(name), real(*words))[1])

    noted("fsync")
    noted("replace")
    with files.atomic_write(tmp_path / "note.txt") as partial:
        partial.write_text("whole")
    assert calls == ["fsync", "replace"]


@POSIX
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, there):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "note.txt", tmp_path / "note.txt"
    if there:
        target.write_text("old")
    link.symlink_to("elsewhere/note.txt")
    with files.atomic_write(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]
