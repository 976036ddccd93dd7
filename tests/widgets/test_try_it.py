"""The networks in the browser: a page that answers as the package does, and keeps all to itself."""

import base64
import re
from contextlib import suppress
from pathlib import Path

import cv2
import jupytext
import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError as NotYet
from skimage import data

from ssrlib import AgeGenderEstimator
from ssrlib.datasets import synthetic
from ssrlib.detectors import Box
from ssrlib.face_crop import Crop
from ssrlib.widgets import TryIt
from testing.faces import FOGGY_AND_CLEAR, LYING, scene
from testing.lab import in_background
from tools.site import notebooks

from ..conftest import IN_BOTH

ROOT = Path(__file__).parents[2]
PORTRAIT = data.astronaut()


@pytest.fixture(scope="module")
def try_it():
    return TryIt(PORTRAIT)


def test_the_page_holds_everything_and_is_small(try_it):
    html = try_it.page()
    assert len(html.encode()) < 1_200_000
    assert "http:" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in html
    assert html.count("</script") == 1


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="no face was found in the photo"):
        TryIt(np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(ValueError, match='use an estimator with backend="torch"'):
        TryIt(estimator=AgeGenderEstimator(backend="onnx"))


@pytest.mark.parametrize("unusual", [Crop(margin=0.4, shift=0.0), Crop(margin=0.1, shift=0.2)])
def test_the_guide_marks_the_same_face_for_every_crop(unusual):
    def marks(crop):
        estimator = AgeGenderEstimator()
        estimator.crop = crop
        guide = TryIt(estimator=estimator).guide
        square = crop.square(Box(1000, 1000, 500, 500))
        points = np.array([(guide["x"], guide["y"]), *guide["eyes"]])
        return np.array(square[:2]) + square.width * points, square.width * guide["rx"]

    usual, other = (marks(crop) for crop in (Crop(), unusual))
    np.testing.assert_allclose(usual[0], other[0], atol=1)
    assert usual[1] == pytest.approx(other[1], abs=1)


def test_the_page_of_the_book_makes_it_from_the_built_in_weights(try_it, capsys):
    cells = jupytext.read(ROOT / "book" / "try-it.md").cells
    names = {}
    exec("\n".join(cell.source for cell in cells if cell.cell_type == "code"), names)
    assert vars(names["page"]) == vars(try_it)
    assert "kB are the whole of it" in capsys.readouterr().out


def test_the_readme_shows_the_demo_in_motion():
    (name,) = re.findall(r"^!\[The webcam demo[^]]+\]\((.*)\)$", (ROOT / "README.md").read_text(), re.M)
    with Image.open(ROOT / name) as film:
        assert film.n_frames > 40
        assert 600 <= film.width <= 800
    assert (ROOT / name).stat().st_size < 1_500_000


# The page as a reader has it.


def png(photo: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.fixture
def opened(page, try_it, tmp_path):
    """The page from a file, with every request noted."""
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)

    def open_page(theme: str = "light", shown: TryIt = try_it) -> None:
        path = tmp_path / "try-it.html"
        head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Try it</title>"
        body = f"<body>{shown.page()}</body>"
        path.write_text(f"<!doctype html><html lang=en data-theme={theme}>{head}{body}</html>")
        page.goto(path.as_uri())
        page.wait_for_function("() => document.querySelector('.ssr-answer')?.dataset.age")

    yield open_page
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:///", "data:", "blob:"))] == []


def answer(page) -> dict:
    """What the page says, with all digits: age, low, high, male."""
    return {
        name: float(value)
        for name, value in page.locator(".ssr-answer").evaluate("shown => ({ ...shown.dataset })").items()
    }


def wait_for_other(page, before: dict) -> dict:
    page.wait_for_function(
        "age => document.querySelector('.ssr-answer').dataset.age !== `${age}`", arg=before["age"]
    )
    return answer(page)


def test_the_page_opens_with_the_portrait_as_the_package_reads_it(page, opened, try_it, screenshot):
    opened()
    portrait = cv2.imdecode(
        np.frombuffer(base64.b64decode(try_it.pictures[0]["image"].split(",")[1]), np.uint8),
        cv2.IMREAD_COLOR_RGB,
    )
    (reading,) = AgeGenderEstimator().predict(portrait)
    shown = answer(page)
    assert shown["age"] == pytest.approx(reading.age, abs=0.3)
    assert shown["male"] == pytest.approx(reading.p_male, abs=0.01)
    assert [shown["low"], shown["high"]] == pytest.approx([reading.age_low, reading.age_high], abs=1)
    assert page.locator(".ssr-stage").count() == 3
    assert f"{shown['age']:.0f} years" in page.locator(".ssr-answer").inner_text()
    assert re.search(r"time\s+\d+ ms a face", page.locator(".ssr-lines").inner_text())
    screenshot("try-it-light")


def test_drawn_faces_are_read_as_they_are(page, opened):
    opened()
    drawn, _ = synthetic.generate(4, seed=7)
    ages, low, high, p_male = AgeGenderEstimator().predict_faces(drawn)
    for i in range(4):
        before = answer(page)
        page.get_by_role("button", name=f"Drawing {i + 1}").click()
        shown = wait_for_other(page, before)
        expected = [ages[i], low[i], high[i], p_male[i]]
        assert [shown[name] for name in ("age", "low", "high", "male")] == pytest.approx(expected, abs=2e-3)
        assert page.get_by_role("button", name=f"Drawing {i + 1}").get_attribute("aria-pressed") == "true"


def choose(page, tmp_path, photo: np.ndarray) -> None:
    (tmp_path / "chosen.png").write_bytes(png(photo))
    page.locator("input[type=file]").set_input_files(tmp_path / "chosen.png")


def wait_for_age(page, age: float) -> None:
    page.wait_for_function(
        "age => Math.abs(Number(document.querySelector('.ssr-answer').dataset.age) - age) < 0.01", arg=age
    )


def test_a_chosen_picture_s_face_is_found_and_turned_upright(page, opened, tmp_path, screenshot):
    opened("dark")
    before = answer(page)
    (tmp_path / "not.png").write_text("not an image")
    page.locator("input[type=file]").set_input_files(tmp_path / "not.png")
    page.get_by_text("cannot read this file as an image").wait_for()
    assert answer(page) == before  # what was there stays

    height, width = PORTRAIT.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 35, 1)
    tilted = cv2.warpAffine(PORTRAIT, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    choose(page, tmp_path, tilted)
    shown = wait_for_other(page, before)
    page.get_by_text("The face was found, and turned upright.").wait_for()
    assert not page.locator(".ssr-message").is_visible()
    (reading,) = AgeGenderEstimator().predict(tilted)
    assert shown["age"] == pytest.approx(reading.age, abs=0.3)
    screenshot("try-it-tilted-dark")


def test_every_face_of_a_picture_can_be_read(page, opened, tmp_path, screenshot):
    opened()
    before = answer(page)
    large = PORTRAIT[:300, 100:400]
    small = np.pad(cv2.resize(large, (200, 200)), ((0, 100), (0, 0), (0, 0)))
    two = np.hstack([large, small])
    choose(page, tmp_path, two)
    first = wait_for_other(page, before)
    buttons = [page.get_by_role("button", name=f"Face {number} of 2") for number in (1, 2)]
    assert [button.get_attribute("aria-pressed") for button in buttons] == ["true", "false"]
    buttons[1].click()
    assert [button.get_attribute("aria-pressed") for button in buttons] == ["false", "true"]
    second = wait_for_other(page, first)
    readings = AgeGenderEstimator().predict(two)
    assert [first["age"], second["age"]] == pytest.approx([reading.age for reading in readings], abs=0.5)
    screenshot("try-it-two")


def test_what_the_finder_hardly_takes_for_a_face_is_doubted(page, opened, tmp_path):
    opened()
    before = answer(page)
    choose(page, tmp_path, FOGGY_AND_CLEAR)
    shown = wait_for_other(page, before)
    lines = page.locator(".ssr-lines")
    assert "not sure that it is a face" in lines.inner_text()
    page.get_by_role("button", name="Face 2 of 2").click()
    wait_for_other(page, shown)
    assert "not sure" not in lines.inner_text()


def test_a_face_on_its_side_is_doubted(page, opened, tmp_path):
    opened()
    before = answer(page)
    choose(page, tmp_path, scene(100, LYING[-1])[0])
    wait_for_other(page, before)
    page.get_by_text("not sure that it is a face").wait_for()


def test_a_face_that_was_placed_by_hand_is_read_upright(page, opened):
    opened()
    found = answer(page)
    screen = page.get_by_role("application", name="The picture under the oval")
    before = found
    for _ in range(15):  # by 30 degrees
        screen.press(",")
        before = wait_for_other(page, before)
    page.get_by_text("A face that is seen there is turned upright.").wait_for()
    assert before["age"] == pytest.approx(found["age"], abs=3)
    assert "not sure" not in page.locator(".ssr-lines").inner_text()


def test_without_a_face_there_is_no_answer_until_somebody_places_one(page, opened, tmp_path, screenshot):
    opened()
    choose(page, tmp_path, data.coffee())
    page.get_by_text("No face was found here.").wait_for()
    assert page.locator(".ssr-answer").inner_text() == "No face yet"
    assert "age" not in page.locator(".ssr-answer").evaluate("shown => ({ ...shown.dataset })")
    assert page.locator(".ssr-lines").inner_text() == ""
    screenshot("try-it-nobody")
    page.get_by_role("application", name="The picture under the oval").press("ArrowRight")
    page.get_by_text("not sure that it is a face").wait_for()
    page.get_by_text("Placed by hand").wait_for()
    page.get_by_role("button", name="Find the face").click()
    page.get_by_text("No face was found here.").wait_for()


def test_a_picture_is_moved_resized_turned_and_found_again(page, opened, tmp_path):
    opened()
    whole = answer(page)
    # Who scrolls past it leaves it as it is.
    assert not page.locator(".ssr-screen").evaluate(
        """screen => {
            const event = new WheelEvent("wheel", { deltaY: -120, cancelable: true });
            screen.dispatchEvent(event);
            return event.defaultPrevented;
        }"""
    )
    # With the keys: to the right by three steps, and back.
    screen = page.get_by_role("application", name="The picture under the oval")
    screen.press("ArrowRight")
    right = wait_for_other(page, whole)
    page.get_by_text("Placed by hand").wait_for()
    screen.press("ArrowLeft")
    placed = wait_for_other(page, right)
    assert placed["age"] == pytest.approx(whole["age"], abs=1.5), "where it was found, she is seen again"
    for _ in range(3):
        screen.press("ArrowRight")
    moved = wait_for_other(page, placed)
    for _ in range(3):
        screen.press("ArrowLeft")
    wait_for_age(page, placed["age"])
    size = page.get_by_role("slider", name="Size")
    smaller = float(size.input_value())
    screen.press("+")
    page.wait_for_function(
        "size => document.querySelector('.ssr-try [type=range]').value > size", arg=smaller
    )
    larger = wait_for_other(page, whole)
    size.press("PageUp")
    larger = wait_for_other(page, larger)
    screen.press(",")
    turned = wait_for_other(page, larger)
    assert moved != whole

    # With the mouse: dragged, and zoomed at the pointer.
    place = page.locator(".ssr-screen").bounding_box()
    page.mouse.move(place["x"] + 200, place["y"] + 100)
    page.mouse.down()
    page.mouse.move(place["x"] + 230, place["y"] + 160, steps=3)
    page.mouse.up()
    dragged = wait_for_other(page, turned)
    page.mouse.wheel(0, -120)
    wait_for_other(page, dragged)

    page.get_by_role("button", name="Find the face").click()
    wait_for_age(page, whole["age"])
    assert page.get_by_role("button", name="Find the face").count() == 0


@IN_BOTH
def test_the_wheel_zooms_at_the_pointer(page, opened, tmp_path):
    opened()
    photo = np.full((300, 400, 3), 235, np.uint8)
    cv2.circle(photo, (250, 100), 12, (20, 20, 20), -1)
    choose(page, tmp_path, photo)
    page.get_by_text("No face was found here.").wait_for()
    screen = page.get_by_role("application", name="The picture under the oval")
    screen.focus()
    x, y, count = dot(page)
    page.mouse.move(x, y)
    for direction, sign in ((-120, 1), (120, -1)):
        page.mouse.wheel(0, direction)
        page.wait_for_function("before => window.dark() !== before", arg=count)
        left, top, now = dot(page)
        assert abs(left - x) < 1.5
        assert abs(top - y) < 1.5
        assert sign * (now - count) > 0.2 * count
        count = now


def dot(page) -> tuple[float, float, int]:
    """The middle of what is dark under the oval, in pixels of the page, and how many pixels are."""
    return page.locator(".ssr-screen canvas").evaluate(
        """canvas => {
            const { width, height } = canvas;
            const context = canvas.getContext("2d");
            window.dark = () => {
                const { data } = context.getImageData(0, 0, width, height);
                return data.filter((value, i) => i % 4 === 0 && value < 60).length;
            };
            const { data } = context.getImageData(0, 0, width, height);
            let [x, y, count] = [0, 0, 0];
            for (let i = 0; i < width * height; i += 1)
                if (data[4 * i] < 60) [x, y, count] = [x + (i % width), y + Math.floor(i / width), count + 1];
            const place = canvas.getBoundingClientRect();
            const unit = place.width / width;
            return [place.x + unit * (x / count + 0.5), place.y + unit * (y / count + 0.5), count];
        }"""
    )


@IN_BOTH
def test_two_taps_on_the_eyes_place_a_face(page, opened, try_it):
    opened()
    whole = answer(page)
    screen = page.get_by_role("application", name="The picture under the oval")
    place = page.locator(".ssr-screen").bounding_box()
    unit = place["width"] / 400
    # On the marks lie the eyes of the face that was found.
    eyes = [(101 + 198 * x, 60 + 198 * y) for x, y in try_it.guide["eyes"]]
    screen.press("Shift+ArrowRight")
    wait_for_other(page, whole)
    shift = 198 / 8  # what the key moved
    page.mouse.click(place["x"] + unit * (eyes[1][0] + shift), place["y"] + unit * eyes[1][1])
    page.get_by_text("And the other eye").wait_for()
    page.mouse.click(place["x"] + unit * (eyes[0][0] + shift), place["y"] + unit * eyes[0][1])
    page.wait_for_function(
        "age => Math.abs(Number(document.querySelector('.ssr-answer').dataset.age) - age) < 3",
        arg=whole["age"],
    )
    assert not page.locator(".ssr-message").is_visible()


@IN_BOTH
def test_pictures_are_dropped_pasted_and_saved(page, opened, press_and_save):
    opened()
    before = answer(page)
    drop(page, png(PORTRAIT[:300, 100:400]))
    before = wait_for_other(page, before)
    drop(page, None)
    page.get_by_text("This was no file").wait_for()
    page.evaluate(
        """() => {
            document.body.append(document.createElement("textarea"));
            const decode = window.createImageBitmap;
            window.decoded = 0;
            window.createImageBitmap = (file) => { window.decoded += 1; return decode(file); };
        }"""
    )
    paste(page, png(PORTRAIT[:350, 100:400]), "textarea")  # meant for the text
    assert page.evaluate("() => window.decoded") == 0
    paste(page, png(PORTRAIT[:250, 130:380, ::-1]))
    wait_for_other(page, before)
    save = page.get_by_role("button", name="Save this picture")
    with Image.open(press_and_save(save, "face.png")) as saved:
        assert saved.width > 300
    assert page.evaluate("() => window.decoded") == 1


def paste(page, image: bytes, where: str = "body") -> None:
    page.evaluate(
        """([image, where]) => {
            const clipboardData = new DataTransfer();
            const bytes = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
            clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
            const event = new ClipboardEvent("paste", { bubbles: true });
            // Firefox's events leave out files that they are made with.
            Object.defineProperty(event, "clipboardData", { value: clipboardData });
            document.querySelector(where).dispatchEvent(event);
        }""",
        [base64.b64encode(image).decode(), where],
    )


def drop(page, image: bytes | None) -> None:
    page.evaluate(
        """image => {
            const dataTransfer = new DataTransfer();
            if (image) {
                const bytes = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
                dataTransfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            } else dataTransfer.setData("text/plain", "words");
            const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector(".ssr-screen").dispatchEvent(event);
        }""",
        image and base64.b64encode(image).decode(),
    )


def test_two_fingers_resize_the_picture(page, opened):
    opened()
    before, size = answer(page), page.get_by_role("slider", name="Size")
    start = float(size.input_value())
    place = page.locator(".ssr-screen").bounding_box()
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80)):
        points = [
            {"x": place["x"] + place["width"] / 2 + side * apart, "y": place["y"] + 150, "id": i}
            for i, side in enumerate((-1, 1))
        ]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for_other(page, before)
    assert float(size.input_value()) > start + 0.05


NOTE_STOPPED = """() => {
    const stop = MediaStreamTrack.prototype.stop;
    window.stopped = [];
    MediaStreamTrack.prototype.stop = function () { stop.call(this); window.stopped.push(this) };
}"""


def test_the_camera_is_read_pauses_and_stops(page, opened, screenshot):
    opened()
    before = answer(page)
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_text("The oval follows your face.").wait_for()
    first = wait_for_other(page, before)
    wait_for_other(page, first)  # it goes on
    page.get_by_text("averaged over the last 8 pictures").wait_for()
    screenshot("try-it-camera")

    with in_background(page):
        page.get_by_text("Paused while this tab is in the background.").wait_for()
        for _ in range(100):  # what was being read when the tab went away may still be on its way
            paused = answer(page)
            page.wait_for_timeout(1000)
            if answer(page) == paused:
                break
        else:
            raise AssertionError("the camera was read although the tab was in the background")
    wait_for_other(page, paused)
    assert not page.locator(".ssr-message").is_visible()

    page.evaluate(NOTE_STOPPED)
    page.get_by_role("button", name="Stop", exact=True).click()
    assert page.evaluate("() => window.stopped.map((track) => track.readyState)") == ["ended"]
    page.get_by_role("button", name="Use the camera").wait_for()
    page.wait_for_function(
        "age => document.querySelector('.ssr-answer').dataset.age === `${age}`", arg=before["age"]
    )

    # A notebook's cell that is run again takes it away, and nobody says so.
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_text("The oval follows your face.").wait_for()
    page.evaluate("() => document.querySelector('.ssr-try').remove()")
    page.wait_for_function("() => window.stopped.length === 2")


def test_before_the_camera_each_place_that_somebody_chose_is_read_anew(page, opened):
    opened()
    page.get_by_role("button", name="Use the camera").click()
    full = page.get_by_text("averaged over the last 8 pictures")
    full.wait_for()
    page.evaluate(
        """() => {
            const notes = [...document.querySelectorAll(".ssr-note")];
            const note = notes.find(({ textContent }) => textContent.includes("averaged over"));
            const count = () => Number(/last (\\d+) pictures/.exec(note.textContent)?.[1] ?? 1);
            new MutationObserver(() => window.averaged?.push(count())).observe(note, { childList: true });
        }"""
    )
    for _ in range(3):
        page.evaluate("() => { window.averaged = [] }")
        page.get_by_role("application", name="The picture under the oval").press("ArrowRight")
        page.wait_for_function("() => window.averaged.length > 8")
        assert 1 in page.evaluate("() => window.averaged")
        full.wait_for()


@pytest.mark.parametrize("page", ["firefox"], indirect=True)  # its camera shows colors
def test_a_camera_that_shows_nobody_pauses_and_stops(page, opened):
    opened()
    before = answer(page)
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_text("Nobody is seen.").wait_for()
    assert page.locator(".ssr-answer").inner_text() == "No face yet"
    with in_background(page):
        page.get_by_text("Paused while this tab is in the background.").wait_for()
    page.get_by_text("Nobody is seen.").wait_for()
    page.evaluate(NOTE_STOPPED)
    page.get_by_role("button", name="Stop", exact=True).click()
    assert page.evaluate("() => window.stopped.map((track) => track.readyState)") == ["ended"]
    wait_for_age(page, before["age"])


def set_camera(page, photo: np.ndarray) -> None:
    """Let the camera show a photo, or another one from now on."""
    page.evaluate(
        """async (picture) => {
            const image = new Image();
            image.src = `data:image/png;base64,${picture}`;
            await image.decode();
            const canvas = window.shown ??= document.createElement("canvas");
            [canvas.width, canvas.height] = [image.width, image.height];
            clearInterval(window.drawing);
            window.drawing = setInterval(() => canvas.getContext("2d").drawImage(image, 0, 0), 50);
            navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(20);
        }""",
        base64.b64encode(png(photo)).decode(),
    )


@IN_BOTH
def test_a_face_that_the_camera_showed_well_once_is_not_doubted_any_more(page, opened):
    foggy, clear = np.split(FOGGY_AND_CLEAR, 2, axis=1)
    opened()
    set_camera(page, foggy)
    page.get_by_role("button", name="Use the camera").click()
    doubt = page.locator(".ssr-lines").get_by_text("not sure that it is a face")
    doubt.wait_for()
    set_camera(page, clear)
    doubt.wait_for(state="detached")
    set_camera(page, foggy)
    with suppress(NotYet):
        doubt.wait_for(timeout=2500)  # the whole picture is searched once a second
    assert doubt.count() == 0
    assert page.locator(".ssr-answer").inner_text() != "No face yet"


@IN_BOTH
def test_of_two_people_before_the_camera_the_chosen_one_is_followed(page, opened, screenshot):
    large = PORTRAIT[:300, 100:400]
    small = np.pad(cv2.resize(large, (200, 200)), ((50, 50), (50, 50), (0, 0)))
    opened()
    set_camera(page, np.hstack([large, small]))
    page.get_by_role("button", name="Use the camera").click()
    pressed = [page.get_by_role("button", name=f"Face {number} of 2", pressed=True) for number in (1, 2)]
    pressed[0].wait_for()
    page.get_by_role("button", name="Face 2 of 2").click()
    page.get_by_text("averaged over the last 8 pictures").wait_for()
    assert pressed[1].count() == 1  # though the other is nearer
    assert pressed[0].count() == 0
    screenshot("try-it-camera-two")


def test_trouble_with_the_camera_is_told_and_a_picture_still_works(page, opened):
    opened()
    before = answer(page)
    for error, text in {
        "NotFoundError": "No camera was found",
        "NotAllowedError": "The browser was told not to show the camera",
        "NotReadableError": "The camera is taken by another program",
        "SomeError": "The camera could not be opened: for a test",
    }.items():
        page.evaluate(
            """error => {
                const failure = new DOMException("for a test", error);
                navigator.mediaDevices.getUserMedia = () => Promise.reject(failure);
            }""",
            error,
        )
        page.get_by_role("button", name="Use the camera").click()
        page.get_by_role("status").get_by_text(text).wait_for()
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("status").get_by_text("only to pages from this machine").wait_for()
    page.get_by_role("button", name="Drawing 1").click()
    wait_for_other(page, before)
    assert not page.locator(".ssr-message").is_visible()


def test_a_camera_that_was_asked_for_too_late_is_closed(page, opened):
    opened()
    before = answer(page)
    page.evaluate(
        """() => {
            const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wish) => {
                await new Promise((resolve) => { window.allow = resolve });
                window.camera = await open(wish);
                return window.camera;
            };
        }"""
    )
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Drawing 2").click()
    wait_for_other(page, before)
    page.evaluate("() => window.allow()")
    page.wait_for_function("() => window.camera?.getTracks().every((track) => track.readyState === 'ended')")


def test_answers_are_read_aloud_only_once_the_picture_rests(page, opened):
    opened()
    aloud = page.locator(".ssr-hearing")
    page.wait_for_function("() => document.querySelector('.ssr-hearing').textContent.startsWith('About')")
    page.evaluate(
        """() => {
            window.heard = 0;
            const count = () => { window.heard += 1 };
            new MutationObserver(count).observe(document.querySelector(".ssr-hearing"), { childList: true });
        }"""
    )
    before, spoken = answer(page), aloud.inner_text()
    screen = page.get_by_role("application", name="The picture under the oval")
    for _ in range(10):
        screen.press("Shift+ArrowRight")
    wait_for_other(page, before)
    page.wait_for_function("() => window.heard > 0")
    assert page.evaluate("() => window.heard") < 10
    assert aloud.inner_text() != spoken


def test_without_a_calibration_the_page_says_what_is_missing(page, opened):
    estimator = AgeGenderEstimator()
    estimator.age_calibration = estimator.gender_calibration = None
    opened(shown=TryIt(PORTRAIT, estimator))
    lines = page.locator(".ssr-lines").inner_text()
    assert "not shown: these weights have no calibration" in lines


def test_the_page_fits_a_phone(page, opened, screenshot):
    page.set_viewport_size({"width": 380, "height": 800})
    opened("dark")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 380
    screenshot("try-it-phone-dark")


def test_it_works_in_lab_too(lab, page):
    written = nbformat.reads(notebooks.pages()["try-it.ipynb"], 4)
    lab("try-it", *(cell.source for cell in written.cells if cell.cell_type == "code"))
    page.wait_for_function("() => document.querySelector('.ssr-try .ssr-answer')?.dataset.age")
    page.get_by_role("button", name="Drawing 1").click()
    drawn, _ = synthetic.generate(1, seed=7)
    expected = float(AgeGenderEstimator().predict_faces(drawn).age[0])
    wait_for_age(page, expected)
    assert answer(page)["age"] == pytest.approx(expected, abs=2e-3)
