"""How well does the webcam demo follow a face? In book/results/following.json.

    python -m benchmarks.following DATA [--each 60] [--split test]

What the demo does with a frame, without browser and camera. Whole photos of All-Age-Faces and APPA-REAL, one
person each, are pasted on photos of things, 640 x 480, and move a little; a clip has 30 frames, 15 a second.
Counted are the frames in which the demo shows a face where it is, from the second one on, as no face is shown
sooner, and how many people it takes one person for. A still face in a camera's noise is watched for half a
minute: how much its age swings, and how often the numbers in its label change.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.photos import DATA, HEIGHT, WIDTH, hit, part_of, things
from ssrlib import AgeGenderEstimator, detectors, results, weights
from ssrlib.landmarks import square
from ssrlib.scenes import Portrait, paste
from ssrlib.tracking import Following
from tools.weights.finder import Photos, rows_of

RATE, FRAMES, WATCHED = 15, 30, 30
EACH = 60
STILL = 10  # people
NOISE = 6.0  # its standard deviation, which is assumed, as in chapter 16
# A name, the sides of the faces in pixels, the tilt in degrees at each time in seconds, and the light.
CLIPS: list[tuple[str, tuple[float, float], Callable[[float], float], float]] = [
    ("upright", (60, 240), lambda t: 0, 1.0),
    ("tilted by 30 degrees", (60, 240), lambda t: 30, 1.0),
    ("tilted by 45 degrees", (60, 240), lambda t: 45, 1.0),
    ("swaying by 30 degrees to and fro", (60, 240), lambda t: 30 * np.sin(np.pi * t), 1.0),
    ("35 pixels wide", (35, 35), lambda t: 0, 1.0),
    ("at 0.12 of the light", (60, 240), lambda t: 0, 0.12),
]


def clip(
    rng: np.random.Generator,
    portrait: Portrait,
    behind: np.ndarray,
    sides: tuple[float, float],
    tilt: Callable[[float], float],
    light: float,
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Yield each frame's time in seconds, its pixels, and where its face's points are."""
    scene, side = part_of(rng, behind), float(np.exp(rng.uniform(*np.log(sides))))
    room = 0.75 * side + 10
    start = np.array([rng.uniform(room, length - room) for length in (WIDTH, HEIGHT)])
    _, _, own = square(portrait.points)
    for number in range(FRAMES):
        now, frame = number / RATE, scene.copy()
        center = start + 8 * np.array([np.sin(2 * now), np.cos(3 * now)])
        points, _ = paste(frame, portrait, center.tolist(), side, float(own) + tilt(now))
        yield now, _taken(rng, frame, light), points


def _taken(rng: np.random.Generator, frame: np.ndarray, light: float, noise: float = 2.0) -> np.ndarray:
    """A frame as a camera takes it in some light: with noise of its own."""
    return (light * frame + rng.normal(0, noise, frame.shape)).round().clip(0, 255).astype(np.uint8)


def followed(estimator: AgeGenderEstimator, frames: Any) -> tuple[float, int]:
    """The share of a clip's frames in which its face is shown where it is, and how many people that were."""
    following, seen, people = Following(), [], set()
    for now, frame, points in frames:
        tracks = following.follow(frame, now, estimator)
        right = [track for track in tracks if hit(track.latest.box, points)]
        seen.append(bool(right))
        people |= {track.number for track in right}
    return float(np.mean(seen[1:])), len(people)


def shares(estimator: AgeGenderEstimator, portraits: list[Portrait]) -> list[dict[str, Any]]:
    """One row per kind of clip."""
    behind, rows = things(), []
    for number, (name, sides, tilt, light) in enumerate(CLIPS):
        rng = np.random.default_rng(number)
        found = [
            followed(estimator, clip(rng, portrait, behind[i % len(behind)], sides, tilt, light))
            for i, portrait in enumerate(portraits)
        ]
        seen, people = (np.array(part) for part in zip(*found, strict=True))
        rows.append(
            {
                "clips": name,
                "count": len(found),
                "frames with the face": float(seen.mean()),
                "clips with one person": float((people == 1).mean()),
                "most people": int(people.max()),
            }
        )
    return rows


def calm(estimator: AgeGenderEstimator, portraits: list[Portrait]) -> list[dict[str, float]]:
    """One row per still face: how its numbers change once it has been seen for two seconds."""
    rows = []
    for number, portrait in enumerate(portraits):
        rng = np.random.default_rng(number)
        still = part_of(rng, things()[number])
        _, _, own = square(portrait.points)
        paste(still, portrait, (WIDTH / 2, HEIGHT / 2), 140, float(own))
        following, watched = Following(), []
        for step in range(RATE * (WATCHED + 2)):
            frame = _taken(rng, still, 1.0, NOISE)
            for track in following.follow(frame, step / RATE, estimator)[:1]:
                if step >= 2 * RATE:
                    watched.append((track.latest.age, track.smooth.age, *track.label[:3]))
        single, smooth, *label = np.array(watched).T
        age, low, high = (int(np.count_nonzero(np.diff(number))) for number in label)
        rows.append(
            {
                "deviation of single ages": float(single.std()),
                "deviation of the age": float(smooth.std()),
                "changes of the age": age,
                "changes of the low bound": low,
                "changes of the high bound": high,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with aaf/, appa/ and utkface/")
    parser.add_argument("--each", type=int, default=EACH, help="people per kind of clip")
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    results.check_committed(trial=arguments.each < EACH or arguments.split != "test")
    cv2.setNumThreads(1)
    rows = rows_of(arguments.data, (arguments.split,))
    photos = Photos(rows[rows["source"] != "utkface"].sample(arguments.each, random_state=0))
    portraits = [photos[number] for number in range(len(photos))]
    estimator = AgeGenderEstimator(backend="onnx")
    measured = {"clips": shares(estimator, portraits), "still": calm(estimator, portraits[:STILL])}
    for table in measured.values():
        print(pd.DataFrame(table).round(3).to_string(index=False), "\n")
    results.record(
        "book/results/following.json",
        measured,
        weights=weights.built_in(),
        finder=detectors.finder_sha256(),
        data=DATA.replace("test", arguments.split),
        seed=0,
    )


if __name__ == "__main__":
    main()
