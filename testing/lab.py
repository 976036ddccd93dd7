"""A real browser, a real JupyterLab, and a camera that plays a video of a portrait that anyone may use."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import cv2
import nbformat
import numpy as np
from skimage import data

SETTINGS = Path(__file__).resolve().parents[1] / "tools" / "site" / "lab"  # as `make lab` has them
CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Without it, JupyterLab asks which kernel it should start.
PYTHON = {"name": "python3", "display_name": "Python 3", "language": "python"}
# A machine may be slow and busy. Nothing here waits for a fixed time, only for things to happen.
PATIENCE = 180_000


def as_rgba(face: np.ndarray) -> str:
    """Return a face as a canvas has it, four bytes a pixel, in base64."""
    return base64.b64encode(cv2.cvtColor(face, cv2.COLOR_RGB2RGBA).tobytes()).decode()


def write_video(path: Path) -> Path:
    """Write a slow zoom and pan over a portrait, 640 x 480: what the fake camera plays, again and again."""
    portrait = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    with path.open("wb") as file:
        for turn in np.linspace(0, 2 * np.pi, 240, endpoint=False):
            width = 360 + 40 * np.cos(turn)
            left, top = 50 + 30 * np.sin(turn), 8 + 8 * np.cos(2 * turn)
            scale = 640 / width
            matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
            file.write(cv2.imencode(".jpg", cv2.warpAffine(portrait, matrix, (640, 480)))[1].tobytes())
    return path


def write_portrait(path: Path, rate: int, frames: int) -> Path:
    """Write a video that shows one portrait, `rate` frames a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (512, 512))
    for _ in range(frames):
        writer.write(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@contextmanager
def open_browser(camera_file: Path):
    """Start Chromium, with a file for a camera."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright.chromium, f"--use-file-for-fake-video-capture={camera_file}")
        yield browser
        browser.close()


def launch(chromium, *options: str, cameras: int = 1):
    """Start Chromium with fake cameras, which show a test picture; but a file, given as an option, is one."""
    fake = [f"--use-fake-device-for-media-stream=device-count={cameras}", "--use-fake-ui-for-media-stream"]
    return chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *fake, *options])


@contextmanager
def open_page(browser):
    context = browser.new_context(viewport={"width": 1100, "height": 1400})
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def open_modules(page, folder: Path) -> None:
    """Open a page whose scripts can call what the widgets' modules compute with."""
    from ssrlib.widgets.base import module

    names = (
        "{ forward, unpack, softStagewiseRegression, ageInterval, probability, likelierGender, "
        "mirrorImage, AGES, FACE, warp, similarity, findFaces, isSure, lookAgain, boxOf, unpackFinder, "
        "viewBy, shareOutside, straightened }"
    )
    modules = module("network.js", "calibration.js", "face.js", "finder.js")
    script = f"{modules}\nObject.assign(globalThis, {names});"
    path = folder / "modules.html"
    path.write_text(f'<!doctype html><meta charset=utf-8><script type="module">{script}</script>')
    page.goto(path.as_uri())
    page.wait_for_function("() => globalThis.FACE")


@contextmanager
def run_jupyter(folder: Path):
    """Start JupyterLab in a folder, with settings of its own, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",  # or another server would be asked whether this one is up
        "--IdentityProvider.token=",
    ]
    options += [f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True"]
    options.append(f"--LabApp.app_settings_dir={SETTINGS}")
    own = {
        name: str(folder / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    log = folder / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | own)
    try:
        address = f"http://127.0.0.1:{port}/"
        _wait_until_up(server, address, log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        finally:
            server.kill()


def _wait_until_up(server: subprocess.Popen, address: str, log: Path) -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}api/status", timeout=60):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


def until_idle(page) -> None:
    """Wait until the kernel of the open notebook has started; one that is only starting cannot be ended."""
    page.wait_for_function(
        """() => {
            const open = window.jupyterapp?.shell.currentWidget;
            return open?.sessionContext?.session?.kernel?.status === "idle";
        }"""
    )


def open_saved(page, address: str, folder: Path, name: str, html: str, trusted: bool = True) -> None:
    """Open a notebook in JupyterLab whose one output is a widget's page form, and run nothing."""
    cell = nbformat.v4.new_code_cell("0")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": PYTHON}), path)
    if trusted:
        trust = [sys.executable, "-m", "jupyter", "trust", str(path)]
        own = {"JUPYTER_DATA_DIR": str(folder / "JUPYTER_DATA_DIR")}
        subprocess.run(trust, check=True, env=os.environ | own)
    page.goto(f"{address}lab/tree/{path.name}?reset")
    until_idle(page)


@contextmanager
def in_background(page):
    """Let a page find its tab in the background, as if another one were in front of it."""
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { value: true, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    try:
        yield
    finally:
        page.evaluate(
            "() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')) }"
        )


class Lab:
    """One notebook, open in JupyterLab: run its cells, change them, read what they printed."""

    def __init__(self, page, address: str, folder: Path, name: str, cells: list[str]):
        self.page = page
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = PYTHON
        nbformat.write(notebook, folder / f"{name}.ipynb")
        page.goto(f"{address}lab/tree/{name}.ipynb?reset")
        until_idle(page)

    def command(self, name: str) -> None:
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name) }", name)

    def run(self, code: str):
        """Run code as the last cell, and return what it printed as JSON."""
        self.page.evaluate(
            """code => {
                const { content } = window.jupyterapp.shell.currentWidget;
                const last = content.widgets.length - 1;
                content.activeCellIndex = last;
                content.widgets[last].model.sharedModel.setSource(code);
                content.widgets[last].model.outputs.clear();
                window.jupyterapp.commands.execute("notebook:run-cell");
            }""",
            f"import json\nprint('\\u2192' + json.dumps({code}))",
        )
        printed = self.page.wait_for_function(
            """() => {
                const { content } = window.jupyterapp.shell.currentWidget;
                const outputs = content.widgets.at(-1).model.outputs.toJSON();
                const error = outputs.find((output) => output.output_type === "error");
                if (error) return "error: " + error.evalue;
                const text = outputs.map((output) => [output.text].flat().join("")).join("");
                return text.includes("\\u2192") && text.endsWith("\\n") ? text : false;
            }"""
        ).json_value()
        assert not printed.startswith("error"), printed
        return json.loads(printed.split("\u2192")[1])

    def wait_for(self, code: str, holds):
        """Run code until what it gives holds: a widget's message may still be on its way to the kernel."""
        for _ in range(100):
            value = self.run(code)
            if holds(value):
                return value
        raise AssertionError(f"{code} stayed {value}")

    def dark(self) -> None:
        self.page.evaluate(
            """() => {
                window.jupyterapp.commands.execute("apputils:change-theme", { theme: "JupyterLab Dark" });
            }"""
        )
        self.page.wait_for_selector("[data-jp-theme-light=false]", state="attached")
