"""How many frames a second does the webcam demo read, from the camera to the box on the screen?

    python -m benchmarks.webcam [--seconds 20]

JupyterLab, its kernel and headless Chromium run on this machine; a fake camera, 640 x 480, plays a slow zoom
and pan over a portrait, and then five small copies of it that sway. Read are the numbers that the demo itself
shows, and how long the first box takes: from running the notebook in a kernel that has just started, with
Start pressed as soon as it is there. It needs Chromium, as the browser tests do.
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from ssrlib import detectors, results, weights
from testing.lab import Lab, open_browser, open_page, run_jupyter, write_video

SECONDS = 20
RATE = r"(\d+) frames? a second; (\d+) ms from frame to answer, (\d+) of them in Python"
CELL = "from ssrlib.widgets import WebcamDemo\ndemo = WebcamDemo()\ndemo"
NAMES = ("frames a second", "milliseconds from frame to answer", "milliseconds of them in Python")


def write_five(path: Path) -> Path:
    """Write five copies of a portrait that sway, 640 x 480, as `write_video` writes one that is near."""
    portrait = cv2.resize(cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR), (200, 200))
    with path.open("wb") as file:
        for turn in np.linspace(0, 2 * np.pi, 120, endpoint=False):
            frame = np.full((480, 640, 3), 90, np.uint8)
            left = round(10 + 8 * np.sin(turn))
            for number in range(5):
                x, y = left + 205 * (number % 3), 20 + 230 * (number // 3)
                frame[y : y + 200, x : x + 200] = portrait
            file.write(cv2.imencode(".jpg", frame)[1].tobytes())
    return path


def watched(folder: Path, address: str, video: Path, faces: int, seconds: int) -> dict[str, float]:
    """What the demo says of its speed, and the seconds until the first box."""
    with open_browser(video) as browser, open_page(browser) as page:
        lab = Lab(page, address, folder, video.stem, [CELL])
        began = time.perf_counter()
        lab.command("notebook:run-all-cells")
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_selector(".ssr-face")
        first = time.perf_counter() - began
        page.wait_for_function("count => document.querySelectorAll('.ssr-face').length == count", arg=faces)
        page.wait_for_function("() => document.querySelector('.ssr-rate').textContent")
        shown = []
        for _ in range(seconds):
            time.sleep(1)
            (found,) = re.findall(RATE, page.locator(".ssr-rate").inner_text())
            shown.append([int(number) for number in found])
    middle = (statistics.median(column) for column in zip(*shown, strict=True))
    return dict(zip(NAMES, middle, strict=True)) | {"seconds until the first box": round(first, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=SECONDS)
    seconds = parser.parse_args().seconds
    results.check_committed(trial=seconds < SECONDS)
    with tempfile.TemporaryDirectory() as name, run_jupyter(Path(name)) as address:
        folder = Path(name)
        measured = {
            "one face": watched(folder, address, write_video(folder / "one.mjpeg"), 1, seconds),
            "five faces": watched(folder, address, write_five(folder / "five.mjpeg"), 5, seconds),
        }
    for faces, values in measured.items():
        for name, value in values.items():
            print(f"{value:6.1f}  {name}, {faces}")
    results.record(
        "book/results/benchmark-webcam.json",
        measured,
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data="scikit-image's astronaut, 640 x 480: a zoom and pan; five small copies that sway",
    )


if __name__ == "__main__":
    main()
