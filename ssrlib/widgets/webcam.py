"""The webcam demo: the browser's camera, read by the kernel, drawn over the live picture."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import traitlets

from ssrlib import face_crop
from ssrlib.estimator import AgeGenderEstimator, Reading
from ssrlib.tracking import Following, Track
from ssrlib.widgets.base import STYLE, Widget, encoded, module

# Frames from a video or from the kernel's own camera are sent no wider than this many pixels.
SENT_WIDTH = 960
# A video's frame that is late by more than this is left out (seconds).
LATE = 0.1
# A browser that asks for nothing for longer has been frozen or hidden: the video waits with it (seconds).
PAUSE = 2.0


class WebcamDemo(Widget):
    """Boxes, ages with their intervals and genders over live video, in a notebook.

    The browser takes the pictures, so the kernel may run on another machine. It sends a frame, as a
    JPEG in memory, only while fewer than two are unanswered: however slow the kernel is, no queue
    grows. Frames are never written to disk.

    Args:
        source: instead of the browser's camera, a video file, or the number of a camera of the
            machine that runs the kernel, as OpenCV counts them.
        estimator: what reads the faces; by default one with the built-in weights, run by ONNX Runtime.

    Attributes:
        notes: what the button "Write down" has collected, a list of dicts; `pandas.DataFrame(demo.notes)`
            makes a table of it.

    Raises:
        FileNotFoundError: there is no such video.

    >>> WebcamDemo().notes
    []
    """

    _esm = module("webcam.js")
    _css = STYLE

    notes = traitlets.List(traitlets.Dict()).tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)

    def __init__(self, source: str | Path | int | None = None, estimator: AgeGenderEstimator | None = None):
        if source is not None and not isinstance(source, int) and not Path(source).is_file():
            raise FileNotFoundError(f"{source}: no such video")
        super().__init__(source="" if source is None else str(source))
        self._source = source
        self._video: cv2.VideoCapture | None = None
        self._estimator = estimator or AgeGenderEstimator(backend="onnx")
        self._staged: Any = estimator and estimator.age
        self._following: dict[str, Following] = {}
        self._views: dict[str, float] = {}  # when each last asked
        self.on_msg(self._heard)

    def _heard(self, _widget: object, asked: dict[str, Any], buffers: list[bytes]) -> None:
        """Answer one message of the browser, whatever is in it: the browser waits for an answer."""
        started = time.perf_counter()
        if asked.get("kind") == "stop":
            self._following.pop(str(asked.get("view")), None)
            self._views.pop(str(asked.get("view")), None)
            # A page that was closed says nothing: another view counts as long as it asks.
            if all(started - last > PAUSE for last in self._views.values()):
                self._release()
            return
        self._views[str(asked.get("view"))] = started
        answer, sent = {"id": asked.get("id"), "view": asked.get("view")}, []
        try:
            if asked.get("kind") == "next":
                photo = self._next()
                sent.append(encoded(photo, "jpeg"))
            else:
                photo = _decoded(buffers)
            answer |= self._read(photo, asked, sent)
        except (Exception, KeyboardInterrupt) as error:
            # Whatever it was: without an answer, the browser would wait forever.
            answer["error"] = str(error) or type(error).__name__
        answer["milliseconds"] = 1000 * (time.perf_counter() - started)
        self.send(answer, sent)

    def _read(self, photo: np.ndarray, asked: dict[str, Any], sent: list[bytes]) -> dict[str, Any]:
        """Return what a frame shows, as JSON; the chosen face's pixels are added to `sent`."""
        now = float(asked.get("time", 1000 * time.monotonic())) / 1000
        if asked.get("still"):
            read = _still(self._estimator.predict(photo), 1, now)
            hint = "" if read else Following().hint(photo, now, self._estimator.crop.detector)
        else:
            following = self._following.setdefault(str(asked.get("view")), Following())
            read = following.follow(photo, now, self._estimator)
            hint = following.hint(photo, now, self._estimator.crop.detector)
        drawn = self._estimator.predict(photo, asked.get("boxes") or [])
        read += _still(drawn, 1 + max((track.number for track in read), default=0), now)
        shown = [_as_json(track) for track in read]
        answer = {"width": photo.shape[1], "height": photo.shape[0], "faces": shown, "hint": hint}
        if asked.get("details") and read:
            numbers = [track.number for track in read]
            chosen = numbers.index(asked["chosen"]) if asked.get("chosen") in numbers else 0
            face = face_crop.crop_face(photo, read[chosen].latest.box, self._estimator.crop)
            answer["details"] = self._terms(face) | {"track": numbers[chosen]}
            sent.append(face.tobytes())
        return answer

    def _terms(self, face: np.ndarray) -> dict[str, Any]:
        """Return what the network for age ends with for a face; nothing, where it has no stages."""
        # Only this needs PyTorch, which takes seconds to import.
        from ssrlib import SSRNet, weights
        from ssrlib.widgets.explorer import terms_of

        self._staged = self._staged or weights.load(weights.pretrained("age"))
        return terms_of(face, self._staged) if isinstance(self._staged, SSRNet) else {}

    def _next(self) -> np.ndarray:
        """Return the frame of the source that is due now."""
        if self._source is None:
            raise ValueError("there is no source to take a frame from: use WebcamDemo(source=...)")
        now = time.monotonic()
        if self._video is None:
            self._video, self._began, self._asked = cv2.VideoCapture(self._source), now, now
            if not self._video.isOpened():
                self._release()
                raise ValueError(f"{self._source}: OpenCV can open no video or camera of this name")
        if now - self._asked > PAUSE:
            self._began += now - self._asked
        has_frame = self._video.grab()
        if isinstance(self._source, str | Path):
            # A video goes on at its own speed: a late frame is left out, one that came early waits.
            while has_frame and self._early() < -LATE:
                has_frame = self._video.grab()
            time.sleep(max(0.0, self._early()) if has_frame else 0.0)
        self._asked = time.monotonic()
        has_frame, frame = self._video.retrieve()
        if not has_frame:
            self._release()
            raise ValueError(f"{self._source} has ended; Start plays it again")
        scale = min(1.0, SENT_WIDTH / frame.shape[1])
        return cv2.cvtColor(cv2.resize(frame, None, fx=scale, fy=scale), cv2.COLOR_BGR2RGB)

    def _early(self) -> float:
        """By how many seconds the video is ahead of the clock."""
        assert self._video is not None
        return self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000 - (time.monotonic() - self._began)

    def _release(self) -> None:
        if self._video is not None:
            self._video.release()
        self._video = None


def _still(readings: list[Reading], start: int, now: float) -> list[Track]:
    """Faces that are not followed: their one reading is all that there is."""
    return [Track(number, reading, reading, now) for number, reading in enumerate(readings, start)]


def _decoded(buffers: list[bytes]) -> np.ndarray:
    if not buffers:
        raise ValueError("the message holds no frame")
    return face_crop.read_photo(bytes(buffers[0]), name="the frame")


def _as_json(track: Track) -> dict[str, Any]:
    def numbers(reading: Reading) -> dict[str, Any]:
        values = zip(Reading._fields[1:5], reading[1:5], strict=True)
        return _known(values) | {"gender": reading.gender}

    place = {"track": track.number, "box": [float(value) for value in track.smooth.box[:4]]}
    about = {"latest": numbers(track.latest), "label": numbers(track.steady), "sure": track.steady.sure}
    return numbers(track.smooth) | place | about


def _known(values: Iterable[tuple[str, float]]) -> dict[str, float | None]:
    """Numbers by name. JSON knows no NaN, which the bounds are where the weights have no calibration."""
    return {name: None if np.isnan(value) else float(value) for name, value in values}
