import os
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
import pytest
from skimage import data

from ssrlib import AgeGenderEstimator, detectors
from ssrlib.widgets import WebcamDemo, webcam
from ssrlib.widgets.explorer import terms_of
from testing.faces import FOGGY_AND_CLEAR
from testing.lab import write_portrait

PHOTO = data.astronaut()


class Browser:
    """Stands in for the browser: sends messages to a demo and keeps its answers."""

    def __init__(self, demo: WebcamDemo):
        self.demo, self.heard, self.count = demo, [], 0
        demo.send = lambda content, buffers=None: self.heard.append((content, buffers))

    def ask(self, buffers=(), **content) -> dict:
        """Send one message; there must be exactly one answer, to this very message."""
        self.count += 1
        before = len(self.heard)
        asked = {"kind": "frame", "id": self.count, "view": "a", "time": 66.0 * self.count} | content
        self.demo._handle_custom_msg(asked, list(buffers))
        assert len(self.heard) == before + 1
        assert self.heard[-1][0]["id"] == self.count
        return self.heard[-1][0]

    def frame(self, photo: np.ndarray = PHOTO, **content) -> dict:
        return self.ask([jpeg(photo)], **content)


def jpeg(photo: np.ndarray) -> memoryview:
    return memoryview(cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1].tobytes())


@pytest.fixture(scope="module")
def estimator():
    return AgeGenderEstimator()


@pytest.fixture
def browser(estimator):
    return Browser(WebcamDemo(estimator=estimator))


def test_a_face_is_followed_and_read_as_the_estimator_reads_it(browser, estimator):
    answers = [browser.frame() for _ in range(5)]
    assert answers[0]["faces"] == []  # one frame may be a mistake
    numbers = {face["track"] for answer in answers[1:] for face in answer["faces"]}
    assert numbers == {1}
    (face,) = answers[-1]["faces"]
    (still,) = browser.frame(still=True)["faces"]
    (reading,) = estimator.predict(PHOTO)
    assert still["box"] == pytest.approx(reading.box[:4], abs=3)
    assert still["age"] == pytest.approx(reading.age, abs=2)  # a JPEG is not quite the photo
    assert face["age"] == pytest.approx(reading.age, abs=8)
    assert face["age_low"] < face["age"] < face["age_high"]
    assert face["gender"] == reading.gender
    latest = face["latest"]
    assert latest["age_low"] < latest["age"] < latest["age_high"]
    assert latest["age"] == pytest.approx(reading.age, abs=8)


def test_who_was_followed_is_forgotten_when_the_camera_stops(browser):
    answers = [browser.frame() for _ in range(2)]
    assert [len(answer["faces"]) for answer in answers] == [0, 1]
    browser.demo._handle_custom_msg({"kind": "stop", "view": "a"}, [])
    assert browser.frame()["faces"] == []


def test_details_are_the_pixels_and_the_stages_of_the_chosen_face(browser):
    for _ in range(3):
        answer = browser.frame(details=True, chosen=1)
    assert answer["details"]["track"] == 1
    assert [len(row) for row in answer["details"]["p"]] == [3, 3, 3]
    (pixels,) = browser.heard[-1][1]
    assert len(pixels) == 64 * 64 * 3
    assert np.frombuffer(pixels, np.uint8).std() > 20


def test_by_default_the_stages_are_the_built_in_networks(estimator):
    browser = Browser(WebcamDemo())
    answer = browser.frame(still=True, details=True)
    terms, pixels = answer["details"], browser.heard[-1][1][0]
    crop = np.frombuffer(pixels, np.uint8).reshape(64, 64, 3)
    assert terms == terms_of(crop, estimator.age) | {"track": 1}


def test_a_demo_reads_a_frame_before_pytorch_is_imported(tmp_path):
    code = """
import sys
from ssrlib.widgets import WebcamDemo
from testing.faces import FOGGY_AND_CLEAR
demo = WebcamDemo()
answers = []
demo.send = lambda answer, sent: answers.append(answer)
demo._handle_custom_msg({"kind": "frame", "still": True}, [open(sys.argv[1], "rb").read()])
sys.exit(len(answers[0]["faces"]) != 1 or "torch" in sys.modules)
"""
    path = tmp_path / "portrait.jpg"
    path.write_bytes(jpeg(PHOTO))
    subprocess.run([sys.executable, "-c", code, path], check=True)


def test_a_network_without_stages_shows_its_pixels():
    browser = Browser(WebcamDemo(estimator=AgeGenderEstimator(backend="onnx")))
    assert browser.frame(still=True, details=True)["details"] == {"track": 1}
    assert len(browser.heard[-1][1][0]) == 64 * 64 * 3


def test_an_interrupt_is_answered_too(browser, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(webcam.Following, "follow", interrupted)
        assert browser.frame()["error"] == "KeyboardInterrupt"
    assert "error" not in browser.frame()


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ([], "the message holds no frame"),
        ([memoryview(b"")], "the frame: the file is empty"),
        ([memoryview(b"<html>")], "the frame: not an image, or a damaged one"),
        ([memoryview(bytes(jpeg(PHOTO))[:3000])], "the frame: not an image, or a damaged one"),
    ],
)
def test_what_is_not_a_frame_gets_an_answer_that_says_so_and_the_next_frame_is_read(
    browser, buffers, message
):
    browser.frame()
    answer = browser.ask(buffers)
    assert answer["error"].startswith(message)
    assert len(browser.frame()["faces"]) == 1


def test_messages_that_make_no_sense_are_answered(browser):
    assert "source" in browser.ask(kind="next")["error"]
    assert browser.frame(chosen="nobody", details=True, kind="?")["faces"] == []
    assert "error" in browser.frame(time="late")
    assert "error" in browser.frame(time=None)


def test_fifty_faces_in_a_frame(browser):
    x, y, side, _ = detectors.find(PHOTO)[0][:4]
    face = PHOTO[y - side // 8 : y + side + side // 8, x - side // 8 : x + side + side // 8]
    crowd = np.tile(cv2.resize(face, (80, 80), interpolation=cv2.INTER_AREA), (7, 8, 1))
    for _ in range(3):
        answer = browser.frame(crowd)
    assert len(answer["faces"]) > 40
    assert len({face["track"] for face in answer["faces"]}) == len(answer["faces"])


def small(photo: np.ndarray) -> np.ndarray:
    """The photo, a sixth as wide, in the middle of a gray frame."""
    frame = np.full((480, 640, 3), 128, np.uint8)
    frame[200:285, 300:385] = cv2.resize(photo, (85, 85), interpolation=cv2.INTER_AREA)
    return frame


@pytest.mark.parametrize(
    ("photo", "hint", "seen"),
    [
        (PHOTO, "", True),
        ((0.12 * PHOTO).astype(np.uint8), "dark", True),
        (np.zeros_like(PHOTO), "dark", False),
        (small(PHOTO[:320, 60:380]), "small", True),
        (np.ascontiguousarray(PHOTO[::-1]), "tilted", False),
        (np.full_like(PHOTO, 128), "", False),
    ],
    ids=["well", "dark", "black", "small", "tilted", "empty"],
)
def test_a_hint_tells_what_would_help(browser, photo, hint, seen):
    for _ in range(3):
        answer = browser.frame(photo)
    assert (answer["hint"], bool(answer["faces"])) == (hint, seen)
    still = browser.frame(photo, still=True)
    assert still["hint"] == ("" if still["faces"] else hint)
    assert all(face["sure"] for face in still["faces"])


def test_a_tilted_head_that_is_held_upright_again_needs_no_hint(browser):
    assert browser.frame(np.ascontiguousarray(PHOTO[::-1]))["hint"] == "tilted"
    assert browser.frame()["hint"] == ""


def test_faces_in_boxes_that_somebody_drew_are_read_beside_those_that_are_found(browser, estimator):
    empty = np.full_like(PHOTO, 128)
    box = [30, 40, 100, 120]
    (face,) = browser.frame(empty, still=True, boxes=[box])["faces"]
    assert (face["track"], face["box"], face["sure"]) == (1, box, False)
    x, y, width, height = (round(value) for value in detectors.find(PHOTO)[0][:4])
    found, drawn = browser.frame(still=True, boxes=[[x, y, width, height]])["faces"]
    assert [found["track"], drawn["track"]] == [1, 2]
    assert drawn["age"] == pytest.approx(found["age"], abs=3)
    for _ in range(3):  # a frozen frame
        answer = browser.frame(time=99.0, boxes=[box, box])
    assert [face["track"] for face in answer["faces"]] == [1, 2, 3]
    assert "is no box" in browser.frame(still=True, boxes=[[1, 2, 0, 5]])["error"]


def test_a_doubtful_face_is_marked_in_a_still_and_while_it_is_followed(browser):
    for still in (True, False, False):
        answer = browser.frame(FOGGY_AND_CLEAR, still=still)
    assert [face["sure"] for face in answer["faces"]] == [False, True]
    faces = browser.frame(small(PHOTO), view="b", still=True)["faces"]
    assert min(faces, key=lambda face: face["box"][2])["sure"], "her face, and perhaps more of her"


def test_a_followed_face_that_was_sure_once_stays_sure(browser, monkeypatch):
    browser.frame()
    monkeypatch.setattr("ssrlib.estimator.SURE", 2)  # now all are doubted
    (face,) = browser.frame()["faces"]
    assert face["sure"]


def test_two_views_do_not_mix_their_faces(browser):
    for _ in range(3):
        first = browser.frame(view="a")
    assert browser.frame(view="b")["faces"] == []
    assert len(first["faces"]) == 1


class Clock:
    """A clock that goes on only when the test says so, or when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.monotonic, self.perf_counter = lambda: self.now, time.perf_counter

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# A slow machine leaves frames out, and a fast one waits for them: either way a second stays a second.
@pytest.mark.parametrize(("rate", "reading", "answers"), [(100, 0.05, (15, 25)), (10, 0.001, (9, 11))])
def test_a_video_is_played_at_its_own_speed_read_and_ends(
    tmp_path, estimator, monkeypatch, rate, reading, answers
):
    clock = Clock()
    monkeypatch.setattr(webcam, "time", clock)
    browser = Browser(
        WebcamDemo(source=write_portrait(tmp_path / "video.avi", rate, frames=rate), estimator=estimator)
    )
    heard = [browser.ask(kind="next")]
    while "error" not in heard[-1]:
        assert browser.heard[-1][1][0].startswith(b"\xff\xd8")  # the frame itself, as a JPEG
        clock.sleep(reading)
        heard.append(browser.ask(kind="next"))
    assert answers[0] <= len(heard) <= answers[1]
    assert 0.8 < clock.now < 1.2
    assert len(heard[-2]["faces"]) == 1
    assert heard[-1]["error"].endswith("has ended; Start plays it again")
    assert "error" not in browser.ask(kind="next")
    browser.demo._handle_custom_msg({"kind": "stop"}, [])


def test_a_video_goes_on_for_one_view_when_another_one_stops(tmp_path, estimator, monkeypatch):
    monkeypatch.setattr(webcam, "time", Clock())
    video = write_portrait(tmp_path / "video.avi", 10, frames=4)
    browser = Browser(WebcamDemo(source=video, estimator=estimator))
    for view in ("a", "b", "a"):
        assert "error" not in browser.ask(kind="next", view=view)
    browser.demo._handle_custom_msg({"kind": "stop", "view": "b"}, [])
    assert "error" not in browser.ask(kind="next")
    assert "has ended" in browser.ask(kind="next")["error"]


def test_stop_releases_a_video_that_only_a_closed_page_has_asked_for(tmp_path, estimator, monkeypatch):
    clock = Clock()
    clock.perf_counter = clock.monotonic
    monkeypatch.setattr(webcam, "time", clock)
    video = write_portrait(tmp_path / "video.avi", 10, frames=10)
    browser = Browser(WebcamDemo(source=video, estimator=estimator))
    browser.ask(kind="next", view="closed")
    clock.sleep(60)
    browser.ask(kind="next")
    browser.demo._handle_custom_msg({"kind": "stop", "view": "a"}, [])
    answers = 0
    while "error" not in browser.ask(kind="next"):
        answers += 1
    assert answers == 10  # it began anew


def test_a_video_waits_while_it_is_frozen(tmp_path, estimator, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(webcam, "time", clock)
    browser = Browser(
        WebcamDemo(source=write_portrait(tmp_path / "video.avi", 10, frames=10), estimator=estimator)
    )
    browser.ask(kind="next")
    clock.sleep(60)
    answers = 0
    while "error" not in browser.ask(kind="next"):
        answers += 1
    assert answers == 9
    assert 60.8 < clock.now < 61.2


def test_sources_that_cannot_be_opened(tmp_path, estimator):
    with pytest.raises(FileNotFoundError, match="no such video"):
        WebcamDemo(source=tmp_path / "none.mp4", estimator=estimator)
    (tmp_path / "text.mp4").write_text("not a video")
    for source in (tmp_path / "text.mp4", 97):
        answer = Browser(WebcamDemo(source=source, estimator=estimator)).ask(kind="next")
        assert "OpenCV can open no video or camera of this name" in answer["error"]


WRITTEN: list[str] = []


def _watch(event: str, about: tuple) -> None:
    if event == "open" and isinstance(about[2], int) and about[2] & (os.O_WRONLY | os.O_RDWR):
        WRITTEN.append(str(about[0]))


def test_nothing_is_written_to_disk(browser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sys.addaudithook(_watch)  # which sees every file that Python opens, here and from now on
    WRITTEN.clear()
    for _ in range(3):
        browser.frame(details=True)
    assert WRITTEN == []
    assert list(tmp_path.iterdir()) == []
