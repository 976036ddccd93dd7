"""What is published comes from the weights that are built in, and from code that is committed."""

import hashlib
import json
import re
import warnings
from pathlib import Path

import pytest

from ssrlib import detectors, results, weights
from tools.experiments import portable

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "book" / "results"
SCRIPTS = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").rglob("*.py")]
BUILT_IN = {path.name: weights.weights_sha256(path) for path in weights.built_in()}
# What knows UTKFace alone: these trainings made it, or began with it, as the built-in networks did.
HOME = {path.name: weights.weights_sha256(path) for path in (weights.PRETRAINED / "utkface").iterdir()}
OF_HOME = (
    "age-runs.json",
    "batches.json",
    "benchmark-surroundings.json",
    "contest.json",
    "finetuning.json",
    "gender-runs.json",
    "helping.json",
    "labels.json",
    "statistics-only.json",
)


def complaints(result: dict, known: dict[str, str] = BUILT_IN) -> list[str]:
    """What is wrong with where a recorded result comes from."""
    origin, found = result["origin"], []
    used, changed = origin.get("weights"), origin.get("uncommitted", {"files": [], "why": "all is committed"})
    if not isinstance(used, dict):
        found.append("does not say which weights it was measured with")
    elif stale := [name for name, sha256 in used.items() if known.get(name) != sha256]:
        found.append(f"was measured with another {' and '.join(stale)} than the one that is built in")
    if origin.get("finder", detectors.finder_sha256()) != detectors.finder_sha256():
        found.append("was measured with another finder than the one that is built in")
    if not re.fullmatch("[0-9a-f]{7,40}", origin["commit"].removesuffix("-dirty")):
        found.append(f"does not name a commit, but {origin['commit']!r}")
    if not changed["why"] or (origin["commit"].endswith("-dirty") and not changed["files"]):
        found.append(f"was recorded with uncommitted changes: {', '.join(changed['files'])}")
    if re.search(r"(^|[ =])(/|\.\.)", origin["command"]):
        found.append(f"names a folder of one machine: {origin['command']}")
    return found


def test_nothing_published_is_stale():
    found = {}
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        found[path.name] = complaints(result, HOME if path.name in OF_HOME else BUILT_IN)
        if "uncommitted" in result["origin"]:
            warnings.warn(f"{path.name}, uncommitted: {result['origin']['uncommitted']}", stacklevel=1)
    for target in ("age", "gender"):
        sha256 = BUILT_IN[f"{target}.safetensors"]
        description = json.loads((weights.PRETRAINED / f"{target}.json").read_text())
        if description.get("weights") != [sha256]:
            found[f"{target}.onnx"] = ["was exported from other weights"]
        if sha256 not in (ROOT / "book" / f"card-{target}.md").read_text():
            found[f"card-{target}.md"] = ["is the card of other weights"]
    film = ROOT / "book" / "images" / "demo.webp"
    recorded = (RESULTS / "film.json").is_file() and results.load("film")["metrics"]["sha256"]
    if hashlib.sha256(film.read_bytes()).hexdigest() != recorded:
        found["demo.webp"] = ["is not the film that film.json tells of"]
    lines = [f"{name} {reason}" for name, reasons in found.items() for reason in reasons]
    advice = "run `make weights`, and for the trainings on UTKFace alone the command that their file names"
    assert lines == [], "\n".join([advice, *lines])


def test_results_from_one_store_come_from_the_same_faces():
    # A training's record tells of its own faces, which an earlier finder may have aligned.
    measured = [path for path in sorted(RESULTS.glob("*.json")) if not path.stem.endswith("-runs")]
    origins = [json.loads(path.read_text())["origin"] for path in measured]
    stores = [origin["store"] for origin in origins if "store" in origin]
    assert stores
    for name in {name for store in stores for name in store}:
        assert len({json.dumps(store[name]) for store in stores if name in store}) == 1


def test_no_chapter_prints_something_else_on_another_machine():
    record, chapters = results.load("portable")["metrics"], portable.CHAPTERS
    assert record["differing cells"] == []
    assert record["settings"] == portable.SETTINGS
    assert list(record["chapters"]) == [chapter.stem for chapter in chapters]
    for chapter, outcomes in record["chapters"].items():
        assert outcomes == dict.fromkeys(portable.SETTINGS, "same"), chapter
    # It takes ten minutes and more for each, so what has changed since is told and does not fail.
    for chapter in chapters:
        if record["code"][chapter.stem] != portable.cells_sha256(chapter):
            warnings.warn(f"{chapter.stem} is newer than portable.json: `make portable`", stacklevel=1)


GOOD = {
    "weights": BUILT_IN,
    "commit": "32402ba",
    "command": "python -m tools.weights.why --store data/utkface",
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"weights": {}}, None),
        ({"finder": "0" * 64}, "another finder"),
        ({"weights": "the built-in ones"}, "does not say which weights"),
        ({"weights": BUILT_IN | {"age.safetensors": "0" * 64}}, "another age.safetensors"),
        ({"weights": {"height.safetensors": "0" * 64}}, "another height.safetensors"),
        ({"commit": "unknown"}, "does not name a commit"),
        ({"commit": "32402ba-dirty"}, "uncommitted changes"),
        ({"uncommitted": {"files": ["ssrlib/network.py"], "why": ""}}, "ssrlib/network.py"),
        ({"uncommitted": {"files": ["ssrlib/network.py"], "why": "asked for"}}, None),
        ({"command": "python -m benchmarks.int8 /home/me/store"}, "a folder of one machine"),
        ({"command": "python -m benchmarks.int8 --store=../store"}, "a folder of one machine"),
    ],
)
def test_stale_and_dirty_results_are_noticed(change, complaint):
    found = complaints({"metrics": {}, "origin": GOOD | change})
    assert len(found) == bool(complaint)
    assert complaint is None or complaint in found[0]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_look_at_what_is_committed_and_name_the_weights_they_use(script):
    text = script.read_text()
    if "results.record(" in text:
        assert re.search(r"results\.check_committed\((trial=.+ < .+)?\)\n", text)
        if re.search(r"pretrained\(|built_in\(|AgeGenderEstimator|WebcamDemo|BOOK", text):
            assert not re.search(r'weights(=|": )\(\)', text)
