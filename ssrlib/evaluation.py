"""How good a network is: its predictions, and the figures that sum them up."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from ssrlib.store import FaceStore

BATCH = 512


def predict(network: nn.Module, faces: np.ndarray) -> np.ndarray:
    """Return a network's N values for N faces (uint8, N x 64 x 64 x 3, RGB), in float32.

    The network is switched to inference for it, and back again if it was training.

    >>> from ssrlib.network import SSRNet
    >>> predict(SSRNet(), np.zeros((2, 64, 64, 3), np.uint8)).shape
    (2,)
    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    values = []
    with torch.inference_mode():
        for start in range(0, len(faces), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(faces[start : start + BATCH]))
            values.append(network(batch.permute(0, 3, 1, 2).to(device)).float().cpu())
    network.train(was_training)
    return torch.cat(values).numpy() if values else np.empty(0, np.float32)


def targets(rows: pd.DataFrame, target: str) -> np.ndarray:
    """Return what a network should answer for each row, as float32, NaN where it is unknown.

    That is the age in years, or for gender 1 for male and 0 for female.

    >>> targets(pd.DataFrame({"gender": ["male", "female", None]}), "gender")
    array([ 1.,  0., nan], dtype=float32)
    """
    if target not in rows:
        raise ValueError(f"this store has no column {target!r}")
    values = rows[target] if target == "age" else rows[target].map({"female": 0.0, "male": 1.0})
    return values.to_numpy(np.float32, na_value=np.nan)


def score(values: np.ndarray, truth: np.ndarray, target: str) -> dict[str, float]:
    """Return the figures of merit, leaving out what has no label.

    For age: `mae`, the mean absolute error in years, and `ca5`, the share of errors of at most 5
    years (CA(5) in the paper). For gender: `accuracy`, with the border at 0.5, and `mae`.

    >>> score(np.array([20.0, 31.0]), np.array([22.0, 40.0]), "age")
    {'mae': 5.5, 'ca5': 0.5}
    """
    known = ~np.isnan(truth)
    if not known.any():
        raise ValueError(f"no face here has a known {target}")
    values, truth = values[known], truth[known]
    errors = np.abs(values - truth)
    if target == "age":
        return {"mae": float(errors.mean()), "ca5": float((errors <= 5).mean())}
    return {"mae": float(errors.mean()), "accuracy": float(((values > 0.5) == (truth > 0.5)).mean())}


def measure(network: nn.Module, store: FaceStore, target: str, split: str) -> dict:
    """Return all figures of a network on one split of a store, ready for JSON.

    They are those of `score` and `constant_guess`, and for age those of `errors_by_age`.
    """
    faces, rows = store.split(split)
    values, truth = predict(network, faces), targets(rows, target)
    figures = {"target": target, "split": split, "faces": len(faces)} | score(values, truth, target)
    figures["constant"] = constant_guess(store.rows, truth, target)
    if target == "age":
        figures["by_age"] = errors_by_age(values, truth)
    return figures


def constant_guess(rows: pd.DataFrame, truth: np.ndarray, target: str) -> dict:
    """Return the best answer that never looks at a face, and its `score` on `truth`.

    That is the median age of a store's train split, or its more frequent gender.
    """
    train = rows.loc[rows["split"] == "train", target]
    guess = float(train.median()) if target == "age" else train.mode()[0]
    value = guess if target == "age" else float(guess == "male")
    return {"guess": guess} | score(np.full_like(truth, value), truth, target)


def errors_by_age(values: np.ndarray, truth: np.ndarray, step: int = 10) -> list[dict]:
    """Return each age group's number of faces, mean absolute error and mean error, in years.

    The mean error is above 0 where the network guesses too old.

    >>> for group in errors_by_age(np.array([12.0, 25]), np.array([10.0, 29])):
    ...     print(group)
    {'ages': '10-19', 'faces': 1, 'mae': 2.0, 'bias': 2.0}
    {'ages': '20-29', 'faces': 1, 'mae': 4.0, 'bias': -4.0}
    """
    groups = []
    for start in range(0, int(np.nanmax(truth)) + 1, step):
        errors = (values - truth)[(truth >= start) & (truth < start + step)]
        if len(errors):
            name = f"{start}-{start + step - 1}"
            figures = {"mae": float(np.abs(errors).mean()), "bias": float(errors.mean())}
            groups.append({"ages": name, "faces": len(errors)} | figures)
    return groups


def record(path: str | Path, figures: dict, **origin) -> None:
    """Write figures to a JSON file, with what is needed to get them again.

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
    path.write_text(json.dumps({"figures": figures, "origin": origin}, indent=2) + "\n")
