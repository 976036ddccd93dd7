"""Firefox has a compiler of its own: the networks must give the package's answers there, too."""

import json
import os
import queue
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from skimage import data

from ssrlib import AgeGenderEstimator, detectors
from ssrlib.datasets import synthetic
from ssrlib.inference import predict
from ssrlib.widgets import TryIt
from ssrlib.widgets.base import module
from ssrlib.widgets.try_it import pack, pack_finder
from testing.firefox import FIREFOX
from testing.lab import as_rgba

LOADS = 8
SETTINGS = """
user_pref("app.update.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("toolkit.telemetry.enabled", false);
"""
TRY_IT = """<!doctype html><meta charset="utf-8"><body>%s<script>
const asking = setInterval(() => {
  const age = document.querySelector(".ssr-try .ssr-answer")?.dataset.age;
  if (!age) return;
  clearInterval(asking);
  fetch("/", { method: "POST", body: age });
}, 50);
</script>"""
# It tells its answers and loads itself again, until Firefox is closed.
PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
%s
const network = unpack(%s);
const values = %s.map((face) => {
  return forward(network, Uint8ClampedArray.from(atob(face), (letter) => letter.charCodeAt(0))).value;
});
await fetch("/", { method: "POST", body: JSON.stringify(values) });
location.reload();
</script>"""
FIND = """<!doctype html><meta charset="utf-8"><script type="module">
%s
const finder = unpackFinder(%s);
const [rgba, width, height] = %s;
const data = Uint8ClampedArray.from(atob(rgba), (letter) => letter.charCodeAt(0));
const search = () => findFaces(finder, { data, width, height }).map(({ points }) => points);
await fetch("/", { method: "POST", body: JSON.stringify(Array.from({ length: 6 }, search)) });
location.reload();
</script>"""


pytestmark = pytest.mark.skipif(not FIREFOX, reason="Firefox is not installed here")


@pytest.fixture
def answers_in_firefox(tmp_path):
    """Return a function that opens a page in Firefox, and returns what it tells in its first loads."""
    told = queue.Queue()
    pages = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pages[0].encode())

        def do_POST(self):
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    (tmp_path / "user.js").write_text(SETTINGS)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        command = [FIREFOX, "--headless", "--no-remote", "--profile", tmp_path, address]

        def answers(page, loads):
            pages.append(page)
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            # As root, it refuses a home that is somebody else's.
            with subprocess.Popen(command, env=os.environ | {"HOME": str(tmp_path)}, **quiet) as firefox:
                try:
                    return [told.get(timeout=120) for _ in range(loads)]
                finally:
                    firefox.terminate()

        yield answers
        server.shutdown()


def test_a_page_that_was_just_opened_computes_what_pytorch_does(age_network, answers_in_firefox):
    # Its compiler once broke the sums of a page's first faces, in three loads of four.
    faces, _ = synthetic.generate(3, seed=5)
    seen = json.dumps([as_rgba(face) for face in faces])
    page = PAGE % (module("network.js"), json.dumps(pack(age_network)), seen)
    expected = predict(age_network, faces)
    for values in answers_in_firefox(page, LOADS):
        np.testing.assert_allclose(values, expected, atol=1e-2)


def test_a_page_that_was_just_opened_finds_what_python_does(answers_in_firefox):
    picture = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    (box,) = detectors.find(picture)
    sent = json.dumps([as_rgba(picture), 256, 256])
    page = FIND % (module("network.js", "face.js", "finder.js"), json.dumps(pack_finder()), sent)
    for searches in answers_in_firefox(page, LOADS):
        np.testing.assert_allclose(searches, [[box.landmarks]] * len(searches), atol=0.1)


def test_the_whole_page_finds_straightens_and_reads_a_face_there_too(answers_in_firefox):
    (age,) = answers_in_firefox(TRY_IT % TryIt(data.astronaut()).page(), loads=1)
    (reading,) = AgeGenderEstimator().predict(data.astronaut())
    assert age == pytest.approx(reading.age, abs=0.5)  # JavaScript shrinks a photo in another way
