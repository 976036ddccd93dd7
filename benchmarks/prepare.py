"""Preparation, side by side: the plain way and `ssrlib.prepare`, on the same 5,000 JPEGs, in turn.

The plain way is one process with `cv2.imread`, `cv2.resize`, a list and `np.savez`. Each way runs in
a process of its own, twice: on all photos and on a fifth of them. The difference of the two peaks of
memory, its own and that of its largest helper, is the growth with the number of photos.

    python -m benchmarks.prepare
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from ssrlib import results
from ssrlib.datasets import synthetic, utkface
from ssrlib.prepare import prepare

COUNT = 5000


def write_photos(folder: Path) -> None:
    """Drawn faces of 500 x 500 pixels with some texture, as JPEGs of about 35 kB."""
    rng = np.random.default_rng(0)
    jpegs = []
    for face in synthetic.generate(100)[0]:
        large = cv2.resize(face[..., ::-1], (500, 500), interpolation=cv2.INTER_CUBIC)
        large = np.clip(large + rng.normal(0, 2, large.shape), 0, 255).astype(np.uint8)
        jpegs.append(cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    for part, count in (("all", COUNT), ("fifth", COUNT // 5)):
        (folder / part).mkdir()
        for i in range(count):
            (folder / part / f"{i % 90}_{i % 2}_0_{i:06}.jpg").write_bytes(jpegs[i % len(jpegs)])


def plain(folder: Path, out: Path) -> None:
    photos = (cv2.imread(str(file)) for file in sorted(folder.iterdir()))
    faces = [cv2.resize(photo, (64, 64)) for photo in photos if photo is not None]
    np.savez(out, image=np.array(faces))


def ours(folder: Path, out: Path) -> None:
    prepare(*utkface.rows(folder), out, utkface.CROP)


def run_one(way: str, folder: str, out: str) -> None:
    start = time.perf_counter()
    {"plain": plain, "ours": ours}[way](Path(folder), Path(out))
    seconds = time.perf_counter() - start
    kilobytes = sum(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"seconds": seconds, "peak": kilobytes}))


def measure(way: str, folder: Path) -> dict[str, float]:
    results = {}
    for part in ("fifth", "all"):
        command = [sys.executable, __file__, way, str(folder / part), str(folder / f"{way}-{part}")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[part] = json.loads(done.stdout)
    growth = (results["all"]["peak"] - results["fifth"]["peak"]) / (0.8 * COUNT)
    return {"photos a second": COUNT / results["all"]["seconds"], "kB a photo": max(growth, 0.0)}


def main() -> None:
    results.check_committed()
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder))
        measured = {way: measure(way, Path(folder)) for way in ("plain", "ours")}
    for way, figure in measured.items():
        print(f"{way:6}", "   ".join(f"{value:8.1f} {name}" for name, value in figure.items()))
    speed = measured["ours"]["photos a second"] / measured["plain"]["photos a second"]
    memory = measured["ours"]["kB a photo"] / measured["plain"]["kB a photo"]
    print(f"ours is {speed:.1f} times as fast, with {memory:.2f} of the memory growth")
    ratios = {"times as fast": speed, "share of memory growth": memory}
    results.record("book/results/benchmark-prepare.json", measured | ratios, weights=(), photos=COUNT)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        run_one(*sys.argv[1:])
    else:
        main()
