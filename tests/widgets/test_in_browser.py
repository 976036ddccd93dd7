"""Every widget in real JupyterLab, in a real browser; and the explorer on a page of its own."""

import re
from contextlib import suppress

import nbformat
import numpy as np
import pytest
import torch
from playwright.sync_api import TimeoutError as NotYet
from skimage import data

from ssrlib import Recipe, face_crop, soft_stagewise_regression
from ssrlib.datasets import synthetic
from ssrlib.training import new_network
from ssrlib.widgets import Playground, StagewiseExplorer, TrainingMonitor
from ssrlib.widgets.base import INSTEAD
from testing.lab import in_background, open_saved
from tools.site import notebooks

RECIPE = Recipe(epochs=2, batch_size=64)
EXPLORER = """
from ssrlib.widgets import StagewiseExplorer
explorer = StagewiseExplorer()
explorer
"""


def shown(page) -> float:
    """The value that the explorer shows, with all its digits."""
    page.wait_for_function("() => document.querySelector('.ssr-answer')?.dataset.value")
    return float(page.locator(".ssr-answer").get_attribute("data-value"))


def package(p, eta, delta, value_range) -> float:
    p, eta = ([torch.tensor([row], dtype=torch.float32) for row in rows] for rows in (p, eta))
    delta = [torch.tensor([value], dtype=torch.float32) for value in delta]
    return soft_stagewise_regression(p, eta, delta, value_range).item()


def gains(p, eta, delta, value_range) -> list[float]:
    """What 0.1 more of each would add, by PyTorch's derivatives, in the order of the sliders."""
    p, eta = (
        [torch.tensor([row], dtype=torch.float64, requires_grad=True) for row in rows] for rows in (p, eta)
    )
    delta = [torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in delta]
    width, value = value_range, 0.0
    for weights, shifts, scale in zip(p, eta, delta, strict=True):
        width = width / (weights.shape[1] * (1 + scale))
        value = value + width * ((torch.arange(weights.shape[1]) + shifts) * weights).sum()
    value.backward()
    rows = []
    for weights, shifts, scale in zip(p, eta, delta, strict=True):
        pairs = torch.stack([weights.grad[0], shifts.grad[0]], dim=1)
        rows += [*(0.1 * pairs).flatten().tolist(), 0.1 * scale.grad.item()]
    return rows


def test_jupyterlab_opens_texts_as_texts_and_shows_no_news(page, jupyter):
    address, folder = jupyter
    (folder / "start.md").write_text("# Hello\n\n[chapter](one.ipynb)\n")
    page.goto(f"{address}lab/tree/start.md?reset")
    page.locator(".jp-MarkdownViewer h1", has_text="Hello").wait_for()
    asked = page.evaluate(
        """async () => {
            const name = "@jupyterlab/apputils-extension:notification";
            const { schema, settings } = await window.jupyterapp.serviceManager.settings.fetch(name);
            const { fetchNews, checkForUpdates } = schema.properties;
            return [fetchNews.default, checkForUpdates.default, settings];
        }"""
    )
    assert asked == ["false", False, {}]


def test_a_chapter_keeps_its_solutions_folded_and_its_citations_lead_on(page, jupyter):
    address, folder = jupyter
    written, name = notebooks.pages(), "04-soft-stagewise-regression.ipynb"
    chapter = nbformat.reads(written[name], 4)
    for cell in chapter.cells:
        if cell.cell_type == "code":
            cell |= {
                "source": "1",
                "outputs": [],
                "execution_count": None,
            }  # what it computes is no matter here
    nbformat.write(chapter, folder / name)
    (folder / "references.md").write_text(written["references.md"])
    page.goto(f"{address}lab/tree/{name}?reset")
    cells = "window.jupyterapp.shell.currentWidget.content.widgets"
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    solutions = sum(cell.source == "#### Solution" for cell in chapter.cells)
    page.wait_for_function(f"() => {cells}.filter((cell) => cell.isHidden).length > {solutions}")
    hidden = page.evaluate(f"{cells}.map((cell) => cell.isHidden)")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.wait_for_function(
        f"() => {cells}.every((cell) => cell.model.type !== 'code' || cell.model.executionCount)"
    )
    assert page.evaluate(f"{cells}.map((cell) => cell.isHidden)") == hidden
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.scrollToItem(0, 'start') }")
    assert not page.get_by_text("{cite").count()
    link = page.get_by_role("link", name="Yang et al., 2018").first
    references = page.locator(".jp-MarkdownViewer h1", has_text="Bibliography")
    # JupyterLab draws a link first, and finds out later what a click should open.
    for _ in range(40):
        if link.is_visible():
            link.click()
        with suppress(NotYet):
            references.wait_for(timeout=3000)
            break
    assert references.is_visible()


def test_explorer_in_lab_moves_python_and_is_moved_by_it(lab, page, screenshot):
    opened = lab("explorer", EXPLORER)
    assert shown(page) == pytest.approx(50.0)
    screenshot("explorer-lab-light")

    bar = page.get_by_role("slider", name="Stage 2, bin 2: weight p")
    bar.focus()
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    assert shown(page) == pytest.approx(46.0)
    moved = pytest.approx([46.0, 0, 0, 0.8], rel=1e-6)
    opened.wait_for("[explorer.age, *explorer.p[1]]", lambda values: values == moved)

    assert opened.run("setattr(explorer, 'delta', [0.25, 0]) or explorer.age") == pytest.approx(36.8)
    page.wait_for_function(
        "() => Math.abs(document.querySelector('.ssr-answer').dataset.value - 36.8) < 1e-9"
    )

    page.get_by_role("button", name="This face").click()
    page.wait_for_function("() => document.querySelectorAll('.ssr-controls fieldset').length === 3")
    values = opened.wait_for(
        "[explorer.age, explorer.p, explorer.eta, explorer.delta, explorer.value_range]",
        lambda values: len(values[3]) == 3,
    )
    page.wait_for_function(
        "age => Math.abs(document.querySelector('.ssr-answer').dataset.value - age) < 1e-4", arg=values[0]
    )
    assert values[0] == pytest.approx(package(*values[1:]), rel=1e-6)
    opened.dark()
    screenshot("explorer-lab-dark")


def test_saved_widgets_work_in_jupyterlab_before_any_cell_is_run(page, jupyter, tmp_path):
    open_saved(page, *jupyter, "saved-explorer", StagewiseExplorer().page())
    assert shown(page) == pytest.approx(50.0)
    page.get_by_role("slider", name="Stage 2, bin 2: weight p").press("ArrowDown")
    assert shown(page) == pytest.approx(49.6)

    open_saved(
        page, *jupyter, "saved-playground", Playground(lambda n: f"{2 * n} is twice {n}", n=[1, 2, 3]).page()
    )
    page.get_by_text("4 is twice 2").wait_for()
    page.get_by_role("slider", name="n").press("ArrowRight")
    page.get_by_text("6 is twice 3").wait_for()

    store = synthetic.store(240, seed=1, path=tmp_path / "drawn")
    monitor = TrainingMonitor(new_network(RECIPE), store, RECIPE)
    best = monitor.start().wait()["mae"].min()
    open_saved(page, *jupyter, "saved-monitor", monitor.page())
    page.get_by_text(f"best {best:.2f} years").wait_for()
    assert page.locator(".ssr-monitor circle").count() >= 2


def test_a_saved_widget_says_what_to_do_where_the_notebook_is_not_trusted(page, jupyter):
    saved = StagewiseExplorer().page()
    open_saved(page, *jupyter, "untrusted", saved, trusted=False)
    instead = page.get_by_text(INSTEAD)
    instead.wait_for()
    assert page.locator(".ssr-explorer").count() == 0
    open_saved(page, *jupyter, "trusted", saved)
    page.locator(".ssr-explorer").wait_for()
    assert instead.count() == 0


def test_two_views_of_one_explorer_show_the_same(lab, page):
    opened = lab("views", EXPLORER, "explorer")
    page.wait_for_function("() => document.querySelectorAll('.ssr-explorer').length === 2")
    page.get_by_role("button", name="This face").first.click()
    page.wait_for_function("() => document.querySelectorAll('.ssr-controls fieldset').length === 6")
    age = opened.wait_for("[explorer.age, len(explorer.p)]", lambda values: values[1] == 3)[0]
    page.wait_for_function(
        """age => [...document.querySelectorAll(".ssr-answer")]
            .every((answer) => Math.abs(answer.dataset.value - age) < 1e-4)""",
        arg=age,
    )
    opened.run("setattr(explorer, 'delta', [0.1, 0, 0]) or explorer.age")
    page.wait_for_function(
        """age => [...document.querySelectorAll(".ssr-answer")]
            .every((answer) => Math.abs(answer.dataset.value - age) > 1)""",
        arg=age,
    )


@pytest.fixture
def explorer_page(page, tmp_path):
    """The explorer's HTML form, from a file, with every request noted."""
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    path = tmp_path / "page.html"

    def open_page(theme: str = "light") -> list[str]:
        html = StagewiseExplorer().page()
        path.write_text(
            f"<!doctype html><html data-theme={theme}><meta charset=utf-8><body>{html}</body></html>"
        )
        page.goto(path.as_uri())
        return requests

    return open_page


def test_explorer_on_a_page_needs_no_kernel_and_no_network(page, explorer_page, screenshot):
    requests = explorer_page()
    assert shown(page) == pytest.approx(50.0)
    page.get_by_role("button", name="An untrained network").click()
    page.wait_for_function("() => document.querySelectorAll('.ssr-controls fieldset').length === 3")
    before = page.get_by_role("slider", name="Stage 1, bin 2: weight p").evaluate("slider => slider.value")
    page.get_by_role("slider", name="Stage 1, bin 2: weight p").press("PageUp")
    now = page.get_by_role("slider", name="Stage 1, bin 2: weight p").evaluate("slider => slider.value")
    assert float(now) == pytest.approx(float(before) + 0.1, abs=0.02)
    screenshot("explorer-page-light")
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_explorer_adds_up_as_the_package_does(page, explorer_page):
    explorer_page()
    shown(page)
    rng = np.random.default_rng(0)
    sliders = page.locator(".ssr-controls input")
    limits = sliders.evaluate_all("all => all.map((it) => [it.ariaLabel, Number(it.min), Number(it.max)])")
    for _ in range(30):
        moved = {name: float(np.float32(rng.uniform(low, high))) for name, low, high in limits}
        sliders.evaluate_all(
            """(all, values) => all.forEach((it, i) => {
                it.value = values[i];
                it.dispatchEvent(new Event("input"));
            })""",
            list(moved.values()),
        )
        p, eta = (
            [[moved[f"Stage {k}, bin {i}: {name}"] for i in range(3)] for k in (1, 2)]
            for name in ("weight p", "shift eta, in bin widths")
        )
        delta = [moved[f"Stage {k}: width scale delta"] for k in (1, 2)]
        # The package adds up in float32: its last digit is that of the largest term.
        terms = [90 / 3 / (1 + delta[0]), 90 / 9 / (1 + delta[0]) / (1 + delta[1])]
        size = sum(t * 3 * max(row) for t, row in zip(terms, p, strict=True))
        assert abs(shown(page) - package(p, eta, delta, 90.0)) <= 1e-6 * max(1.0, size)
        pulls = page.locator(".ssr-pull").evaluate_all("all => all.map((it) => Number(it.dataset.value))")
        assert pulls == pytest.approx(gains(p, eta, delta, 90.0), rel=1e-5, abs=1e-5)


def test_explorer_is_moved_by_dragging(page, explorer_page, screenshot):
    explorer_page("dark")
    shown(page)
    assert page.locator(".ssr-note").inner_text().startswith("Ages from 0 to 90.")
    bin_ = page.locator("[data-stage='1'] [data-bin='2'] .ssr-outline").bounding_box()
    x, y = bin_["x"] + bin_["width"] / 2, bin_["y"] + bin_["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + bin_["width"] / 2, y, steps=4)
    page.mouse.up()
    assert shown(page) == pytest.approx(55.0, abs=0.3)  # half a bin of 10 years further
    assert page.locator(".ssr-note").inner_text() == ""  # it is another example's no more
    grip = page.locator("[data-stage='0'] .ssr-grip").bounding_box()
    page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 20)
    page.mouse.down()
    page.mouse.move(grip["x"] - 200, grip["y"] + 20, steps=4)
    page.mouse.up()
    assert shown(page) < 45
    screenshot("explorer-page-dark")


WEBCAM = """
from ssrlib.widgets import WebcamDemo
demo = WebcamDemo()
demo
"""


def count_frames(page) -> dict:
    """Count the messages with a frame in them that go to the kernel, and the answers that come back."""
    counted = {"sent": 0, "answered": 0, "most": 0}

    def sent(payload):
        if isinstance(payload, bytes) and b'"kind":"frame"' in payload.replace(b" ", b""):
            counted["sent"] += 1
            counted["most"] = max(counted["most"], counted["sent"] - counted["answered"])

    def received(payload):
        if isinstance(payload, bytes) and b'"milliseconds"' in payload:
            counted["answered"] += 1

    def connected(socket):
        socket.on("framesent", sent)
        socket.on("framereceived", received)

    page.on("websocket", connected)
    return counted


def until(opened, condition) -> None:
    """Wait until a condition on what was counted holds; messages are counted only meanwhile."""
    for _ in range(300):
        if condition():
            return
        opened.run("0")
    raise AssertionError("it never came true")


def test_webcam_finds_the_face_keeps_its_rate_and_stops(lab, page, screenshot):
    counted = count_frames(page)
    opened = lab("webcam", WEBCAM)
    page.get_by_role("button", name="Start", exact=True).click()
    face = page.get_by_role("button", name=re.compile(r"^Face \d+: about \d+ years, between \d+ and \d+"))
    face.first.wait_for()
    page.wait_for_function(
        "() => /^\\d+ frames? a second/.test(document.querySelector('.ssr-rate').textContent)"
    )

    # Its box is about where the zoom and pan has the astronaut's face, seen in a mirror.
    place = page.locator(".ssr-face").first.evaluate("box => [box.style.left, box.style.top].map(parseFloat)")
    assert 40 < place[0] < 75
    assert 0 < place[1] < 50

    page.get_by_text("What the network sees").click()
    page.wait_for_function(
        """() => {
            const seen = document.querySelector(".ssr-seen").getContext("2d").getImageData(0, 0, 64, 64).data;
            return new Set(seen).size > 100 && document.querySelector(".ssr-details .ssr-stage");
        }"""
    )
    page.get_by_text("Write down what you try").click()
    for _ in range(20):
        if page.get_by_role("cell", name="as I am").count():
            break
        face.first.wait_for()  # the very frame that is written down may show none
        page.get_by_label("What you try").fill("as I am")
        page.keyboard.press("Enter")
    (note,) = opened.wait_for("demo.notes", len)
    assert note["what"] == "as I am"
    assert note["age_low"] < note["age"] < note["age_high"]
    screenshot("webcam-lab-light")
    opened.dark()
    screenshot("webcam-lab-dark")

    # Never more than two frames wait, also while Python is busy with another cell.
    opened.run("[__import__('time').sleep(1), 0][1]")
    until(opened, lambda: counted["answered"] > 20)
    assert counted["most"] <= 2

    page.evaluate(
        "() => { window.track = document.querySelector('.ssr video').srcObject.getVideoTracks()[0] }"
    )
    assert page.evaluate("() => window.track.readyState") == "live"
    page.get_by_role("button", name="Stop", exact=True).click()
    assert page.evaluate("() => window.track.readyState") == "ended"
    assert page.locator(".ssr-face").count() == 0


def test_two_webcam_demos_at_once_and_a_tab_in_the_background(lab, page):
    counted = count_frames(page)
    opened = lab("two", WEBCAM, WEBCAM)
    starts = page.get_by_role("button", name="Start", exact=True)
    page.wait_for_function("() => document.querySelectorAll('.ssr-webcam').length === 2")
    starts.nth(1).click()
    starts.first.click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.ssr-webcam')].every((demo) => demo.querySelector('.ssr-face'))"
    )
    assert counted["most"] <= 4

    with in_background(page):
        page.get_by_text("Paused while this tab is in the background.").first.wait_for()
        opened.run("0")  # by then, what was on its way has been answered
        before = counted["sent"]
        opened.run("[__import__('time').sleep(0.5), 0][1]")
        assert counted["sent"] == before
    until(opened, lambda: counted["sent"] > before)


def test_webcam_says_what_is_wrong_and_goes_on(lab, page, tmp_path):
    opened = lab("trouble", WEBCAM)
    page.wait_for_selector(".ssr-webcam")
    for error, text in {
        "NotFoundError": "No camera was found",
        "NotAllowedError": "The browser was told not to show the camera",
        "NotReadableError": "The camera is taken by another program",
    }.items():
        page.evaluate(
            """error => {
                window.ask ??= navigator.mediaDevices.getUserMedia;
                navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", error));
            }""",
            error,
        )
        page.get_by_role("button", name="Start", exact=True).click()
        page.get_by_text(text).wait_for()

    face_crop.write_photo(data.astronaut(), tmp_path / "photo.png")
    (tmp_path / "not.png").write_text("not an image")
    page.locator("input[type=file]").set_input_files(tmp_path / "not.png")
    page.get_by_text("cannot read this file as an image").wait_for()
    page.locator("input[type=file]").set_input_files(tmp_path / "photo.png")
    page.get_by_role("button", name=re.compile("^Face 1: about")).wait_for()

    page.evaluate("() => { navigator.mediaDevices.getUserMedia = window.ask }")
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }")
    page.get_by_text("The kernel has gone. Run this cell again.").wait_for()
    opened.command("notebook:run-all-cells")
    page.get_by_text("Press Start and look into the camera").wait_for()


MONITOR = """
import tempfile
from ssrlib import Recipe
from ssrlib.datasets import synthetic
from ssrlib.training import new_network
from ssrlib.widgets import TrainingMonitor

recipe = Recipe(epochs=1000, batch_size=32)  # far longer than the test looks on
store = synthetic.store(240, seed=1, path=tempfile.mkdtemp() + "/drawn")
monitor = TrainingMonitor(new_network(recipe), store, recipe)
monitor.start()
None
"""


def test_training_monitor_stops_and_goes_on(lab, page, screenshot):
    opened = lab("monitor", MONITOR)
    page.get_by_text(re.compile(r"faces a second")).wait_for()
    page.wait_for_function("() => document.querySelectorAll('.ssr-monitor circle').length >= 2")
    screenshot("monitor-lab-light")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopped, with a checkpoint.").wait_for()
    phase, step = opened.run("[monitor.state['phase'], monitor.state['step']]")
    assert phase == "stopped"
    assert len(opened.run("monitor.wait().to_dict('records')")) >= 2
    opened.dark()
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function("() => document.querySelector('.ssr-phase').textContent === 'Training'")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopped, with a checkpoint.").wait_for()
    assert opened.run("monitor.state['step']") > step
    screenshot("monitor-lab-dark")


def test_training_is_stopped_while_a_cell_waits_for_it(lab, page, screenshot):
    opened = lab("waiting", MONITOR, "history = monitor.wait()")
    page.wait_for_function("() => document.querySelectorAll('.ssr-monitor circle').length >= 2")
    # The kernel would stop too soon for a picture of that.
    page.evaluate(
        """() => {
            const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
            const interrupt = kernel.interrupt.bind(kernel);
            kernel.interrupt = () => { window.letGo = interrupt };
        }"""
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopping after this step").wait_for()
    screenshot("monitor-lab-stopping")
    page.evaluate("() => window.letGo()")
    page.get_by_text("Stopped, with a checkpoint.").wait_for()
    assert opened.run("len(history)") >= 2
