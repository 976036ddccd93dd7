"""A video in, its faces out: the astronaut drifts over a gray wall, leaves, and comes back."""

import csv
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from skimage import data
from typer.testing import CliRunner

from ssrlib import AgeGenderEstimator, __main__, weights
from ssrlib.detectors import Box
from ssrlib.estimator import AMBER, Reading, write_labels
from ssrlib.face_crop import Crop
from ssrlib.video import COLUMNS, read_video

FACE = data.astronaut()[20:260, 100:340]
RATE, THERE, AWAY = 10, 8, 8


def write_gray(path, count: int, size: tuple[int, int]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, size)
    for _ in range(count):
        writer.write(np.full((*size[::-1], 3), 120, np.uint8))
    writer.release()


def write_video(path, codec="MJPG") -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE, (480, 320))
    for number in range(2 * THERE + AWAY):
        frame = np.full((320, 480, 3), 120, np.uint8)
        if number < THERE or number >= THERE + AWAY:
            left = 40 + 5 * number
            frame[40:280, left : left + 240] = cv2.cvtColor(FACE, cv2.COLOR_RGB2BGR)
        writer.write(frame)
    writer.release()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "drift.avi"
    write_video(path)
    return path


@pytest.fixture(scope="module")
def estimator():
    return AgeGenderEstimator(backend="onnx")


def test_a_video_is_not_written_over_itself(tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"somebody's")
    with pytest.raises(ValueError, match="is the video itself, and would be lost"):
        read_video(film, film, None)
    assert film.read_bytes() == b"somebody's"


def test_a_table_has_a_row_for_each_face_in_each_frame(video, estimator, tmp_path):
    told = []
    out = tmp_path / "deep" / "faces.csv"
    read_video(video, out, estimator, lambda done, of: told.append((done, of)))
    assert told == [(number, 24) for number in range(1, 25)]
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    # The first frame of a face may be a mistake; one that was away for 0.8 s is another.
    assert [row["face"] for row in rows] == ["1"] * (THERE - 1) + ["2"] * (THERE - 1)
    assert [float(row["seconds"]) for row in rows[:2]] == pytest.approx([0.1, 0.2])
    moved = float(rows[6]["x"]) - float(rows[0]["x"])
    assert moved == pytest.approx(30, abs=15), "a box follows, a little late"
    assert all(row["gender"] == ("male" if float(row["p_male"]) > 0.5 else "female") for row in rows)
    assert all(float(row["age_low"]) < float(row["age"]) < float(row["age_high"]) for row in rows)
    assert list(out.parent.iterdir()) == [out]


def test_a_copy_shows_the_faces(video, estimator, tmp_path):
    out = tmp_path / "drawn.MP4"
    read_video(video, out, estimator)
    before, after = cv2.VideoCapture(str(video)), cv2.VideoCapture(str(out))
    for name in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH):
        assert after.get(name) == before.get(name)
    frames = [after.read()[1].astype(float) for _ in range(12)]
    amber = [((frame[..., 2] > 220) & (frame[..., 0] < 110)).sum() for frame in frames]
    assert min(amber[1:THERE]) > amber[0] + 1000, "in the first frame, only her suit is that orange"
    assert max(amber[THERE:]) == 0


class Says:
    """Stands in for an estimator that finds these faces in every frame, and reads one age after another."""

    crop = Crop()

    def __init__(self, *boxes: Box, ages=(34.0,), sure=True):
        self.boxes, self.ages, self.sure, self.frames = boxes, ages, sure, 0

    def predict(self, _photo, _boxes) -> list[Reading]:
        age = self.ages[self.frames % len(self.ages)]
        self.frames += 1
        return [Reading(box, age, age - 9, age + 10, 0.9, self.sure) for box in self.boxes]

    predict_again = predict


def drawn_frames(tmp_path, estimator, count: int = 6, size: tuple[int, int] = (640, 480)) -> list[np.ndarray]:
    """The frames of a gray video as a viewer gets them, from the first one on that shows faces."""
    write_gray(tmp_path / "gray.avi", count, size)
    read_video(tmp_path / "gray.avi", tmp_path / "drawn.mp4", estimator)
    video = cv2.VideoCapture(str(tmp_path / "drawn.mp4"))
    frames = [cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB) for _ in range(count)]
    assert frames[0].shape == (*size[::-1], 3)
    return frames[1:]


def read(frame: np.ndarray, *texts: str) -> str:
    """The label that a frame shows, of several: the codec has blurred it."""

    def fits(text: str) -> float:
        picture = np.zeros((60, 640, 3), np.uint8)
        write_labels(picture, [Box(0, 0, 1, 1)], [[text]])
        written = (picture == AMBER).all(axis=2)
        label = picture[: written.any(axis=1).sum(), 2 : written.any(axis=0).sum()]
        return float(cv2.matchTemplate(frame, label, cv2.TM_CCOEFF_NORMED).max())

    return max(texts, key=fits)


def test_a_label_in_a_copy_has_the_number_of_the_table(tmp_path):
    small, large = Box(60, 50, 90, 90), Box(400, 250, 120, 120)
    frames = drawn_frames(tmp_path, Says(small, large))
    read_video(tmp_path / "gray.avi", tmp_path / "faces.csv", Says(small, large))
    with (tmp_path / "faces.csv").open(newline="") as file:
        numbers = {int(row["x"]): row["face"] for row in csv.DictReader(file)}
    texts = [f"{number}: 34 (25-44), male 90 %" for number in range(1, 5)]
    for frame in frames:
        assert read(frame[:200], *texts)[0] == numbers[60]
        assert read(frame[200:], *texts)[0] == numbers[400]


@pytest.mark.parametrize("sure", [True, False])
def test_a_doubtful_face_is_marked_in_both(tmp_path, sure):
    says = {"sure": sure}
    frame = drawn_frames(tmp_path, Says(Box(60, 200, 120, 120), **says))[-1]
    drawn = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[170:200]
    ends = np.flatnonzero((drawn[..., 1] > 100).mean(axis=0) > 0.5).max()
    assert (ends > 330) != sure, "the label has two words more"
    read_video(tmp_path / "gray.avi", tmp_path / "faces.csv", Says(Box(60, 200, 120, 120), **says))
    with (tmp_path / "faces.csv").open(newline="") as file:
        assert {row["sure"] for row in csv.DictReader(file)} == {str(sure)}


def test_ages_in_a_copy_keep_still(tmp_path):
    # Their average comes out as 30 and as 31 in turn.
    texts = [f"1: {age} ({age - 9}-{age + 10}), male 90 %" for age in (30, 31)]
    frames = drawn_frames(tmp_path, Says(Box(60, 200, 120, 120), ages=(30.0, 31.0)), count=20)
    assert len({read(frame, *texts) for frame in frames[10:]}) == 1


def test_in_a_crowd_or_a_narrow_video_labels_are_short_and_lie_inside(tmp_path):
    for frame in drawn_frames(tmp_path, Says(Box(5, 30, 70, 70)), size=(80, 120)):
        assert read(frame, *(f"{number}: {age}" for number in (1, 2) for age in (33, 34))) == "1: 34"
    boxes = [Box(60 * column, 8 + 60 * row, 58, 58) for row in range(5) for column in range(10)]
    frame = drawn_frames(tmp_path, Says(*boxes), size=(640, 320))[-1]
    for number, (x, y, *_) in enumerate(boxes, start=1):
        texts = [f"{other}{more}" for other in (number - 1, number, number + 1) for more in ("", ": 34")]
        assert read(frame[y - 4 : y + 50, x : x + 72], *texts).split(":")[0] == str(number)


def test_the_command_shows_progress_and_writes(video, tmp_path):
    result = CliRunner().invoke(__main__.app, ["video", str(video), "--out", str(tmp_path / "faces.csv")])
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines() == ["drift.avi", f"written: {tmp_path / 'faces.csv'}"]
    assert (tmp_path / "faces.csv").read_text().startswith("seconds,face,x,y")


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("none.mp4", "a.csv", r"none\.mp4: no such video"),
        ("text.mp4", "a.csv", r"text\.mp4: not a video, or one that OpenCV cannot read"),
        ("text.mp4", "a.gif", r"a\.gif: must end in \.csv, for a table, or in \.mp4, for a video"),
    ],
)
def test_what_cannot_be_read_or_written_is_said(name, out, message, estimator, tmp_path):
    (tmp_path / "text.mp4").write_text("dear diary")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_video(tmp_path / name, tmp_path / out, estimator)
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


def test_a_damaged_video_is_one_line(tmp_path):
    (tmp_path / "text.mp4").write_text("dear diary")
    command = [sys.executable, "-m", "ssrlib", "video", "text.mp4", "--out", "a.csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "text.mp4",
        "error: text.mp4: not a video, or one that OpenCV cannot read",
    ]


def test_a_full_disk_is_said(video, estimator, small_disk):
    disk, _ = small_disk
    (disk / "taken").write_bytes(b"0" * 255_000)
    with pytest.raises(OSError, match=r"written.*disk|No space left"):
        read_video(video, disk / "drawn.mp4", estimator)
    assert [path.name for path in disk.iterdir()] == ["taken"]


STOPPED = """
import signal
from ssrlib import __main__, video
video._frames = lambda _: signal.raise_signal(signal.SIGINT)
__main__.main()
"""


def test_stopped_it_leaves_nothing(video, tmp_path):
    command = [sys.executable, "-c", STOPPED, "video", str(video), "--out", "faces.csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.splitlines()[-1] == "stopped; the same command begins anew"
    assert list(tmp_path.iterdir()) == []


def test_colors_stay_what_they_are(video, tmp_path):
    read_video(video, tmp_path / "drawn.mp4", AgeGenderEstimator(backend="onnx"))
    before, after = (
        cv2.VideoCapture(str(path)).read()[1].astype(int) for path in (video, tmp_path / "drawn.mp4")
    )
    assert np.abs(before - after).mean() < 5


def test_the_command_takes_weights_and_detector(video, tmp_path):
    out = ["--out", str(tmp_path / "a.csv")]
    for options, message in {
        ("--age", str(weights.pretrained("gender"))): "reads gender from a face, not age",
        ("--detector", "eyes"): "no detector 'eyes'",
    }.items():
        done = CliRunner().invoke(__main__.app, ["video", str(video), *options, *out])
        assert message in (done.stderr or str(done.exception))


def test_a_video_that_was_cut_off_is_told_of(video, tmp_path):
    whole = video.read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="frames; the file may be cut off"):
        read_video(tmp_path / "half.avi", tmp_path / "a.csv", AgeGenderEstimator(backend="onnx"))
    assert (tmp_path / "a.csv").read_text().count("\n") > 1


@pytest.mark.parametrize("end", ["csv", "mp4"])
def test_a_video_without_a_frame_is_refused_and_leaves_nothing(estimator, tmp_path, end):
    film = tmp_path / "film.mp4"
    write_video(film, "mp4v")
    whole = film.read_bytes()
    begins, ends = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    film.write_bytes(whole[:begins] + bytes(ends - begins) + whole[ends:])
    with pytest.raises(ValueError, match=r"film\.mp4: no frame of it can be read$"):
        read_video(film, tmp_path / f"out.{end}", estimator)
    assert list(tmp_path.iterdir()) == [film]


def test_where_two_clips_were_joined_the_time_goes_on(estimator, tmp_path):
    clip, both = tmp_path / "clip.ts", tmp_path / "both.ts"
    write_video(clip, "mp4v")
    both.write_bytes(clip.read_bytes() * 2)
    read_video(both, tmp_path / "both.csv", estimator)
    with (tmp_path / "both.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [float(row["seconds"]) for row in rows]
    assert times == sorted(set(times))
    half = (2 * THERE + AWAY) / RATE
    later = [row["face"] for row, time in zip(rows, times, strict=True) if time >= half]
    # She jumps where the second clip begins, so she may be missed for half a second.
    assert set(later) == {"3", "4"}
    assert len(later) >= 2 * (THERE - 1) - 5
    assert times[-1] == pytest.approx(2 * half - 1 / RATE)
