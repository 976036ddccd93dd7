"""The tools: networks that they train can learn, and the one that runs the chapters finds what differs."""

import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from ssrlib import Recipe, weights
from ssrlib.targets import TARGETS
from ssrlib.training import new_network
from tools.experiments import finetuning, portable, statistics_only
from tools.experiments.ablations import VARIANTS
from tools.weights import helped, publish, strangers, teach, why
from tools.weights.corruptions import CORRUPTIONS, STRENGTHS, corrupted


@pytest.mark.parametrize("name", VARIANTS)
def test_ablated_networks_can_learn(name, drawn_store):
    network = VARIANTS[name](Recipe())
    answers = network(torch.from_numpy(drawn_store.faces[:8].copy()).permute(0, 3, 1, 2))
    assert answers.shape == (8,)
    answers.std().backward()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("way", finetuning.WAYS)
def test_every_way_to_learn_looks_at_as_many_faces(way, drawn_store, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "LOOKS", 1000)
    faces = finetuning.lesson(drawn_store, drawn_store, 20, way, seed=0, folder=tmp_path / "lesson")
    train = faces.rows[faces.rows["split"] == "train"]
    assert len(train) == 100
    away = train.iloc[:50]
    assert away["path"].nunique() == 20
    assert away["path"].value_counts().between(2, 3).all()
    if way == "with rehearsal":
        assert train["path"].iloc[50:].is_unique
    validation = drawn_store.rows[drawn_store.rows["split"] == "validation"]
    assert (faces.rows["split"] == "validation").sum() == len(validation)


def test_frozen_streams_do_not_learn_and_heads_do():
    network = finetuning.begun("streams frozen", Recipe())
    learns = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert learns == {name for name, _ in network.named_parameters() if not name.startswith("stream")}


def test_statistics_come_from_the_faces_that_fine_tuning_learns_from_and_change_no_weight(
    drawn_store, tmp_path
):
    learned = finetuning.lesson(drawn_store, drawn_store, 20, "fine-tuned", 1, tmp_path / "lesson").rows
    few = finetuning.few_faces(drawn_store, 20, np.random.default_rng(1))
    paths = learned["path"][learned["split"] == "train"]
    assert set(drawn_store.rows["path"].iloc[few]) == set(paths)
    before, after = weights.load(finetuning.START), statistics_only.adapted(drawn_store, 20, seed=1)
    assert all(old.equal(new) for old, new in zip(before.parameters(), after.parameters(), strict=True))
    new = after.state_dict()
    statistics = [name for name in new if "running_" in name]
    assert len(statistics) == 16
    assert not any(before.state_dict()[name].equal(new[name]) for name in statistics)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_stronger_corruption_changes_faces_more(name, drawn_store):
    faces = drawn_store.faces[:20].copy()
    looks = [corrupted(faces, name, strength) for strength in STRENGTHS]
    assert all(look.shape == faces.shape and look.dtype == faces.dtype for look in looks)
    assert (corrupted(faces, name, 2) == looks[1]).all()
    mild, middle, strong = (np.abs(look.astype(float) - faces).mean() for look in looks)
    assert 0 < mild < middle < strong


def test_large_networks_teach_a_small_one(drawn_store, tmp_path, monkeypatch):
    monkeypatch.setattr(teach, "TEACHERS", 1)
    monkeypatch.setattr(teach, "EPOCHS", 1)
    monkeypatch.setattr(teach, "TEACHER_EPOCHS", 1)
    monkeypatch.setattr(teach, "BATCH", 16)
    monkeypatch.setattr(teach, "KIND", "residual")
    monkeypatch.setattr(teach, "fast", dict)
    for step, more in ((teach.teacher, ()), (teach.student, ("mild",))):
        step("gender", *more, 0, drawn_store.path, tmp_path)
    card = weights.read_card(tmp_path / "taught-mild-0" / "gender" / "best.safetensors")
    assert card["teachers"]


@pytest.fixture
def beginner(tmp_path):
    """Untrained weights for age with terms, as a training would have left them in runs/varied-0."""
    path = tmp_path / "runs" / "varied-0" / "age" / "best.safetensors"
    path.parent.mkdir(parents=True)
    return weights.save(new_network(Recipe(seed=4)), path, {"terms": "for research"})


def test_a_helped_training_leaves_an_ssr_net_that_says_where_it_began(drawn_store, beginner):
    out = beginner.parents[2] / "helped-0"
    plan = {"epochs": 1, "batch_size": 16, "augmentation": "mild", "precision": "32-true", "compile": False}
    helped.train(beginner, out, drawn_store.path, **plan)
    path = out / "age" / "best.safetensors"
    assert weights.load(path).settings["target"] == "age"
    card, first = weights.read_card(path), path.read_bytes()
    assert card["start"] == weights.weights_sha256(beginner)
    assert card["terms"] == "for research"
    assert card["recipe"]["loss"] == "l1, and 20 times the helper's"
    assert "epoch" in (out / "age" / "history.csv").read_text()
    command = publish.command_of(out, card, [out], drawn_store, TARGETS["age"])
    assert command.startswith("python -m tools.weights.helped ")
    assert f"--start {beginner} --epochs 1 --augmentation mild --seed 0 --out {out}" in command
    # A run that was finished only writes again what somebody has removed.
    shutil.rmtree(out / "age")
    helped.train(beginner, out, drawn_store.path, **plan)
    assert path.read_bytes() == first


def test_a_published_command_is_the_one_that_trained(drawn_store, beginner):
    card = {"recipe": {"balanced": True, "seed": 0}, "start": "of something else"}
    with pytest.raises(SystemExit, match="does not say that it went on from"):
        publish.command_of(beginner.parents[1], card, [], drawn_store, TARGETS["age"])
    taught = {"recipe": {"balanced": True, "seed": 0}, "teachers": "three"}
    command = publish.command_of(beginner.parents[1], taught, [], drawn_store, TARGETS["gender"])
    assert command == f"python -m tools.weights.teach gender --store {drawn_store.path}"


def test_a_helped_training_does_not_write_over_its_start(beginner):
    command = [sys.executable, "-m", "tools.weights.helped", "--start", str(beginner)]
    done = subprocess.run([*command, "--out", str(beginner.parents[1])], capture_output=True, text=True)
    assert done.returncode == 2
    assert "would be overwritten by this training; give another --out" in done.stderr


def chapter(path, source: str, output: str):
    """Write a notebook of one cell, with what it is said to have printed."""
    printed = nbformat.v4.new_output("stream", text=output)
    cell = nbformat.v4.new_code_cell(source, outputs=[printed], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


@pytest.mark.notebook
def test_portable_tells_which_cells_differ_under_a_setting(tmp_path):
    source = "import os\nprint(os.environ.get('OMP_NUM_THREADS'))"
    path = chapter(tmp_path / "99-threads.ipynb", source, "2\n")
    assert portable.run(path, "two threads, hash seed 2") == {}
    (cell, what), *others = portable.run(path, "four threads, ASCII, Tokyo").items()
    assert (cell, others) == ("Cell 0", [])
    assert "'2\\n' == '4\\n'" in what


@pytest.mark.notebook
def test_portable_keeps_what_it_knows_of_other_chapters():
    one, two, *_ = (chapter.stem for chapter in portable.CHAPTERS)

    def record(stem: str, outcome: str, settings: dict = portable.SETTINGS) -> dict:
        cells = [{"chapter": stem, "what": outcome}] if outcome != "same" else []
        parts = {name: {stem: outcome} for name in ("chapters", "code", "commits")}
        return {"settings": settings, "differing cells": cells} | parts

    both = portable.beside(record(one, "same"), record(two, "1 differ"))
    assert both["chapters"] == {one: "same", two: "1 differ"}
    assert both["differing cells"] == [{"chapter": two, "what": "1 differ"}]
    again = portable.beside(record(two, "same"), both)
    assert again["chapters"] == {one: "same", two: "same"}
    assert again["differing cells"] == []
    assert portable.beside(record(one, "same"), record("gone", "1 differ"))["chapters"] == {one: "same"}
    other = record(two, "same", settings={"as it is": {}})
    assert portable.beside(record(one, "same"), other)["chapters"] == {one: "same"}


def test_portable_goes_on_when_a_chapter_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(portable, "CHAPTER_SECONDS", 5)
    path = chapter(tmp_path / "99-endless.ipynb", "while True:\n    pass", "")
    assert portable.run(path, "one thread, hash seed 1") == {"all": "stopped after 5 seconds"}


def test_the_factor_is_the_smallest_that_holds_nine_in_ten_on_average():
    count = len(strangers.FACTORS)
    rising = [0.8 + 0.05 * i for i in range(4)] + [0.95] * (count - 4)
    assert strangers.smallest([{"inside": rising}]) == strangers.FACTORS[2]
    assert strangers.smallest([{"inside": rising}, {"inside": [0.95] * count}]) == strangers.FACTORS[1]
    with pytest.raises(ValueError, match=r"even bands 2.0 times as wide hold less than 90%"):
        strangers.smallest([{"inside": [0.5] * count}])


def test_strangers_are_held_as_far_as_the_others_let_one_expect():
    rng = np.random.default_rng(0)
    strange, known = np.arange(4000) < 2000, np.ones((4000, 1))
    size = np.abs(rng.normal(0, 5, 4000))
    assert strangers.held(size, known, strange) == pytest.approx(0.9, abs=0.02)
    assert strangers.held(np.where(strange, 3 * size, size), known, strange) < 0.5


def test_a_sign_that_only_follows_the_age_gains_nothing_among_neighbors():
    rng = np.random.default_rng(0)
    read, doubt = rng.uniform(20, 30, 1000), rng.uniform(0, 4, 1000)
    # With the age grow both the error and what the two readings differ by, or only the doubt makes the error.
    aged = pd.DataFrame({"value": read, "error": read, "difference": read - 20 + doubt / 100})
    told = pd.DataFrame({"value": read, "error": doubt, "difference": doubt})
    for people, gain in ((aged, 0.0), (told, 2.0)):
        (found,) = why.mirror(people)
        low, high = found["interval"]
        assert low < found["gain"] < high
        assert abs(found["gain"] - gain) < 0.2
    assert why.mirror(aged)[0]["differ"] - why.mirror(aged)[0]["agree"] > 4
