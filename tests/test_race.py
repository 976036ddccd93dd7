"""Races: what they train, what they record, and that the test split is a command of its own."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssrlib import FaceStore, Recipe, results
from ssrlib.heads import contestant
from tools.experiments import labels, race

NAMES = ["one number", "label distribution (DLDL)"]


def build(name, recipe):
    return contestant(name, replace(recipe, precision="32-true", compile=False))


@pytest.fixture
def command(drawn_store, tmp_path, monkeypatch):
    """Give a race as a command, and return what it recorded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNCOMMITTED", "a test")
    (tmp_path / "book" / "results").mkdir(parents=True)
    monkeypatch.setattr(results, "_published", lambda: tmp_path / "book" / "results")

    def run(*more):
        settings = ["--store", drawn_store.path, "--epochs", "1", "--seeds", "0", "1", "--jobs", "1"]
        monkeypatch.setattr(sys, "argv", ["race", *map(str, settings), *more])
        race.run(race.Race(NAMES, build, rival=NAMES[0]), "contest", "a race")
        return json.loads((tmp_path / "book" / "results" / "contest.json").read_text())

    return run


def one_by_one(_jobs, call, arguments):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for each in arguments:
            yield call(*each)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_race_compares_on_validation_and_opens_the_test_split_when_told(command, capfd, monkeypatch):
    first = command()
    assert [(row["network"], row["split"]) for row in first["metrics"]] == [
        (name, "validation") for name in NAMES
    ]
    assert all(len(row["seeds"]) == 2 for row in first["metrics"])
    assert first["metrics"][0]["difference"] == 0
    assert first["metrics"][1]["parameters"] == 40_685
    monkeypatch.setattr(race, "in_parallel", one_by_one)  # the first command has shown that processes work
    again = command()
    assert again["metrics"] == first["metrics"]
    with pytest.raises(SystemExit, match="on validation, epochs was 1, not 2: give the same options"):
        command("--test", "--epochs", "2")
    capfd.readouterr()
    last = command("--test")
    assert last["metrics"][:2] == first["metrics"]
    assert [row["split"] for row in last["metrics"][2:]] == ["test", "test"]
    assert last["origin"]["trained"] == first["origin"]["trained"]
    assert "years on validation" not in capfd.readouterr().out  # as a training says


def test_mislabeled_faces_are_as_many_as_asked_for_and_only_for_training(drawn_store):
    train = (drawn_store.rows["split"] == "train").to_numpy()
    ages = drawn_store.rows["age"].to_numpy()
    for share in labels.SHARES:
        store = labels.mislabeled(drawn_store.path, f"absolute error, {share} %", seed=1)
        wrong = store.rows["age"].to_numpy() != ages
        assert not wrong[~train].any()
        # Of those who swap, some get an age like their own.
        assert 0.75 * share <= 100 * wrong[train].mean() <= share + 0.5
        assert sorted(store.rows["age"]) == sorted(ages)
    assert np.array_equal(FaceStore(drawn_store.path).rows["age"], ages)


@pytest.mark.parametrize("name", labels.ALL.names)
def test_what_learns_wrong_labels_differs_in_its_loss_only(name):
    network, recipe, loss = labels.build(name, Recipe())
    assert (loss is None) == ("error" in name)
    assert recipe.loss == ("l2" if "squared" in name else "l1")
    assert network.settings["target"] == "age"
