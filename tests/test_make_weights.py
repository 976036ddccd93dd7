"""`make weights` as make sees it: in place of Python stands a script that only writes files."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = """#!/bin/sh
set -- $(basename "$0") "$@"
echo "$*" | sed 's/^python -m //' >> commands
after() { echo "$arguments" | sed "s/.*$1 \\([^ ]*\\).*/\\1/"; }
arguments="$*"
write() { mkdir -p "$(dirname "$1")"; sleep 0.01; touch "$1"; }
[ "$3 $4" = "$STOP_AT" ] && kill $PPID && exit 1
case "$3 $4 $*" in
  "ssrlib prepare"*) write "$(after --out)/store.json" ;;
  "ssrlib export"*) write "ssrlib/pretrained/$5.json" ;;
  "ssrlib train"*) mkdir -p "$(after --out)/$(after --target)" ;;
  tools.weights.teach*) mkdir -p runs ;;
  tools.weights.helped*) mkdir -p "$(after --out)/age" ;;
  tools.weights.publish*--store*) write "book/results/$4-mixture-runs.json" ;;
  tools.weights.publish*) write "book/results/$4-runs.json" ;;
  tools.weights.calibrate*) write "book/results/$4-test.json" ;;
  tools.weights.pictures*) mkdir -p "$4" ;;
  tools.weights.cards*) write book/datasheet.md ;;
  tools.site.animate*) write book/results/film.json ;;
  benchmarks.accuracy*|benchmarks.webcam*|benchmarks.cold*|benchmarks.browser*)
    write "book/results/benchmark-${3##*.}.json" ;;
  *--rival*) write book/results/corruptions-validation.json ;;
  tools.weights.corrupted_photos*) write book/results/corruptions-photos.json ;;
  tools.experiments.attack_inputs*) write book/results/attack-inputs.json ;;
  tools.weights.*|tools.experiments.*|benchmarks.*) write "book/results/${3##*.}.json" ;;
esac
"""
TRAIN = "ssrlib train --store data/utkface --target"
TEACHERS = "".join(f" --teacher runs/{seed}/age/best.safetensors" for seed in range(3))
BUILDS = [f"{TRAIN} age --fast --seed {seed} --out runs/{seed}" for seed in range(3)]
BUILDS += [f"{TRAIN} age --fast --seed {seed} --out runs/taught-{seed}{TEACHERS}" for seed in range(3)]
BUILDS += [f"{TRAIN} gender --fast --seed {seed} --out runs/{seed}" for seed in range(3)]
RUNS = [f"runs/{seed}" for seed in range(3)]
PUBLISHES = [
    " ".join(["tools.weights.publish age", *RUNS, *(f"runs/taught-{seed}" for seed in range(3))]),
    " ".join(["tools.weights.publish gender", *RUNS]),
]
JOINS = [
    "ssrlib prepare aaf three/aaf/aaf.tar --out data/aaf",
    "ssrlib prepare appa three/appa/appa.tar --out data/appa",
    "ssrlib prepare join data/aaf data/appa data/utkface --out data/faces",
    "ssrlib prepare join data/appa data/utkface --out data/without-aaf",
    "ssrlib prepare join data/aaf data/utkface --out data/without-appa",
    "ssrlib prepare join data/aaf data/appa --out data/without-utkface",
]


def goes_on(store: str, *more: str) -> str:
    recipe = "--fast --balanced --epochs 24 --learning-rate 0.0025"
    return " ".join([f"ssrlib train --store data/{store} --target age {recipe}", *more])


START = "--start ssrlib/pretrained/utkface/age.safetensors"
MIXTURES = [
    goes_on("faces", START, "--seed 0 --out runs/mixture-0"),
    "ssrlib train --store data/faces --target age --fast --balanced --augmentation varied --epochs 22 "
    "--batch-size 64 --learning-rate 0.003 --start runs/mixture-0/age/best.safetensors --seed 0 "
    "--out runs/varied-0",
    "tools.weights.helped --store data/faces --epochs 54 --start runs/varied-0/age/best.safetensors --seed 0 "
    "--out runs/helped-0",
    "tools.weights.helped --store data/faces --epochs 54 --augmentation mild "
    "--start runs/mixture-0/age/best.safetensors --out runs/mild-0",
    "tools.weights.teach gender",
]
WITHOUT = [
    goes_on("without-aaf", START, "--out runs/without-aaf"),
    goes_on("without-appa", START, "--out runs/without-appa"),
    goes_on("without-utkface", "--out runs/without-utkface"),
]
WITHOUT += [
    f"tools.weights.helped --store data/without-{out} --epochs 14 "
    f"--start runs/without-{out}/age/best.safetensors --out runs/helped-without-{out}"
    for out in ("aaf", "appa", "utkface")
]
MIXTURE_PUBLISHES = [
    "tools.weights.publish age runs/mixture-0 runs/varied-0 runs/helped-0 --store data/faces",
    "tools.weights.publish gender runs/taught-mild-0 runs/taught-strong-0 --store data/faces",
]
# What reads the built-in networks with ONNX Runtime.
READ_ONNX = (
    "tools.weights.corruptions",
    "tools.weights.corrupted_photos",
    "tools.site.animate",
    "tools.experiments.attack_inputs",
)
READ_ONNX += tuple(
    f"benchmarks.{name}"
    for name in ("tilts", "doubt", "following", "accuracy", "latency", "webcam", "cold", "browser")
)
STRANGERS = [
    "tools.weights.strangers --without aaf runs/helped-without-aaf "
    "--without appa_real runs/helped-without-appa --without utkface runs/helped-without-utkface"
]
CALIBRATES = ["tools.weights.calibrate age", "tools.weights.calibrate gender"]
EXPORTS = [f"ssrlib export {target} --to onnx --out ssrlib/pretrained" for target in ("age", "gender")]
MEASURES = [STRANGERS[0].replace("strangers", "away")]
MEASURES += [
    "tools.weights.corruptions",
    "tools.weights.corrupted_photos three",
    "tools.weights.corruptions --rival mild changes runs/mild-0/age/best.safetensors",
    "benchmarks.int8",
    "tools.weights.why",
    "tools.weights.maps",
    "tools.experiments.duplicates",
    "tools.experiments.intervals",
]
PEERS = "--peer mediapipe=mp/python --peer facenet-pytorch=fn/python"
MEASURES += ["tools.weights.utkface photos", f"benchmarks.tilts three {PEERS}"]
MEASURES += [
    "benchmarks.doubt three",
    "benchmarks.following three",
    "tools.experiments.attack_inputs --keras h5",
]
# It asks the finder, and no network for age or gender.
PICTURES = "tools.weights.pictures data/unseen-pictures --for judging"
COMPARISON = f"benchmarks.photos three --pictures data/unseen-pictures {PEERS}"
PHOTOS_RECORD = "book/results/photos.json"
OF_THE_FINDER = ["tools.weights.missed three", PICTURES, COMPARISON]
SHOWS = ["tools.weights.cards", "tools.site.animate"]
# They measure times, so they come last and in this order.
TIMED = [
    "benchmarks.accuracy photos --keras h5",
    "benchmarks.latency",
    "benchmarks.webcam",
    "benchmarks.cold",
    "benchmarks.browser",
]
CHAPTERS = ["jupytext", "jupyter", "tools.site.tidy", "benchmarks.notebooks", "benchmarks.site"]
CHAPTERS += ["tools.experiments.portable"]
LAST = [*TIMED, *CHAPTERS]
AFTER = [*MEASURES, *SHOWS, *LAST]
EVERYTHING = ["ssrlib prepare utkface photos --out data/utkface", *BUILDS, *PUBLISHES, *JOINS]
EVERYTHING += [*MIXTURES, *WITHOUT, *MIXTURE_PUBLISHES, *STRANGERS, *CALIBRATES, *EXPORTS]
EVERYTHING += [*OF_THE_FINDER, *AFTER]
OTHERS = "PEERS=mediapipe=mp/python facenet-pytorch=fn/python"
DATA = ["UTKFACE=photos", "KERAS=h5", "PHOTOS=three", OTHERS]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is missing")


@pytest.fixture
def checkout(tmp_path) -> Path:
    return prepared(tmp_path)


def prepared(folder: Path) -> Path:
    """The project's rules and scripts, but nothing that they make."""
    for name in ("Makefile", "weights.mk", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("tools", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    finder = "pretrained/finder/finder.safetensors"
    for name in ("cards.py", "detectors.py", finder):
        (folder / "ssrlib" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "ssrlib" / name).touch()
    for name in ("python", "jupytext", "jupyter"):
        (folder / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        (folder / ".venv" / "bin" / name).write_text(STAND_IN)
        (folder / ".venv" / "bin" / name).chmod(0o755)
    for name in (".venv", ".others"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "ready").touch()
    return folder


@pytest.fixture(scope="module")
def first_time(tmp_path_factory) -> tuple[Path, list[str]]:
    """A checkout where everything was made, and the commands that did it."""
    folder = prepared(tmp_path_factory.mktemp("first"))
    return folder, make(folder, *DATA)[0]


@pytest.fixture
def made(first_time, tmp_path) -> Path:
    """A copy of it, files' times included."""
    return shutil.copytree(first_time[0], tmp_path / "made")


def make(checkout: Path, *words: str, goal="weights", **environment: str) -> tuple[list[str], str]:
    """Run `make weights`, or another goal, and return the commands that it ran and what it said."""
    (checkout / "commands").write_text("")
    # What `make test UTKFACE=...` tells of this machine.
    told = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "EPOCHS", "PYTHON"}
    told |= {"UTKFACE", "KERAS", "PHOTOS", "PEERS"}
    kept = {name: value for name, value in os.environ.items() if name not in told}
    command = ["make", "--no-print-directory", "--silent", goal, *words]
    done = subprocess.run(command, cwd=checkout, env=kept | environment, capture_output=True, text=True)
    lines = (checkout / "commands").read_text().splitlines()
    lines = [line.split()[0] if line.startswith(("jup", "tools.site.tidy")) else line for line in lines]
    return lines, done.stdout + done.stderr


def test_everything_is_made_once_in_order_and_not_again(first_time, made):
    lines = first_time[1]
    assert lines[0].startswith("ssrlib prepare")
    assert sorted(lines) == sorted(EVERYTHING)
    assert lines[-len(LAST) :] == LAST
    assert make(made, *DATA)[0] == []
    assert make(made)[0] == [], "data that was read need not stay"


def test_together_they_come_in_an_order_that_works(checkout):
    lines, said = make(checkout, "-j4", *DATA)
    assert sorted(lines) == sorted(EVERYTHING), said
    assert lines[-len(LAST) :] == LAST
    for before, after in [
        (BUILDS[:6], PUBLISHES[0]),
        (BUILDS[6:], PUBLISHES[1]),
        (PUBLISHES[:1], MIXTURES[0]),
        (MIXTURES[:1], MIXTURES[1]),
        (MIXTURES[1:2], MIXTURES[2]),
        (MIXTURES[:1], MIXTURES[3]),
        (MIXTURES[2:3], MIXTURE_PUBLISHES[0]),
        (MIXTURES[3:4], MEASURES[3]),
        *((WITHOUT[i : i + 1], WITHOUT[i + 3]) for i in range(3)),
        (WITHOUT[3:], STRANGERS[0]),
        (STRANGERS, CALIBRATES[0]),
        (CALIBRATES, SHOWS[0]),
        ([PICTURES], COMPARISON),
        (OF_THE_FINDER, SHOWS[0]),
        *((EXPORTS, line) for line in lines if line.startswith(READ_ONNX)),
    ]:
        assert max(map(lines.index, before)) < lines.index(after)
    assert make(checkout, "-j4", *DATA)[0] == []


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("tools/weights/why.py", ["tools.weights.why", "tools.weights.maps", *CHAPTERS]),
        ("book/results/utkface.json", ["tools.weights.cards", *CHAPTERS]),
        ("tools/experiments/portable.py", CHAPTERS[-1:]),
        (
            "ssrlib/pretrained/finder/finder.safetensors",
            [
                *(*JOINS, *MIXTURES, *WITHOUT, *MIXTURE_PUBLISHES, *STRANGERS, *CALIBRATES, *EXPORTS),
                *(OF_THE_FINDER[0], COMPARISON, *AFTER),
            ],
        ),
        ("ssrlib/detectors.py", [COMPARISON, SHOWS[0], *CHAPTERS]),
        ("runs/1/gender/finished", [PUBLISHES[1], *MEASURES[:3], SHOWS[0], *CHAPTERS]),
        ("runs/taught-gender", [MIXTURE_PUBLISHES[1], CALIBRATES[1], EXPORTS[1], *AFTER]),
        (
            "runs/2/age/finished",
            [
                *(*BUILDS[3:6], PUBLISHES[0], *MIXTURES[:4], *WITHOUT, MIXTURE_PUBLISHES[0]),
                *(*STRANGERS, CALIBRATES[0], EXPORTS[0], *AFTER),
            ],
        ),
    ],
)
def test_only_what_depends_on_a_change_is_made_again(made, changed, again):
    assert (made / changed).is_file()
    (made / changed).touch()
    assert sorted(make(made, *DATA)[0]) == sorted(again)
    assert make(made, *DATA)[0] == []


@pytest.mark.parametrize("at", ["ssrlib train", "tools.weights.calibrate age", "benchmarks.latency "])
def test_interrupted_it_goes_on(checkout, at):
    before, _ = make(checkout, *DATA, STOP_AT=at)
    after, said = make(checkout, *DATA)
    assert before[-1] == after[0], said
    assert sorted(before[:-1] + after) == sorted(EVERYTHING)


def test_missing_data_ends_in_one_line(checkout):
    lines, said = make(checkout)
    assert lines == []
    assert said.startswith("error: ")
    assert "make weights " in said
    assert "error: All-Age-Faces and APPA-REAL are needed" in make(checkout, "UTKFACE=photos")[1]
    assert "error: UTKFace's photos are needed" in make(checkout, "PHOTOS=three")[1]
    make(checkout, "UTKFACE=photos", "PHOTOS=three", OTHERS)
    lines, said = make(checkout)
    assert lines == []
    assert said.count("\n") == 1
    assert "benchmark-accuracy.json stays as it is" in said
    assert make(checkout, "KERAS=h5")[1].startswith("error: UTKFace's photos are needed")


def test_the_comparison_of_detectors_is_made_by_itself(checkout):
    lines, said = make(checkout, "PHOTOS=three", OTHERS, goal=PHOTOS_RECORD)
    assert lines == [PICTURES, COMPARISON], said
    assert make(checkout, "PHOTOS=three", OTHERS, goal=PHOTOS_RECORD)[0] == []


@pytest.mark.parametrize(
    "given",
    [
        ["PHOTOS=three"],
        ["PHOTOS=three", "PEERS=mediapipe=mp/python"],
        ["PHOTOS=three", "PEERS=facenet-pytorch=fn/python"],
        [OTHERS],
    ],
)
def test_no_record_of_some_detectors_replaces_the_one_of_all(made, given):
    for name in ("photos", "tilts"):
        (made / "benchmarks" / f"{name}.py").touch()
        lines, said = make(made, *given, goal=f"book/results/{name}.json")
        assert lines == []
        assert said.count("\n") == 1
        assert said.startswith(f"book/results/{name}.json stays as it is: ")
        assert f"make book/results/{name}.json PHOTOS=FOLDER PEERS='mediapipe=PYTHON facenet-py" in said
    lines, said = make(made, "UTKFACE=photos", "KERAS=h5", *given)
    assert lines == [], said
    assert said.count("stays as it is") == 2


def test_published_weights_can_be_measured_without_training(checkout):
    (checkout / "book" / "results").mkdir(parents=True, exist_ok=True)
    command = re.search(
        r"^make weights UTKFACE.* -o (.|\n)+?(?=\n```)", (ROOT / "CONTRIBUTING.md").read_text(), re.M
    )
    assert command
    told = subprocess.run(["sh", "-c", command[0].replace("make", "echo", 1)], capture_output=True, text=True)
    old = told.stdout.split()[told.stdout.split().index("-o") :]
    for result in old[1::2]:
        (checkout / result).touch()
    trained = ["tools.weights.away --without", "tools.weights.corruptions --rival", "tools.weights.maps"]
    lines, said = make(checkout, *DATA, *old)
    prepared = [line for line in lines if line.startswith("ssrlib prepare")]
    rest = [line for line in lines if line not in prepared]
    measures = [line for line in MEASURES if not line.startswith(tuple(trained))]
    assert sorted(rest) == sorted([*CALIBRATES, *EXPORTS, *OF_THE_FINDER, *measures, *SHOWS, *LAST]), said
