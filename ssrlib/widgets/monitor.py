"""Training to watch: live curves, errors by age, speed, time left, and a button to stop and go on."""

import copy
import ctypes
import itertools
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import traitlets
from IPython import get_ipython
from IPython.display import DisplayHandle, display

from ssrlib.network import SSRNet
from ssrlib.recipe import Recipe
from ssrlib.store import FaceStore
from ssrlib.targets import Target, target_named
from ssrlib.training import Progress, fit
from ssrlib.widgets.base import STYLE, Widget, module

# How often the browser is told (seconds), over how long the speed is measured, and into how many
# points the loss of all steps is averaged.
TELL_EVERY, SPEED_SECONDS, POINTS = 0.25, 5.0, 300
# How many earlier runs are shown. Those of this kernel, by the number of their monitor: the target, and its
# metric by epoch.
EARLIER = 5
_ended: dict[int, tuple[str, list[list[float]]]] = {}
_numbers = itertools.count()


class TrainingMonitor(Widget):
    """Run `fit` in the background and show how it goes; Stop keeps a checkpoint, Resume goes on from it.

    Earlier runs of the same target are shown in gray, to compare with.

        monitor = TrainingMonitor(network, store, recipe, "runs/age")
        monitor.start()
        history = monitor.wait()

    `start` shows the monitor and returns at once; put `wait` in a cell of its own. Outside notebooks
    `start` trains with a progress bar and returns when that is done.

    Args:
        network, store, recipe, folder: as for `fit`. Without a folder, a temporary one keeps the
            checkpoint; it goes with the monitor.

    Attributes:
        state: what is shown: `phase` ("ready", "running", "stopping", "stopped", "finished" or "failed"),
            `step`, `steps`, `rate` (faces a second), `left` (seconds), `loss` (pairs of epoch and loss),
            `history`, `metric` (which of the history's columns is shown, and how), `by_age`, and `earlier`
            (the same column of earlier runs).
        waiting: whether a cell waits for the end of training.

    Random numbers that other cells draw from torch meanwhile mix with those of training.
    """

    _esm = module("monitor.js")
    _css = STYLE

    state = traitlets.Dict().tag(sync=True)
    waiting = traitlets.Bool().tag(sync=True)

    def __init__(self, network: SSRNet, store: FaceStore, recipe: Recipe, folder: str | Path | None = None):
        unknown: dict[str, Any] = {
            "rate": None,
            "left": None,
            "loss": [],
            "history": [],
            "by_age": [],
            "earlier": [],
            "message": "",
        }
        begin = {
            "phase": "ready",
            "target": recipe.target,
            "epochs": recipe.all_epochs,
            "step": 0,
            "steps": 0,
        }
        super().__init__(state=begin | unknown | {"metric": _metric(target_named(recipe.target))})
        self._network, self._store, self._recipe = network, store, recipe
        self._number = next(_numbers)
        self._folder = folder or tempfile.mkdtemp(prefix="ssrlib-")
        if not folder:
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        # Fit recognizes its checkpoint by the weights that training began with.
        self._start_weights = copy.deepcopy(network.state_dict())
        self._thread: threading.Thread | None = None
        self._handle: DisplayHandle | None = None
        self._history: pd.DataFrame | None = None
        self._error: Exception | None = None
        self._stop, self._done = threading.Event(), threading.Event()
        self._sums: dict[int, list[float]] = {}
        self.on_msg(self._heard)

    def start(self) -> "TrainingMonitor":
        """Begin, or go on after a stop. Does nothing while training runs."""
        if not _in_notebook():
            self._train(watch=None)
            if self._error:
                raise self._error
            return self
        if self._handle is None:
            self._handle = display(self, display_id=True)
        if self.state["phase"] not in ("running", "stopping"):
            if self._thread is not None:
                self._thread.join()  # it has said that it is done; it may not quite have ended
            self._stop, self._done = threading.Event(), threading.Event()
            self._began, self._told = time.monotonic(), 0.0
            self._first = 0
            self._recent: deque[tuple[float, int]] = deque()
            self.state = self.state | {"phase": "running", "earlier": self._earlier()}
            _let_go_of_threads()
            self._thread = threading.Thread(target=self._train, args=(self.watch,), daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End training after this step, with a checkpoint."""
        self._stop.set()

    def wait(self) -> pd.DataFrame:
        """Wait until training has ended or was stopped; return what `fit` returns.

        Interrupting this stops training and returns, and so the button Stop does it: of all that a browser
        can send, an interrupt alone reaches a kernel that runs a cell.

        Raises:
            RuntimeError: it was not started.
            Exception: whatever ended training.
        """
        if self._thread is None and self._history is None:
            raise RuntimeError("training was not started: call start() first")
        try:
            self.waiting = True
            # An interrupted join would take the thread for ended.
            while not self._done.wait(0.1):
                pass
        except KeyboardInterrupt:
            self.stop()
            self._done.wait()
        finally:
            self.waiting = False
            if self._handle is not None:
                self._handle.update(self)  # so that the page, which has no kernel, shows the end
        if self._error:
            raise self._error
        assert self._history is not None
        return self._history

    def watch(self, progress: Progress) -> bool:
        """Take in a step, tell the browser now and then, and return whether to stop: for `fit`."""
        now = time.monotonic()
        if not self._first:
            self._first, self._began = progress.step, now
        self._recent.append((now, progress.faces))
        while len(self._recent) > 2 and now - self._recent[0][0] > SPEED_SECONDS:
            self._recent.popleft()
        total = self._sums.setdefault((progress.step - 1) * POINTS // progress.steps, [0.0, 0])
        total[0] += progress.loss
        total[1] += 1
        if now - self._told > TELL_EVERY or progress.step == progress.steps or self._stop.is_set():
            self._told = now
            self._tell(progress, now)
        return self._stop.is_set()

    def _tell(self, progress: Progress, now: float) -> None:
        done, recent = progress.step - self._first, self._recent
        passed = now - recent[0][0]
        epochs = self._recipe.all_epochs
        # While training runs, this thread alone writes the state.
        self.state = self.state | {
            "phase": "stopping" if self._stop.is_set() else "running",
            "step": progress.step,
            "steps": progress.steps,
            "rate": sum(faces for _, faces in list(recent)[1:]) / passed if passed > 0 else None,
            "left": (progress.steps - progress.step) * (now - self._began) / done if done else None,
            "loss": [
                [epochs * (i + 0.5) / POINTS, total / n] for i, (total, n) in sorted(self._sums.items())
            ],
            "history": list(progress.history),
            "by_age": list(progress.by_age),
        }

    def _train(self, watch: Callable[[Progress], bool | None] | None) -> None:
        self._error = None
        self.state = self.state | {"message": ""}
        try:
            self._network.load_state_dict(self._start_weights)
            self._history = fit(self._network, self._store, self._recipe, self._folder, watch)
            # A run that was finished before is not run again, and told no watcher.
            self.state = self.state | {"history": self._history.to_dict("records")}
            ended = len(self._history) == self._recipe.all_epochs
            if points := self._points():
                _ended[self._number] = (self._recipe.target, points)
            self.state = self.state | {"phase": "finished" if ended else "stopped", "left": None}
        except Exception as error:
            # Raised again by wait(); a thread's exception would only end up in a log.
            self._error = error
            self.state = self.state | {"phase": "failed", "message": str(error)}
        finally:
            self._done.set()

    def _points(self) -> list[list[float]]:
        name = self.state["metric"]["name"]
        return [[row["epoch"], row[name]] for row in self.state["history"]]

    def _earlier(self) -> list[list[list[float]]]:
        others = {number: run for number, run in _ended.items() if number != self._number}
        return [points for target, points in others.values() if target == self._recipe.target][-EARLIER:]

    def _heard(self, _widget: object, asked: dict[str, Any], _buffers: list[bytes]) -> None:
        action = {"stop": self.stop, "resume": self.start}.get(asked.get("kind", ""))
        if action:
            action()


def _metric(target: Target) -> dict[str, Any]:
    return {
        "name": target.metric,
        "label": target.metric_label.split(" (")[0],
        "unit": "%" if target.classes else target.unit,
        "higher_is_better": target.higher_is_better,
    }


def _let_go_of_threads() -> None:
    """End the OpenMP threads that wait for this thread's next task; a task starts them again.

    GNU's OpenMP lets threads wait actively only while there are no more of them than cores. With a second
    group, that of training, both would sleep between any two steps, and training take a third longer.
    """
    if sys.platform == "linux":
        pause = getattr(ctypes.CDLL(None), "omp_pause_resource_all", None)
        if pause:
            pause(1)  # 1 is omp_pause_soft


def _in_notebook() -> bool:
    return hasattr(get_ipython(), "kernel")
