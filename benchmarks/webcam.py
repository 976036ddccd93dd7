"""How many frames a second does the webcam demo read, from the camera to the box on the screen?

    python -m benchmarks.webcam [--seconds 20]

JupyterLab, its kernel and headless Chromium run on this machine; a fake camera plays a slow zoom and pan
over a portrait, 640 x 480, one face. Read are the numbers that the demo itself shows. It needs Chromium,
as the browser tests do.
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

from ssrlib import detectors, results, weights
from testing.lab import Lab, open_browser, open_page, run_jupyter, write_video

RATE = r"(\d+) frames a second; (\d+) ms from frame to answer, (\d+) of them in Python"
CELL = "from ssrlib.widgets import WebcamDemo\ndemo = WebcamDemo()\ndemo"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20)
    seconds = parser.parse_args().seconds
    results.check_committed()
    with tempfile.TemporaryDirectory() as name, run_jupyter(Path(name)) as address:
        folder = Path(name)
        video = write_video(folder / "camera.mjpeg")
        with open_browser(video) as browser, open_page(browser) as page:
            lab = Lab(page, address, folder, "webcam", [CELL])
            lab.command("notebook:run-all-cells")
            page.get_by_role("button", name="Start", exact=True).click()
            page.wait_for_function("() => document.querySelector('.ssr-rate').textContent")
            shown = []
            for _ in range(seconds):
                time.sleep(1)
                (found,) = re.findall(RATE, page.locator(".ssr-rate").inner_text())
                shown.append([int(number) for number in found])
    rate, latency, python = (statistics.median(column) for column in zip(*shown, strict=True))
    measured = {
        "frames a second": rate,
        "milliseconds from frame to answer": latency,
        "milliseconds of them in Python": python,
    }
    for name, value in measured.items():
        print(f"{value:6.0f}  {name}")
    data = "a zoom and pan over scikit-image's astronaut, 640 x 480"
    results.record(
        "book/results/benchmark-webcam.json",
        measured,
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data=data,
    )


if __name__ == "__main__":
    main()
