"""How long do the networks take in a browser, in plain JavaScript? In book/results/benchmark-browser.json.

    python -m benchmarks.browser

Headless Chromium on one thread, beside ONNX Runtime on one thread: a face is read for its age, and NASA's
portrait of Eileen Collins, in two sizes, is searched for faces. The medians of 30 turns count, after five to
warm up.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import sync_playwright
from skimage import data

from ssrlib import detectors, face_crop, results, runtime, weights
from ssrlib.widgets.try_it import pack, pack_finder
from testing.lab import as_rgba, launch, open_modules, open_page

WARM_UP, TURNS = 5, 30
SIZES = ((320, 240), (640, 480))
TIMED = """([kind, packed, width, height, rgba, turns]) => {
    const data = Uint8ClampedArray.from(atob(rgba), (letter) => letter.charCodeAt(0));
    const known = kind === "read" ? unpack(packed) : unpackFinder(packed);
    const turn = () => kind === "read" ? forward(known, data) : findFaces(known, { data, width, height });
    return Array.from({ length: turns }, () => {
        const start = performance.now();
        turn();
        return performance.now() - start;
    });
}"""


def here(turn: Callable[[], object]) -> list[float]:
    """How many milliseconds each turn takes."""
    took = []
    for _ in range(WARM_UP + TURNS):
        start = time.perf_counter()
        turn()
        took.append(1000 * (time.perf_counter() - start))
    return took


def median(took: list[float]) -> float:
    return round(statistics.median(took[WARM_UP:]), 2)


def main() -> None:
    results.check_committed()
    cv2.setNumThreads(1)
    portrait = data.astronaut()
    age = weights.pretrained("age")
    face = face_crop.crop_face(portrait, detectors.find(portrait)[0])
    read = runtime.open_onnx(age.with_suffix(".onnx")).read
    jobs: list[tuple[str, list[Any], Callable[[], object]]] = [
        (
            "a face, read once",
            ["read", pack(weights.load(age)), 64, 64, as_rgba(face)],
            partial(read, face[None]),
        )
    ]
    for width, height in SIZES:
        frame = cv2.resize(portrait[:384], (width, height), interpolation=cv2.INTER_AREA)
        asked = ["find", pack_finder(), width, height, as_rgba(frame)]
        jobs.append((f"a search of {width} x {height}", asked, partial(detectors.find, frame)))
    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = launch(playwright.chromium)
        with open_page(browser) as page:
            open_modules(page, Path(folder))
            for what, asked, turn in jobs:
                row = {
                    "what": what,
                    "JavaScript": median(page.evaluate(TIMED, [*asked, WARM_UP + TURNS])),
                    "ONNX Runtime": median(here(turn)),
                }
                rows.append(row)
                print(row, flush=True)
        version = browser.version
        browser.close()
    results.record(
        "book/results/benchmark-browser.json",
        rows,
        weights=[age],
        finder=detectors.finder_sha256(),
        unit="milliseconds",
        browser=f"Chromium {version}",
    )


if __name__ == "__main__":
    main()
