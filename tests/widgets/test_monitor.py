import copy
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from ssrlib import Recipe, fit
from ssrlib.training import Progress, new_network
from ssrlib.widgets import TrainingMonitor, monitor

RECIPE = Recipe(epochs=2, batch_size=64)


@pytest.fixture
def in_notebook(monkeypatch):
    """Do as if this were a notebook; nothing is displayed."""
    handle = SimpleNamespace(update=lambda shown: None)
    monkeypatch.setattr(monitor, "get_ipython", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr(monitor, "display", lambda shown, display_id: handle)


def until(condition) -> None:
    give_up = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_stopped_and_resumed_training_ends_as_one_that_ran_through(in_notebook, drawn_store, tmp_path):
    network = new_network(RECIPE)
    straight = copy.deepcopy(network)
    expected = fit(straight, drawn_store, RECIPE)

    watched = TrainingMonitor(network, drawn_store, RECIPE, tmp_path)
    # Stopped by the very first step, whenever the clicks of a real browser would come.
    watched.observe(lambda change: change["new"]["step"] == 1 and watched.stop(), "state")
    watched.start()
    until(lambda: watched.state["phase"] in ("stopped", "failed"))
    assert watched.state["message"] == ""
    stopped_at = watched.state["step"]
    assert 1 <= stopped_at < watched.state["steps"]
    assert (tmp_path / "checkpoint.pt").exists()

    watched.unobserve_all()
    watched._handle_custom_msg({"kind": "resume"}, [])
    history = watched.wait()
    assert watched.state["phase"] == "finished"
    assert watched.state["step"] == watched.state["steps"]
    assert history.equals(expected)
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, network.state_dict()[name]), name


def test_state_is_what_the_browser_needs(in_notebook, drawn_store, tmp_path):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE, tmp_path).start()
    history = watched.wait()
    assert watched.state["history"] == history.to_dict("records")
    assert watched.state["by_age"]
    assert watched.state["rate"] > 0
    epochs, losses = zip(*watched.state["loss"], strict=True)
    assert list(epochs) == sorted(epochs)
    assert 0 < min(losses) <= max(losses) < 200
    assert "finished" in watched.page()


def test_steps_of_many_seconds_have_a_speed_too(in_notebook, drawn_store, monkeypatch):
    monkeypatch.setattr(monitor, "SPEED_SECONDS", 0)
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE).start()
    watched.wait()
    assert watched.state["rate"] > 0


def test_outside_notebooks_training_runs_with_a_bar_and_returns(drawn_store, capsys):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE)
    history = watched.start().wait()
    assert len(history) == 2
    assert "train" in capsys.readouterr().err


def test_what_ends_training_is_shown_and_raised(in_notebook, drawn_store, tmp_path):
    huge = Recipe(epochs=1, batch_size=10_000)
    watched = TrainingMonitor(new_network(huge), drawn_store, huge, tmp_path).start()
    with pytest.raises(ValueError, match="do not fill a batch"):
        watched.wait()
    assert watched.state["phase"] == "failed"
    assert "do not fill a batch" in watched.state["message"]


def test_what_ended_the_run_before_is_forgotten(drawn_store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("disk full")

    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("ssrlib.widgets.monitor.fit", full)
        with pytest.raises(OSError, match="disk full"):
            watched.start()
    assert len(watched.start().wait()) == 2
    assert (watched.state["phase"], watched.state["message"]) == ("finished", "")


def test_a_run_that_was_finished_before_shows_how_it_went(in_notebook, drawn_store, tmp_path):
    TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE, tmp_path).start().wait()
    again = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE, tmp_path).start()
    history = again.wait()
    assert again.state["phase"] == "finished"
    assert again.state["history"] == history.to_dict("records")
    assert len(again.state["history"]) == 2


def test_waiting_for_what_was_not_started(drawn_store):
    with pytest.raises(RuntimeError, match="call start"):
        TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE).wait()


def test_messages_that_make_no_sense_change_nothing(drawn_store):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE)
    for message in ({}, {"kind": "?"}, {"kind": "stop"}):
        watched._handle_custom_msg(message, [])
    assert watched.state["phase"] == "ready"


def test_long_training_sends_few_points(in_notebook, drawn_store):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE)
    watched._train = lambda watch: None
    watched.start()
    for step in range(1, 5001):
        watched.watch(Progress(step, 5000, 32, 10.0, [], []))
    assert len(watched.state["loss"]) == monitor.POINTS
    assert all(loss == pytest.approx(10.0) for _, loss in watched.state["loss"])


def test_an_interrupt_while_a_cell_waits_stops_training_and_keeps_what_is_done(
    in_notebook, drawn_store, monkeypatch
):
    recipe = Recipe(epochs=1000, batch_size=64)
    watched = TrainingMonitor(new_network(recipe), drawn_store, recipe)
    seen = []

    def interrupt(change) -> None:
        if change["new"]["history"] and not seen:
            seen.append(watched.waiting)
            signal.raise_signal(signal.SIGINT)

    watched.observe(interrupt, "state")
    history = watched.start().wait()
    assert seen == [True]
    assert watched.waiting is False
    assert watched.state["phase"] == "stopped"
    assert 1 <= len(history) < 1000


def test_earlier_runs_of_the_same_target_stay_to_compare_with(
    in_notebook, drawn_store, page, screenshot, tmp_path
):
    first = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE).start()
    history = first.wait()
    for recipe in (Recipe(target="gender", epochs=1, batch_size=64), RECIPE):
        other = TrainingMonitor(new_network(recipe), drawn_store, recipe).start()
        other.wait()
    assert other.state["earlier"][-1] == history[["epoch", "mae"]].to_numpy().tolist()
    assert all(len(points[0]) == 2 for points in other.state["earlier"])
    own = len(other.state["earlier"])
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{other.page()}")
    page.goto(path.as_uri())
    page.get_by_text("earlier runs in gray").wait_for()
    assert page.locator(".ssr-earlier").count() == own
    screenshot("monitor-earlier-light")


# What a notebook adds to a page: messages to the kernel, and a way to interrupt it.
NOTEBOOK = """;window.told = [];
window.model = model;
Object.assign(model, {
    send: (message) => told.push(message.kind),
    widget_manager: { kernel: { interrupt: () => told.push("interrupt") } },
});
showOn(render, model,"""


@pytest.mark.parametrize(("waiting", "told"), [(True, ["interrupt"]), (False, ["stop"])])
def test_stop_says_so_at_once_and_gets_through_to_a_kernel_that_waits(page, drawn_store, waiting, told):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE)
    watched.state = watched.state | {"phase": "running", "step": 1, "steps": 9}
    watched.waiting = waiting
    page.set_content(watched.page().replace(";showOn(render, model,", NOTEBOOK))
    page.get_by_role("button", name="Stop").click()
    assert page.locator(".ssr-phase").inner_text().startswith("Stopping")
    assert page.get_by_role("button", name="Stop").is_disabled()
    assert page.evaluate("told") == told
    assert page.evaluate("() => document.activeElement.textContent") == "Stop"
    page.evaluate("() => model.set('state', { ...model.get('state'), phase: 'stopped' })")
    assert page.evaluate("() => document.activeElement.textContent") == "Resume"


def test_where_only_the_reader_can_interrupt_a_kernel_that_waits_stop_says_so(page, drawn_store, screenshot):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE)
    watched.state = watched.state | {"phase": "running", "step": 1, "steps": 9}
    watched.waiting = True
    page.clock.install()
    elsewhere = NOTEBOOK.replace("widget_manager", "unknown")
    page.set_content(watched.page().replace(";showOn(render, model,", elsewhere))
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate("told") == ["stop"]
    phase = page.locator(".ssr-phase")
    assert phase.inner_text().startswith("Stopping")
    page.clock.run_for(10_000)
    asked = "Interrupt it: training stops, and the run is kept."
    assert phase.inner_text().endswith(asked)
    screenshot("monitor-unheard")
    step = "(phase) => model.set('state', { ...model.get('state'), phase, step: 2 })"
    page.evaluate(step, "running")
    assert phase.inner_text().endswith(asked)
    page.evaluate(step, "stopping")
    assert phase.inner_text().startswith("Stopping")
    page.evaluate(step, "stopped")
    assert phase.inner_text().startswith("Stopped")
    page.evaluate(step, "running")  # once more, by somebody else
    page.clock.run_for(10_000)
    assert phase.inner_text() == "Training"


def test_what_is_drawn_is_the_targets_metric(page, drawn_store, tmp_path):
    watched = TrainingMonitor(new_network(RECIPE), drawn_store, Recipe(target="gender", epochs=4))
    measured = [{"epoch": 1, "mae": 0.1, "accuracy": 0.8}, {"epoch": 2, "mae": 0.3, "accuracy": 0.9}]
    history = [*measured, {"epoch": 3, "mae": 0.2, "accuracy": 0.85}]
    watched.state = watched.state | {"history": history, "loss": [[0.5, 0.6], [2.5, 0.1], [2.9, 0.1]]}
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{watched.page()}")
    page.goto(path.as_uri())
    page.get_by_text("validation accuracy; best 90.0 %").wait_for()
    assert page.locator(".ssr-answer").inner_text() == "85.0 %"
    heights = page.locator("circle").evaluate_all("dots => dots.map((dot) => -dot.getAttribute('cy'))")
    assert heights[0] < heights[2] < heights[1]
    assert not page.get_by_text("error by age").is_visible()


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, and GNU's OpenMP is Linux's")
def test_no_other_threads_wait_for_work_beside_those_of_training(in_notebook, drawn_store, monkeypatch):
    def threads() -> set[str]:
        return set(os.listdir("/proc/self/task"))

    def start_after_a_task() -> tuple[set, set]:
        torch.set_num_threads(2)
        before, beside = threads(), []
        torch.zeros(10**6).exp()
        workers = threads() - before
        monkeypatch.setattr(monitor, "fit", lambda *_: beside.append(threads()) or pd.DataFrame())
        TrainingMonitor(new_network(RECIPE), drawn_store, RECIPE).start().wait()
        return workers, beside[0]

    cores = torch.get_num_threads()
    # In a thread of its own, which has no workers yet.
    with ThreadPoolExecutor(1) as starter:
        workers, beside = starter.submit(start_after_a_task).result()
    torch.set_num_threads(cores)
    assert workers
    assert not workers & beside


def test_a_temporary_folder_goes_with_its_monitor(drawn_store, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = """
import sys
from pathlib import Path
from ssrlib import FaceStore, Recipe
from ssrlib.training import new_network
from ssrlib.widgets import TrainingMonitor
recipe = Recipe(epochs=1)
monitor = TrainingMonitor(new_network(recipe), FaceStore(sys.argv[1]), recipe)
sys.exit(len(list(Path(sys.argv[2]).glob("ssrlib-*"))) != 1)
"""
    subprocess.run([sys.executable, "-c", code, drawn_store.path, tmp_path], check=True)
    assert list(tmp_path.glob("ssrlib-*")) == []
