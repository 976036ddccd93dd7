"""How long do six photos take from a cold start? In book/results/benchmark-cold.json.

    python -m benchmarks.cold

`python -m ssrlib predict` in a process of its own, as somebody starts it in a shell: with ONNX Runtime, and
without PyTorch. The median of five starts counts, after one that fills the system's cache.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from skimage import data

from ssrlib import detectors, face_crop, results, weights

PHOTOS, STARTS = 6, 5


def main() -> None:
    results.check_committed()
    took = []
    with tempfile.TemporaryDirectory() as name:
        photos = [Path(name) / f"{number}.jpg" for number in range(PHOTOS)]
        for photo in photos:
            face_crop.write_photo(data.astronaut(), photo)
        for _ in range(1 + STARTS):
            began = time.perf_counter()
            command = [sys.executable, "-m", "ssrlib", "predict", *map(str, photos)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
    seconds = statistics.median(took[1:])
    print(f"{seconds:.1f} s for {PHOTOS} photos")
    results.record(
        "book/results/benchmark-cold.json",
        {"photos": PHOTOS, "seconds": seconds, "all starts": took},
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data="scikit-image's astronaut, 512 x 512",
    )


if __name__ == "__main__":
    main()
