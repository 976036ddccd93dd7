"""What a training run saves, and how it goes on from there."""

import hashlib
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ssrlib.network import SSRNet
from ssrlib.store import FaceStore

ADVICE = "lower the learning rate or try another seed; what was saved before stays"


def job(network: SSRNet, store: FaceStore, recipe: dict[str, Any], processes: int) -> dict[str, Any]:
    """What two runs must share for one to go on where the other stopped."""
    start = hashlib.sha256(_flat(network).numpy().tobytes())
    return {f"recipe's {name}": value for name, value in recipe.items()} | {
        "network": str(network.settings),
        "starting weights": start.hexdigest()[:12],
        "faces": store.info["sha256"]["faces.npy"][:12],
        "rows": store.info["sha256"]["rows.parquet"][:12],
        "processes": processes,
    }


def resume(
    folder: str | Path | None, job: dict[str, Any], parts: dict[str, Any], fabric: Fabric
) -> dict[str, Any]:
    """Load the state of an unfinished run, if there is one, and return where it stands."""
    path = Path(folder) / "checkpoint.pt" if folder else None
    if not path or not path.is_file():
        return {"step": 0, "total": 0.0, "history": [], "by_age": [], "best": None}
    try:
        state = torch.load(path, map_location=fabric.device, weights_only=True)
        theirs = state["job"]
    except (OSError, RuntimeError, EOFError, KeyError, UnpicklingError) as error:
        raise ValueError(f"{path}: not a checkpoint, or damaged; remove it to start anew") from error
    for name, value in job.items():
        if theirs.get(name) != value:
            raise ValueError(
                f"{path}: of another run, whose {name} is {theirs.get(name)}, not {value}; "
                "choose another folder, or remove it to start anew"
            )
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    run: dict[str, Any] = state["run"]
    return run


def save(folder: Path, job: dict[str, Any], parts: dict[str, Any], run: dict[str, Any], needed: bool) -> None:
    """Write the state beside its place and move it in whole. A full disk ends training only at its end."""
    if not torch.isfinite(_flat(parts["network"])).all():
        raise ValueError(f"step {run['step']}: weights are no longer numbers; {ADVICE}")
    state = {"job": job, "run": run, "parts": {name: part.state_dict() for name, part in parts.items()}}
    partial = folder / "checkpoint.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, partial)
        partial.replace(folder / "checkpoint.pt")
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        if needed:
            raise OSError(f"{folder}: the checkpoint cannot be written ({error})") from error
        warnings.warn(f"{folder}: the checkpoint cannot be written ({error}); going on", stacklevel=3)


def _flat(network: SSRNet) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()]).cpu()
