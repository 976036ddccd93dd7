import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import settings

from ssrlib import files, weights
from ssrlib.datasets import synthetic
from ssrlib.store import FaceStore
from testing.firefox import FIREFOX, launch_firefox
from testing.lab import CHROMIUM, launch, write_video

# What only some systems do, or say in these words.
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows does it otherwise")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux does it so")

# A page opens in Chromium, or, for a test that says so, in one after the other.
IN_BOTH = pytest.mark.parametrize("page", ["browser", "firefox"], ids=["chromium", "firefox"], indirect=True)

# What a shell starts in the background ignores Ctrl-C, and so do its children; some tests press it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no reason to fail.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items) -> None:
    """Mark what opens a browser or runs a notebook, which `make test-fast` leaves out."""
    for item in items:
        if {"browser", "page", "answers_in_firefox"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")
        if item.path.suffix == ".ipynb":
            item.add_marker("notebook")


@pytest.fixture(scope="session")
def drawn_store(tmp_path_factory) -> FaceStore:
    """240 drawn faces; enough for every split to have some."""
    return synthetic.store(240, seed=1, path=tmp_path_factory.mktemp("stores") / "drawn")


@pytest.fixture(scope="session")
def utkface_store() -> FaceStore:
    """UTKFace as `python -m ssrlib prepare utkface` leaves it."""
    folder = Path(__file__).parents[1] / "data" / "utkface"
    if not folder.is_dir():
        pytest.skip("UTKFace is not prepared here")
    return FaceStore(folder)


@pytest.fixture(scope="session")
def age_network():
    return weights.load(weights.pretrained("age"))


@pytest.fixture(scope="session")
def keras_folder() -> Path:
    """The authors' weights and their reference outputs."""
    pytest.importorskip("h5py")
    return _told("KERAS")


@pytest.fixture(scope="session")
def utkface_folder() -> Path:
    return _told("UTKFACE")


def _told(variable: str) -> Path:
    """A folder that `make test UTKFACE=FOLDER KERAS=FOLDER` tells of, as for `make weights`."""
    folder = os.environ.get(variable)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"needs data that is not here: make test {variable}=FOLDER")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def playwright():
    """One for all tests, for a process may hold no second one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright, tmp_path_factory):
    """Chromium with a fake camera."""
    if not CHROMIUM.exists():
        pytest.skip("the browser tests need Chromium: sudo apt-get install chromium")
    video = write_video(tmp_path_factory.mktemp("camera") / "camera.mjpeg")
    browser = launch(playwright.chromium, f"--use-file-for-fake-video-capture={video}")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def firefox_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("firefox")


@pytest.fixture(scope="session")
def firefox(playwright, firefox_folder):
    if not FIREFOX:
        pytest.skip("Firefox is not installed here")
    browser = launch_firefox(playwright.firefox, firefox_folder)
    yield browser
    browser.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB, and a function that makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root on Linux may mount a small disk")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    subprocess.run(["umount", "--lazy", disk], check=True)


@contextmanager
def taken(path: Path):
    """Somebody else writes to `path` meanwhile."""
    has, may_go = Event(), Event()

    def hold():
        with files.alone(path):
            has.set()
            may_go.wait()

    other = Thread(target=hold)
    other.start()
    has.wait()
    try:
        yield
    finally:
        may_go.set()
        other.join()
