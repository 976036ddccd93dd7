"""How well do the detectors find faces as people photograph them? In book/results/photos.json.

    python -m benchmarks.photos DATA [--each 300] [--pictures FOLDER] [--peer NAME=PYTHON]

Whole photos of All-Age-Faces and APPA-REAL that no network of ours has learned from are turned, scaled and
pasted on photos of things, 640 x 480. (APPA-REAL's points were found by MTCNN, and faces without points are
left out: that peer is flattered.) Counted is who is found by size and by tilt, what is taken for a face in
pictures without one, how far the turn and the points are off, and the time for a frame on one thread, every
detector's measured in turn. A folder of `python -m tools.weights.pictures FOLDER --for judging` adds pictures
without a face from elsewhere, by which nothing was chosen. What a tilt does to an age: benchmarks/tilts.py.
YuNet joins where its file is at `detectors.YUNET`; mediapipe and facenet-pytorch, which need older packages,
where the Python of an environment is named that has them (`pip install mediapipe==0.10.14 "numpy<2"`, or
facenet-pytorch==2.6.0).
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from skimage import data as pictures_of

from ssrlib import detectors, results
from ssrlib.detectors import Box
from ssrlib.landmarks import square
from ssrlib.scenes import Portrait, paste
from tools.weights.finder import Photos, pictures_in, rows_of

WIDTH, HEIGHT = 640, 480
THINGS = [
    *("brick", "cat", "coffee", "grass", "gravel", "page", "retina", "rocket"),
    *("cell", "clock", "hubble_deep_field", "immunohistochemistry", "moon", "horse", "text"),
]
# What is asked: a name, the sides of the faces in pixels, and the tilts in degrees.
QUESTIONS: list[tuple[str, tuple[float, float], tuple[float, float]]] = [
    ("60 px and more, upright", (60, 240), (0, 0)),
    ("60 px and more, 15 degrees", (60, 240), (15, 15)),
    ("60 px and more, 30 degrees", (60, 240), (30, 30)),
    ("60 px and more, 45 degrees", (60, 240), (45, 45)),
    ("24 px, up to 15 degrees", (24, 24), (-15, 15)),
    ("40 px, up to 15 degrees", (40, 40), (-15, 15)),
]
DATA = "All-Age-Faces and APPA-REAL, test splits, on scikit-image's photos without people"
EACH, PARTS = 300, 10


def things() -> list[np.ndarray]:
    """Return scikit-image's photos without people, and without the coins, which show heads: uint8, RGB."""
    found = []
    for name in THINGS:
        picture = np.asarray(getattr(pictures_of, name)())
        picture = (picture * 255).astype(np.uint8) if picture.dtype == bool else picture
        found.append(picture[..., :3] if picture.ndim == 3 else np.stack([picture] * 3, -1))
    return found


def part_of(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Return a part of a picture, at some scale, as 640 x 480."""
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height) * float(np.exp(rng.uniform(0, np.log(3))))
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y = rng.integers(0, large.shape[1] - WIDTH + 1), rng.integers(0, large.shape[0] - HEIGHT + 1)
    return large[y : y + HEIGHT, x : x + WIDTH].copy()


def scene(
    rng: np.random.Generator, portrait: Portrait, behind: np.ndarray, side: float, tilt: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame with one pasted photo, and its face's points. The face is in the frame as a whole."""
    frame = part_of(rng, behind)
    _, _, own = square(portrait.points)
    room = 0.75 * side
    center = [rng.uniform(room, length - room) for length in (WIDTH, HEIGHT)]
    # A head tilts from where it was: its own small tilt stays.
    points, _ = paste(frame, portrait, center, side, float(own + tilt))
    return frame, points


def hit(box: Box, points: np.ndarray) -> bool:
    """Whether a box is about where a face is: its middle in the middle half, its size within a factor 2."""
    center, side, _ = square(points)
    away = np.abs(np.array([box.x + box.width / 2, box.y + box.height / 2]) - center).max()
    return bool(away < side / 4 and side / 2 < box.width < 2 * side)


def peer(name: str, python: str) -> Callable[[np.ndarray], list[Box]]:
    """Return what finds faces with another package, in a process of its own."""
    script = Path(__file__).with_name("peers.py")
    command = [str(Path(python).absolute()), str(script), name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert process.stdin
    assert process.stdout
    frames, answers = process.stdin, process.stdout

    def find(frame: np.ndarray) -> list[Box]:
        frames.write(frame.tobytes())
        frames.flush()
        found = json.loads(answers.readline())
        return [
            Box(x, y, width, height, points and tuple(map(tuple, points)))
            for x, y, width, height, points in found
        ]

    return find


def recall(ways: dict[str, Any], portraits: list[Portrait], each: int) -> list[dict[str, Any]]:
    """One row a question: the share found by each detector, and how exact its points are."""
    behind, rows = things(), []
    for number, (name, sides, tilts) in enumerate(QUESTIONS):
        rng = np.random.default_rng(number)
        row: dict[str, Any] = {"faces": name, "count": each}
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for i in range(each):
            portrait = portraits[int(rng.integers(len(portraits)))]
            side = float(np.exp(rng.uniform(*np.log(sides))))
            tilt = float(rng.uniform(*tilts)) * rng.choice([-1, 1])
            frame, points = scene(rng, portrait, behind[i % len(behind)], side, tilt)
            for way, find in ways.items():
                hits = [box for box in find(frame) if hit(box, points)]
                found[way] += [_apart(box, points) for box in hits[:1]]
        for way, away in found.items():
            row[f"{way}: found"] = len(away) / each
            rolls, marks = np.array(away or [(np.nan, np.nan)]).T
            if np.isfinite(rolls).any():
                row[f"{way}: roll off, degrees"] = float(np.nanmean(rolls))
                row[f"{way}: points off, eye distances"] = float(np.nanmean(marks))
        rows.append(row)
    return rows


def _apart(box: Box, points: np.ndarray) -> tuple[float, float]:
    """How far a find's turn (degrees) and points (eye distances) are off; not a number without points."""
    if box.landmarks is None:
        return np.nan, np.nan
    seen = np.array(box.landmarks)
    turn = abs(float(square(seen)[2] - square(points)[2]))
    eyes = np.linalg.norm(points[1] - points[0])
    return min(turn, 360 - turn), float(np.linalg.norm(seen - points, axis=1).mean() / eyes)


def false_finds(ways: dict[str, Any], of: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """One row: how many faces are found in 100 parts of pictures without one. The finder doubts some."""
    rng = np.random.default_rng(99)
    frames = [part_of(rng, picture) for picture in pictures for _ in range(PARTS)]
    found = {way: [box for frame in frames for box in find(frame)] for way, find in ways.items()}
    sure = [box for box in found["finder"] if (box.score or 0) >= detectors.SURE]
    found["finder, when it is sure"] = sure
    counts = {f"{way}: in 100": 100 * len(boxes) / len(frames) for way, boxes in found.items()}
    return {"parts of": of, "pictures": len(pictures), "count": len(frames), **counts}


def milliseconds(ways: dict[str, Any], portraits: list[Portrait]) -> dict[str, float]:
    """The shortest of several searches of a frame with one face, the detectors taking turns."""
    rng = np.random.default_rng(7)
    frame, _ = scene(rng, portraits[0], things()[2], 120, 0)
    best = dict.fromkeys(ways, np.inf)
    for _ in range(7):
        for way, find in ways.items():
            began = time.perf_counter()
            find(frame)
            best[way] = min(best[way], 1000 * (time.perf_counter() - began))
    return best


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """What the command line may ask for."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    parser.add_argument("--each", type=int, default=EACH, help="frames a question")
    parser.add_argument("--peer", action="append", default=[], help="NAME=PYTHON, see benchmarks/photos.py")
    return parser


def setting(arguments: argparse.Namespace) -> tuple[dict[str, Any], pd.DataFrame, list[Portrait]]:
    """The detectors, and the rows and photos of people."""
    cv2.setNumThreads(1)
    ways = {}
    for name, detector in detectors.DETECTORS.items():
        with suppress(FileNotFoundError):
            detector.check()
            ways[name] = detector.search
    ways |= {name: peer(name, python) for name, _, python in (word.partition("=") for word in arguments.peer)}
    rows = rows_of(arguments.data, ("test",))
    rows = rows[rows["source"] != "utkface"].sample(2 * arguments.each, random_state=0)
    photos = Photos(rows)
    return ways, rows, [photos[number] for number in range(len(photos))]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--pictures", type=Path, help="a folder of more pictures without a face")
    arguments = parser.parse_args()
    results.check_committed(trial=arguments.each < EACH)
    ways, rows, portraits = setting(arguments)
    print(f"one thread, {len(rows)} photos")
    times = milliseconds(ways, portraits)  # first: only these ask for a machine that rests
    found = recall(ways, portraits, arguments.each)
    empty = [false_finds(ways, "scikit-image's pictures", things())]
    if arguments.pictures:
        empty.append(false_finds(ways, "wallpapers", pictures_in(arguments.pictures)))
    for table in (found, empty, [times | {"what": "ms"}]):
        print(pd.DataFrame(table).round(3).to_string(index=False), "\n")
    measured = {"found": found, "false finds": empty, "milliseconds": times}
    finder = detectors.finder_sha256()
    results.record("book/results/photos.json", measured, weights=(), finder=finder, data=DATA, seed=0)


if __name__ == "__main__":
    main()
