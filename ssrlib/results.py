"""The book's published results: JSON files that say which command, commit, data and machine made them."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch


def record(path: str | Path, metrics: dict, **origin) -> None:
    """Write metrics to a JSON file, with what is needed to get them again.

    That is the command, the commit, the day and the machine, and what `origin` adds: the data, the
    seeds, the weights.
    """
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    origin |= {
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "commit": commit.stdout.strip() or "unknown",
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"metrics": metrics, "origin": origin}, indent=2) + "\n")


def load(name: str) -> dict:
    """Return one of the book's results, `book/results/NAME.json`, as `record` wrote it.

    It is found from any working folder: in the checkout, or in the installed package, which carries it.

    >>> sorted(load("age-test"))
    ['metrics', 'origin']

    Raises:
        FileNotFoundError: there is no result of this name; the message lists those that there are.
    """
    package = Path(__file__).parent
    checkout, installed = package.parent / "book" / "results", package / "published"
    folder = installed if installed.is_dir() else checkout
    if not (folder / f"{name}.json").is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise FileNotFoundError(f"the book has no result {name!r}; it has {known}")
    return json.loads((folder / f"{name}.json").read_text())


def load_evaluation(path: str | Path) -> dict:
    """Return the metrics of `metrics.evaluate` that `record` wrote to a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is another one.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of metrics")
    try:
        metrics = json.loads(Path(path).read_text())["metrics"]
        if {"target", "split", "groups"} <= metrics.keys():
            return metrics
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    raise ValueError(f"{path}: not the metrics that `python -m ssrlib evaluate --out` writes")
