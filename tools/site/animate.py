"""Film the webcam demo for the top of the README: python -m tools.site.animate

The demo runs in JupyterLab, in headless Chromium, with the built-in weights. Its camera shows a slow zoom and
pan over NASA's portrait of Eileen Collins, which is in the public domain. The film is made picture by
picture: each waits for the demo's answer to it, so the film looks the same from a busy machine. It does
not show how fast the demo is; benchmarks/webcam.py measures that.

It goes to book/images/demo.webp, and what it was made with to book/results/film.json. It needs Chromium, as
the browser tests do. Run it again when the weights change.
"""

import base64
import hashlib
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import cv2
from PIL import Image

from ssrlib import detectors, results, weights
from testing.lab import CHROMIUM, Lab, open_browser, open_page, run_jupyter, write_video

CELL = "from ssrlib.widgets import WebcamDemo\ndemo = WebcamDemo()\ndemo"
PATH = Path("book/images/demo.webp")
WIDTH = 640
EVERY, RATE = 3, 10  # of the video's 30 pictures a second
MOST_BYTES = 1_500_000

# A camera that shows a picture when it is told to, and a clock that goes on by a picture's time.
CAMERA = """() => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
    canvas.getContext("2d").fillRect(0, 0, 640, 480);
    const stream = canvas.captureStream(0);
    navigator.mediaDevices.getUserMedia = async () => stream;
    window.clock = performance.now();
    performance.now = () => window.clock;
    window.draw = async (jpeg, milliseconds) => {
        const image = Object.assign(new Image(), { src: jpeg });
        await image.decode();
        canvas.getContext("2d").drawImage(image, 0, 0);
        window.clock += milliseconds;
        const answered = new Promise((resolve) => {
            const observer = new MutationObserver(() => { observer.disconnect(); resolve() });
            observer.observe(document.querySelector(".ssr-boxes"), { childList: true, subtree: true });
        });
        // Before the demo is sure of a face, an answer changes nothing that one could wait for.
        const patience = document.querySelector(".ssr-face") ? 60_000 : 3_000;
        stream.getVideoTracks()[0].requestFrame();
        await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, patience))]);
    };
}"""


def main() -> None:
    results.check_committed()
    if not CHROMIUM.is_file():
        sys.exit("error: filming needs Chromium: sudo apt-get install chromium")
    with tempfile.TemporaryDirectory() as name, run_jupyter(Path(name)) as address:
        folder = Path(name)
        video = write_video(folder / "camera.mjpeg")
        with open_browser(video) as browser, open_page(browser) as page:
            page.set_viewport_size({"width": 1300, "height": 1000})
            page.emulate_media(reduced_motion="reduce")
            Lab(page, address, folder, "webcam", [CELL]).command("notebook:run-all-cells")
            page.wait_for_selector(".ssr-webcam")
            page.add_style_tag(content=f".ssr-webcam {{ width: {WIDTH}px }} .ssr-rate {{ display: none }}")
            page.evaluate(CAMERA)
            page.get_by_role("button", name="Start", exact=True).click()
            page.get_by_role("button", name="Stop", exact=True).wait_for()
            shots = film(page, pictures(video))
    write(shots, PATH)
    print(f"{PATH}: {len(shots)} pictures of {shots[0].size}, {PATH.stat().st_size / 1e6:.2f} MB")
    measured = {"pictures": len(shots), "sha256": hashlib.sha256(PATH.read_bytes()).hexdigest()}
    data = "a zoom and pan over scikit-image's astronaut, 640 x 480"
    finder = detectors.finder_sha256()
    results.record("book/results/film.json", measured, weights=weights.built_in(), finder=finder, data=data)


def pictures(video: Path) -> list[str]:
    """Return every few pictures of a video, as JPEGs that a page can show."""
    capture, found = cv2.VideoCapture(str(video)), []
    while (frame := capture.read())[0]:
        jpeg = base64.b64encode(cv2.imencode(".jpg", frame[1])[1].tobytes()).decode()
        found.append(f"data:image/jpeg;base64,{jpeg}")
    return found[::EVERY]


def film(page, pictures: list[str]) -> list[Image.Image]:
    """Return what the demo looks like for each picture; the video goes round, so the last ones lead in."""
    for picture in pictures[-RATE:]:
        page.evaluate("([jpeg, time]) => draw(jpeg, time)", [picture, 1000 / RATE])
    shots = []
    for picture in pictures:
        page.evaluate("([jpeg, time]) => draw(jpeg, time)", [picture, 1000 / RATE])
        shot = page.locator(".ssr-webcam").screenshot()
        shots.append(Image.open(BytesIO(shot)).convert("RGB"))
    return shots


def write(shots: list[Image.Image], path: Path) -> None:
    """Write an animated WebP that is small enough, at the best quality that allows it."""
    for quality in (75, 60, 45, 30):
        shots[0].save(
            path, save_all=True, append_images=shots[1:], duration=1000 // RATE, loop=0, quality=quality
        )
        if path.stat().st_size < MOST_BYTES:
            return
    raise RuntimeError(f"{path}: larger than {MOST_BYTES} bytes even at the lowest quality")


if __name__ == "__main__":
    main()
