"""What does watching cost? Training with the monitor and with fit's own progress bar, turn by turn.

    python -m benchmarks.monitor [--rounds 5]

The monitor sends its state to a kernel's browser side, which is not there; the packing and the thread
are. Each round trains 2 epochs on 1,000 drawn faces both ways; the first round is not counted. On a busy
machine trust the watcher's share of the processor time, in which other programs do not count.
"""

import argparse
import json
import statistics
import tempfile
import time
from types import SimpleNamespace

from ssrlib import Recipe, fit, results
from ssrlib.datasets import synthetic
from ssrlib.training import new_network
from ssrlib.widgets import TrainingMonitor, monitor

RECIPE = Recipe(epochs=2)
ROUNDS = 5


def seconds_plain(store) -> float:
    network = new_network(RECIPE)
    start = time.perf_counter()
    fit(network, store, RECIPE, tempfile.mkdtemp())
    return time.perf_counter() - start


def seconds_watched(store) -> tuple[float, float]:
    """All the time that training took, and the watcher's share of the processor time."""
    watched = TrainingMonitor(new_network(RECIPE), store, RECIPE, tempfile.mkdtemp())
    watched.send_state = lambda key=None: json.dumps(watched.get_state(key))  # packed, for nobody
    watch, spent = watched.watch, []

    def timed(progress):
        start = time.thread_time()
        stop = watch(progress)
        spent.append(time.thread_time() - start)
        return stop

    watched.watch = timed  # type: ignore[method-assign]  # in its place, and timed
    start, worked = time.perf_counter(), time.process_time()
    watched.start().wait()
    return time.perf_counter() - start, sum(spent) / (time.process_time() - worked)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    results.check_committed(trial=rounds < ROUNDS)
    # As in a notebook, but without one.
    vars(monitor).update(
        get_ipython=lambda: SimpleNamespace(kernel=None),
        display=lambda shown, display_id: SimpleNamespace(update=lambda shown: None),
    )
    with tempfile.TemporaryDirectory() as folder:
        store = synthetic.store(1000, seed=0, path=f"{folder}/drawn")
        turns = [(seconds_plain(store), *seconds_watched(store)) for _ in range(rounds + 1)][1:]
    measured = {
        "seconds with a progress bar": statistics.median(plain for plain, _, _ in turns),
        "seconds with the monitor": statistics.median(watched for _, watched, _ in turns),
        "ratio, median of turns": statistics.median(watched / plain for plain, watched, _ in turns),
        "the watcher's share of the processor time": statistics.median(share for _, _, share in turns),
        "rounds": rounds,
    }
    for name, value in measured.items():
        print(f"{value:8.4f}  {name}")
    results.record(
        "book/results/benchmark-monitor.json", measured, weights=(), data="1,000 drawn faces, seed 0", seed=0
    )


if __name__ == "__main__":
    main()
