"""The webcam demo in a real browser: in JupyterLab, and with a kernel whose answers the test itself gives."""

import json
import re

import cv2
import numpy as np
import pytest
from skimage import data

from ssrlib import detectors, face_crop
from ssrlib.widgets import WebcamDemo
from testing.lab import in_background, launch, open_page, open_saved, write_portrait

from ..conftest import IN_BOTH

PHOTO = data.astronaut()
FACE = re.compile(r"^Face \d+: about \d+ years")
DEMO = "from ssrlib.widgets import WebcamDemo\ndemo = WebcamDemo({source})\ndemo"

# Stands in for the kernel: keeps what the demo sends, and answers when the test says so.
BY_HAND = """
import widget from "/widget.js";
const state = { notes: [], source: SOURCE };
const heard = {};
window.sent = [];
window.model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; },
  save_changes: () => {},
  on: (event, listener) => { heard[event] = listener; },
  off: () => {},
  send: (content, _callbacks, buffers) => {
    window.sent.push({ ...content, bytes: buffers?.[0]?.byteLength ?? 0 });
  },
};
window.frames = () => window.sent.filter(({ kind }) => kind !== "stop");
window.answer = (number, age, ...boxes) => {
  const sure = age < 99;
  const mean = { age, age_low: age - 10, age_high: age + 10, p_male: 0.5, gender: "female" };
  const latest = { ...mean, age: age + 20, age_low: age + 15, age_high: age + 25, gender: "male" };
  const places = boxes.length ? boxes : [[100, 100, 200, 200]];
  const faces = places.map((box, i) => ({ ...mean, track: 1 + i, box, latest, label: mean, sure }));
  window.reply(number, faces, "");
};
window.reply = (number, faces, hint) => {
  const { id, view } = window.frames()[number];
  heard["msg:custom"]({ id, view, width: 640, height: 480, faces, hint, milliseconds: 1 }, []);
};
window.end = (number, error) => {
  const { id, view } = window.frames()[number];
  heard["msg:custom"]({ id, view, error, milliseconds: 1 }, []);
};
window.track = () => document.querySelector("video").srcObject?.getVideoTracks()[0];
widget.render({ model, el: document.body });
"""


@pytest.fixture
def by_hand(page):
    """Show the demo with a kernel that the test plays."""
    return show_by_hand(page)


def show_by_hand(page, source=""):
    # Browsers give the camera to pages of this machine, without https too.
    script = BY_HAND.replace("SOURCE", json.dumps(source))
    head = "<meta charset=utf-8><link rel=stylesheet href=/style.css>"
    answers = {
        "/": ("text/html", f"<!doctype html>{head}<body><script type=module>{script}</script>"),
        "/widget.js": ("text/javascript", WebcamDemo._esm),
        "/style.css": ("text/css", WebcamDemo._css),
    }

    def fulfill(route):
        kind, body = answers.get("/" + route.request.url.split("/", 3)[3], ("text/plain", ""))
        route.fulfill(content_type=f"{kind}; charset=utf-8", body=body)

    page.route("http://localhost/**", fulfill)
    page.goto("http://localhost/")
    page.wait_for_selector(".ssr-webcam")
    return page


def start(page) -> None:
    page.get_by_role("button", name="Start", exact=True).click()


def until_sent(page, count: int) -> None:
    page.wait_for_function("count => window.frames().length >= count", arg=count)


def test_no_queue_grows_and_a_late_answer_never_overtakes_a_newer_one(by_hand):
    page = by_hand
    start(page)
    page.get_by_text("Python has not answered yet.").wait_for()  # after seconds in which none was
    assert page.evaluate("() => window.frames().length") == 2
    assert page.evaluate("() => window.frames().every(({ bytes }) => bytes > 1000)")

    page.evaluate("() => { window.answer(1, 40); window.answer(0, 20) }")
    page.get_by_role("button", name="Face 1: about 40 years").wait_for()
    until_sent(page, 4)
    page.evaluate("() => window.answer(0, 20)")  # the same once more
    page.evaluate("() => window.answer(2, 60)")
    page.get_by_role("button", name="Face 1: about 60 years").wait_for()

    # What was asked before Stop is not shown after the next Start.
    page.get_by_role("button", name="Stop", exact=True).click()
    before = page.evaluate("() => window.frames().length")
    start(page)
    until_sent(page, before + 1)
    page.evaluate("number => window.answer(number, 80)", before - 1)
    assert page.locator(".ssr-face").count() == 0


@IN_BOTH
def test_frozen_picture_keeps_its_time_and_is_asked_about_again(by_hand):
    page = by_hand
    start(page)
    until_sent(page, 2)
    page.get_by_role("button", name="Freeze").click()
    assert page.evaluate("() => document.querySelector('video').paused")
    # Two frames wait: the frozen one is sent as soon as one of them is answered, and no other.
    page.evaluate("() => window.answer(0, 30)")
    until_sent(page, 3)
    page.evaluate("() => { window.answer(1, 31); window.answer(2, 32) }")
    page.get_by_role("button", name="Face 1: about 32 years").click()
    until_sent(page, 4)
    page.evaluate("() => window.answer(3, 33)")
    first, second = page.evaluate("() => window.frames().slice(2).map(({ time }) => time)")
    assert first == second
    assert page.evaluate("() => window.track().readyState") == "live"

    page.get_by_role("button", name="Go on").click()
    until_sent(page, 5)
    assert page.evaluate("() => window.frames()[4].time") > second


BOXES = [
    [0, 0, 640, 480],
    [490, 150, 150, 150],
    [0, 150, 150, 150],
    [400, 2, 200, 200],
    [150, 20, 300, 440],
    [300, 330, 150, 150],
]


def test_every_label_lies_in_the_picture(by_hand):
    page = by_hand
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(reduced_motion="reduce")
    start(page)
    for number, box in enumerate(BOXES):
        until_sent(page, number + 1)
        page.evaluate("([number, box]) => window.answer(number, 40 + number, box)", [number, box])
        page.get_by_role("button", name=f"Face 1: about {40 + number} years").wait_for()
        screen, label = (page.locator(where).bounding_box() for where in (".ssr-screen", ".ssr-label"))
        for start_, size in (("x", "width"), ("y", "height")):
            assert screen[start_] <= label[start_], box
            assert label[start_] + label[size] <= screen[start_] + screen[size], box


def apart(a, b) -> bool:
    across = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
    return across or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]


@pytest.mark.parametrize(
    "boxes",
    [
        [[60, 200, 200, 200], [80, 90, 90, 90]],
        [[100, 150, 200, 200], [320, 150, 200, 200]],
        [[100, 10, 200, 220], [100, 240, 200, 220]],
        [[20 + 120 * i, 150 + 10 * i, 110, 110] for i in range(5)],
        [[10 + 48 * (i % 13), 10 + 48 * (i // 13), 44, 44] for i in range(39)],
    ],
    ids=["above", "side by side", "below", "five", "crowd"],
)
def test_no_label_lies_on_another_face_or_label(by_hand, boxes, screenshot):
    page = by_hand
    page.emulate_media(reduced_motion="reduce")
    start(page)
    until_sent(page, 1)
    page.evaluate("boxes => window.answer(0, 40, ...boxes)", boxes)
    page.get_by_role("button", name=f"Face {len(boxes)}: about 40 years").wait_for()
    faces, labels = (
        [found.bounding_box() for found in page.locator(where).all()] for where in (".ssr-face", ".ssr-label")
    )
    for i, label in enumerate(labels):
        for j in range(len(boxes)):
            assert i == j or (apart(label, faces[j]) and apart(label, labels[j])), (i, j)
    screenshot(f"webcam-{len(boxes)}-labels-{boxes[0][0]}")


@pytest.mark.parametrize(
    ("hint", "says"), [("dark", "more light"), ("small", "Come closer"), ("tilted", "Hold your head upright")]
)
def test_hints_are_shown_in_words(by_hand, hint, says):
    page = by_hand
    start(page)
    until_sent(page, 1)
    page.evaluate("hint => window.reply(0, [], hint)", hint)
    page.get_by_text(says).wait_for()
    until_sent(page, 3)
    page.evaluate("() => window.answer(1, 40)")
    page.get_by_text(says).wait_for(state="hidden")


def drag(page, *points) -> None:
    """Drag the mouse over the picture, from point to point, each in shares of its sides."""
    place = page.locator(".ssr-screen").bounding_box()
    for number, (x, y) in enumerate(points):
        page.mouse.move(place["x"] + x * place["width"], place["y"] + y * place["height"])
        if not number:
            page.mouse.down()
    page.mouse.up()


def start_with_nobody(page) -> None:
    start(page)
    until_sent(page, 2)
    page.evaluate("() => window.reply(0, [], '')")
    page.get_by_text("draw a box around a face").wait_for()


@IN_BOTH
def test_a_box_drawn_on_the_camera_freezes_it_and_is_read(by_hand, screenshot):
    page = by_hand
    start_with_nobody(page)
    page.evaluate("() => window.reply(1, [], '')")
    drag(page, (0.5, 0.5), (0.505, 0.505))  # a click, no box
    assert not page.evaluate("() => document.querySelector('video').paused")
    drag(page, (0.75, 0.5), (0.6, 0.4), (0.5, 0.25))
    assert page.evaluate("() => document.querySelector('video').paused")
    # It is sent when there is a place free among the unanswered.
    page.evaluate("() => window.frames().forEach((_, number) => window.reply(number, [], ''))")
    page.wait_for_function("() => window.frames().at(-1).boxes.length")
    # The picture is mirrored, and the box is not.
    assert page.evaluate("() => window.frames().at(-1).boxes[0]") == pytest.approx(
        [160, 120, 160, 120], abs=2
    )
    page.evaluate("() => window.answer(window.frames().length - 1, 99, window.frames().at(-1).boxes[0])")
    page.get_by_role("button", name=re.compile("about 99 years.*not sure that it is a face")).wait_for()
    page.locator(".ssr-label", has_text="a face?").wait_for()
    screenshot("webcam-drawn")
    before = page.evaluate("() => window.frames().length")
    page.get_by_role("button", name="Go on").click()
    until_sent(page, before + 1)
    assert page.evaluate("() => window.frames().at(-1).boxes") == []


def test_boxes_drawn_on_a_frozen_picture_all_stay_and_one_without_a_width_is_none(by_hand):
    page = by_hand
    start_with_nobody(page)
    drag(page, (0.75, 0.5), (0.5, 0.25))
    drag(page, (0.2, 0.2), (0.4, 0.4), (0.2, 0.4))  # back to where it began
    drag(page, (0.1, 0.5), (0.3, 0.8))
    page.evaluate("() => window.frames().forEach((_, number) => window.reply(number, [], ''))")
    page.wait_for_function("() => window.frames().at(-1).boxes.length === 2")
    assert page.evaluate("() => window.frames().at(-1).boxes.every(([, , w, h]) => w > 1 && h > 1)")


def test_a_drag_that_comes_to_nothing_lets_the_camera_go_on(by_hand):
    page = by_hand
    start_with_nobody(page)
    drag(page, (0.2, 0.2), (0.4, 0.4), (0.2, 0.4))
    page.wait_for_function("() => !document.querySelector('video').paused")


def swipe(page, start, to) -> None:
    """Move a finger over the picture, from point to point in shares of its sides."""
    place, devtools = page.locator(".ssr-screen").bounding_box(), page.context.new_cdp_session(page)
    for step in range(12):
        share = min(step, 10) / 10
        x, y = (begin + share * (end - begin) for begin, end in zip(start, to, strict=True))
        finger = {"x": place["x"] + x * place["width"], "y": place["y"] + y * place["height"]}
        kind = "touchStart" if step == 0 else "touchMove" if step < 11 else "touchEnd"
        points = [] if kind == "touchEnd" else [finger]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def start_on_a_phone(page, *boxes) -> None:
    """Show the demo on a page that is higher than the screen, with faces in these boxes."""
    page.set_viewport_size({"width": 400, "height": 500})
    page.evaluate("() => { document.body.style.minHeight = '3000px' }")
    start(page)
    until_sent(page, 2)
    page.evaluate("boxes => boxes.length ? answer(0, 40, ...boxes) : reply(0, [], '')", boxes)
    page.wait_for_function("count => document.querySelectorAll('.ssr-face').length === count", arg=len(boxes))


@pytest.mark.parametrize("boxes", [[], [[500, 300, 100, 100]]], ids=["nobody", "one"])
def test_a_finger_draws_a_box_whoever_is_found(by_hand, boxes):
    page = by_hand
    start_on_a_phone(page, *boxes)
    swipe(page, (0.1, 0.1), (0.6, 0.5))
    assert page.evaluate("() => document.querySelector('video').paused")
    page.evaluate("() => window.frames().forEach((_, number) => window.reply(number, [], ''))")
    page.wait_for_function("() => window.frames().at(-1).boxes.length")
    assert page.evaluate("() => window.frames().at(-1).boxes[0]") == pytest.approx([256, 48, 320, 192], abs=4)
    assert page.evaluate("() => scrollY") == 0


def test_a_finger_that_goes_up_over_a_found_face_scrolls(by_hand):
    page = by_hand
    start_on_a_phone(page, [500, 300, 100, 100])
    swipe(page, (0.3, 0.8), (0.35, 0.1))
    page.wait_for_function("() => scrollY > 0")
    assert not page.evaluate("() => document.querySelector('video').paused")


def test_a_late_answer_does_not_hide_that_the_demo_is_paused(by_hand):
    page = by_hand
    start(page)
    until_sent(page, 2)
    with in_background(page):
        page.evaluate("() => window.answer(0, 40)")
        page.get_by_role("button", name="Face 1: about 40 years").wait_for()
        assert page.get_by_text("Paused while this tab is in the background.").is_visible()


def test_start_keeps_the_focus_while_the_browser_asks_and_asks_once(by_hand):
    page = by_hand
    page.evaluate(
        """() => {
            window.asked = 0;
            navigator.mediaDevices.getUserMedia = () => new Promise(() => { window.asked += 1 });
        }"""
    )
    start = page.get_by_role("button", name="Start", exact=True)
    start.press("Enter")
    page.wait_for_function("() => document.activeElement.getAttribute('aria-disabled') === 'true'")
    start.press("Enter")
    assert page.evaluate("() => window.asked") == 1


def test_a_tall_photo_is_shown_as_a_whole(by_hand, tmp_path):
    page = by_hand
    face_crop.write_photo(np.full((2000, 100, 3), 128, np.uint8), tmp_path / "tall.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "tall.png")
    until_sent(page, 1)
    page.wait_for_function("() => !document.querySelector('.ssr-screen canvas').hidden")
    shown = page.locator(".ssr-screen").bounding_box()
    assert shown["height"] <= page.viewport_size["height"]
    assert shown["height"] / shown["width"] == pytest.approx(20, rel=0.05)


def test_a_missed_frame_takes_the_focus_from_no_face(by_hand):
    page = by_hand
    start(page)
    until_sent(page, 1)
    page.evaluate("() => window.answer(0, 40)")
    face = page.get_by_role("button", name="Face 1: about 40 years")
    face.focus()
    until_sent(page, 2)
    page.evaluate("() => window.reply(1, [], '')")
    page.wait_for_function("() => document.querySelector('.ssr-face').matches('.ssr-missed:focus')")
    until_sent(page, 3)
    page.evaluate("() => window.answer(2, 40)")
    page.wait_for_function("() => document.querySelector('.ssr-face').matches(':focus:not(.ssr-missed)')")
    # Of one who has left, the focus goes on.
    page.evaluate(
        """() => setInterval(() => {
            window.frames().forEach((_, number) => window.reply(number, [], ""));
        }, 50)"""
    )
    page.wait_for_function("() => !document.querySelector('.ssr-face')")
    assert page.evaluate("() => document.activeElement.textContent") == "Stop"


@IN_BOTH
def test_a_picture_is_saved_when_somebody_asks_for_it(by_hand, press_and_save, tmp_path):
    page = by_hand
    page.emulate_media(reduced_motion="reduce")
    face_crop.write_photo(np.full((480, 640, 3), 128, np.uint8), tmp_path / "photo.png")
    save = page.get_by_role("button", name="Save picture")
    assert save.is_disabled()
    page.locator("input[type=file]").set_input_files(tmp_path / "photo.png")
    until_sent(page, 1)
    page.evaluate("() => window.answer(0, 40, [200, 200, 160, 160])")
    page.get_by_role("button", name="Face 1: about 40 years").wait_for()
    saved = face_crop.read_photo(press_and_save(save, "faces.png"))
    assert saved.shape == (480, 640, 3)
    assert abs(saved[280, 280].astype(int) - 128).max() <= 2  # the photo itself
    assert abs(saved[197:204, 280].astype(int) - 128).max() > 60  # the box
    label = saved[150:196, 195:330]
    assert label.min() < 60  # its ground, and on it bright letters
    assert label.max() > 200
    tall = page.locator(".ssr-label strong").evaluate("age => parseFloat(getComputedStyle(age).fontSize)")
    scale = 640 / page.locator(".ssr-screen").bounding_box()["width"]
    rows = np.flatnonzero((label.max(axis=2) > 150).any(axis=1))
    assert rows.max() - rows.min() > 0.6 * tall * scale  # a digit is 0.7 of its font high


def test_without_smoothing_all_numbers_are_the_frames_own(by_hand):
    page = by_hand
    start(page)
    until_sent(page, 1)
    page.evaluate("() => window.answer(0, 40)")
    page.get_by_role("button", name="Face 1: about 40 years, between 30 and 50; female").wait_for()
    page.get_by_text("Smooth").uncheck()
    page.get_by_role("button", name="Face 1: about 60 years, between 55 and 65; male").wait_for()
    assert page.locator(".ssr-label > *").all_inner_texts() == ["60", "55\u201365", "male 50 %"]
    page.get_by_text("Write down what you try").click()
    page.get_by_role("button", name="Write down", exact=True).click()
    assert page.evaluate("() => window.model.get('notes')[0].age") == 60


def test_a_source_freezes_ends_and_can_be_played_again(page):
    show_by_hand(page, "film.avi")
    start(page)
    until_sent(page, 2)
    page.get_by_role("button", name="Freeze").click()
    page.evaluate("() => { window.answer(0, 30); window.answer(1, 31) }")
    page.get_by_role("button", name="Face 1: about 31 years").wait_for()
    assert page.evaluate("() => window.frames().length") == 2
    page.get_by_role("button", name="Go on").click()
    until_sent(page, 4)
    page.evaluate("() => window.reply(2, [], '')")
    page.get_by_text("No face is seen.", exact=True).wait_for()
    page.evaluate("() => window.end(3, 'film.avi has ended; Start plays it again')")
    page.get_by_text("film.avi has ended; Start plays it again").wait_for()
    assert page.evaluate("() => window.sent.at(-1).kind") == "stop"
    start(page)
    until_sent(page, 6)


def test_camera_that_comes_late_is_let_go_at_once(by_hand, tmp_path):
    page = by_hand
    page.evaluate(
        """() => {
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wish) => {
                window.late = await ask(wish);
                await new Promise((resolve) => { window.letGo = resolve });
                return window.late;
            };
        }"""
    )
    start(page)
    page.wait_for_function("() => window.letGo")
    face_crop.write_photo(PHOTO, tmp_path / "photo.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "photo.png")
    until_sent(page, 1)
    page.evaluate("() => window.letGo()")
    page.wait_for_function("() => window.late.getVideoTracks()[0].readyState === 'ended'")
    page.evaluate("() => window.answer(0, 50)")
    page.get_by_role("button", name="Face 1: about 50 years").wait_for()
    assert page.evaluate("() => window.frames().map(({ still }) => still)") == [True]


def test_choice_among_cameras(browser):
    with launch(browser.browser_type, cameras=2) as several, open_page(several) as page:
        show_by_hand(page)
        start(page)
        choice = page.get_by_label("Camera", exact=True)
        choice.wait_for()
        assert choice.locator("option").count() == 2
        page.evaluate("() => { window.first = window.track() }")
        values = choice.locator("option").evaluate_all("options => options.map(({ value }) => value)")
        other = next(value for value in values if value != choice.input_value())
        choice.select_option(other)
        page.wait_for_function(
            """other => window.track()?.getSettings().deviceId === other
                && !document.querySelector("video").hidden""",
            arg=other,
        )
        assert page.evaluate("() => window.first.readyState") == "ended"

        # The chosen one is taken away: the page says so, and Start takes the one that is left.
        page.get_by_role("button", name="Stop", exact=True).click()
        page.evaluate(
            """() => {
                const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
                navigator.mediaDevices.getUserMedia = (wish) => wish.video.deviceId
                    ? Promise.reject(new OverconstrainedError("deviceId")) : ask(wish);
            }"""
        )
        start(page)
        page.get_by_text("The chosen camera has gone.").wait_for()
        start(page)
        page.wait_for_function("() => window.track()?.readyState === 'live'")


def drop(page, selector: str, *paths) -> None:
    """Drag files from outside the browser onto an element, as the mouse does."""
    place = page.locator(selector).bounding_box()
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": place["x"] + place["width"] / 2,
                "y": place["y"] + place["height"] / 2,
                "data": {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1},
            },
        )


def crowd() -> np.ndarray:
    """Draw 56 times the same face, in rows."""
    x, y, side, _ = detectors.find(PHOTO)[0][:4]
    face = PHOTO[y - side // 8 : y + side + side // 8, x - side // 8 : x + side + side // 8]
    return np.tile(cv2.resize(face, (80, 80), interpolation=cv2.INTER_AREA), (7, 8, 1))


def test_photos_are_dropped_onto_the_demo(lab, page, tmp_path, screenshot):
    lab("dropped", DEMO.format(source=""))
    page.get_by_text("or drop a photo here").wait_for()
    face_crop.write_photo(PHOTO, tmp_path / "photo.png")
    drop(page, ".ssr-screen", tmp_path / "photo.png")
    page.get_by_role("button", name=FACE).wait_for()
    (tmp_path / "text.png").write_text("not an image")
    drop(page, ".ssr-screen", tmp_path / "text.png")
    page.get_by_text("cannot read this file as an image").wait_for()
    face_crop.write_photo(crowd(), tmp_path / "crowd.png")
    drop(page, ".ssr-screen", tmp_path / "crowd.png")
    page.wait_for_function("() => document.querySelectorAll('.ssr-face').length > 40")
    screenshot("webcam-crowd")


def test_frames_that_are_no_images_and_a_kernel_that_is_restarted(lab, page):
    opened = lab("restarted", DEMO.format(source=""))
    page.wait_for_selector(".ssr-webcam")
    page.evaluate(
        """() => {
            window.whole = HTMLCanvasElement.prototype.toBlob;
            HTMLCanvasElement.prototype.toBlob = function (take) { take(new Blob(["not a JPEG"])) };
        }"""
    )
    start(page)
    page.get_by_text("The frame: not an image, or a damaged one.").wait_for()
    page.evaluate("() => { HTMLCanvasElement.prototype.toBlob = window.whole }")
    page.get_by_role("button", name=FACE).first.wait_for()

    page.evaluate(
        "() => { window.track = document.querySelector('.ssr video').srcObject.getVideoTracks()[0] }"
    )
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }")
    page.get_by_text("The kernel has gone. Run this cell again.").wait_for()
    assert page.evaluate("() => window.track.readyState") == "ended"
    opened.command("notebook:run-all-cells")
    page.get_by_text("Press Start and look into the camera").wait_for()
    start(page)
    page.get_by_role("button", name=FACE).first.wait_for()


def test_source_is_a_video(lab, page, tmp_path, screenshot):
    # It outlasts the most patient wait. A face is shown once two frames have it, which may be far apart.
    video = write_portrait(tmp_path / "video.avi", rate=1, frames=600)
    patient = "from ssrlib import tracking\ntracking.LOST_SECONDS = 60\n"
    lab("video", patient + DEMO.format(source=repr(str(video))))
    start(page)
    page.get_by_role("button", name=FACE).wait_for()
    screenshot("webcam-video")


def test_a_saved_demo_says_what_brings_it_to_life_on_a_page_and_in_jupyterlab(page, jupyter):
    saved = WebcamDemo().page()
    page.set_content(f"<!doctype html><meta charset=utf-8><body>{saved}</body>")
    page.get_by_text("run this chapter in JupyterLab").wait_for()
    open_saved(page, *jupyter, "saved-webcam", saved)
    page.get_by_text("run this cell (Shift+Enter)").wait_for()
