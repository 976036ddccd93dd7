"""What a training run saves, when it is stopped too, and how it goes on from there."""

import hashlib
import io
import re
import shutil
import signal
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ssrlib import files
from ssrlib.network import FaceNetwork
from ssrlib.store import FaceStore

NEWEST, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
UNREADABLE = ": not a checkpoint, or damaged; remove it to start anew"
RECIPES = "the recipe's"
# How a run differs from another one whose part of a job is not the same: parts of which it has but checksums.
OTHERWISE = {
    "network": "of another network",
    "starting weights": "from other starting weights",
    "faces": "on other faces",
    "rows": "on faces with other labels or splits",
}
# What asks a process to end. Windows has no SIGHUP.
ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
ADVICE = "lower the learning rate or try another seed; what was saved before stays"


class Job(TypedDict):
    """What two runs must share for one to go on where the other stopped.

    `recipe` has the fields of `recipe.Recipe`, `network` the settings as text, `loss` a function's name;
    the others begin the SHA-256 of starting weights, of a store's files, and of the teachers' weights, or
    "none".
    """

    recipe: dict[str, Any]
    network: str
    starting_weights: str
    faces: str
    rows: str
    teachers: str
    loss: str


class Best(TypedDict):
    """The epoch that did best on validation, and the weights it ended with."""

    epoch: int
    weights: dict[str, Tensor]


@dataclass
class Run:
    """Where a run stands.

    `step` counts from its beginning; `total` sums this epoch's losses; `history` has a dict per epoch, and
    `by_age` is `metrics.errors_by_age` at the last validation; `published` is the epoch whose weights were
    last written as the best.
    """

    step: int = 0
    total: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    by_age: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    published: int = 0


def job(
    network: FaceNetwork,
    store: FaceStore,
    recipe: dict[str, Any],
    teachers: Sequence[FaceNetwork],
    loss: Callable[..., object] | None,
) -> Job:
    """Describe a run; without a `loss`, it is the recipe's."""
    start = hashlib.sha256(_flat(network).numpy().tobytes())
    taught = hashlib.sha256(b"".join(_flat(teacher).numpy().tobytes() for teacher in teachers))
    return Job(
        recipe=recipe,
        network=str(network.settings),
        starting_weights=start.hexdigest()[:12],
        faces=store.info["sha256"]["faces.npy"][:12],
        rows=store.info["sha256"]["rows.parquet"][:12],
        teachers=taught.hexdigest()[:12] if teachers else "none",
        loss=_name(loss) if loss else RECIPES,
    )


def _name(loss: Callable[..., object]) -> str:
    """A loss as Python writes it, but for addresses in memory: the next process has others."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(loss))


def _named(job: Job) -> dict[str, Any]:
    """A job's parts by the names that a refusal gives them."""
    parts = {name.replace("_", " "): value for name, value in job.items() if name != "recipe"}
    return {f"recipe's {name}": value for name, value in job["recipe"].items()} | parts


def _otherwise(name: str, theirs: object, ours: object) -> str:
    """In what a run differs from another one, in words.

    >>> _otherwise("faces", "3fe5535f8fa6", "88f96352d3ae"), _otherwise("recipe's batch_size", 32, 64)
    ('on other faces', 'with batch size 32, not 64')
    """
    if name == "teachers":
        taught = "with teachers" if ours == "none" else "with other teachers"
        return "without teachers" if theirs == "none" else taught
    plain = name.removeprefix("recipe's ").replace("_", " ")
    return OTHERWISE.get(name, f"with {plain} {theirs}, not {ours}")


def resume(folder: str | Path | None, job: Job, parts: dict[str, Any], fabric: Fabric) -> Run:
    """Load the state of an unfinished run, if there is one, and return where it stands.

    Raises:
        ValueError: the checkpoint is damaged, of another run, or none at all; or another machine has it, and
            this one does not.
    """
    if folder and fabric.is_global_zero:
        _mend(Path(folder))
    fabric.barrier()
    path = Path(folder) / NEWEST if folder else None
    if not path or not fabric.broadcast(path.is_file()):
        return Run()
    if not path.is_file():
        raise ValueError(f"{path}: the first machine has it, and this one does not; all need the same folder")
    with _readable(path):
        # Each part takes what it needs to its device. On a GPU, Adam would wait for its count of steps.
        # (A tensor would take a word for an index, with a warning of its own; no dict can be made of it.)
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        theirs, run = _named(state["job"]), Run(**state["run"])
    for name, value in _named(job).items():
        if theirs.get(name) != value:
            raise ValueError(
                f"{folder} holds a run {_otherwise(name, theirs.get(name), value)}"
                f"; choose another folder with --out, or remove {folder}, and that run's weights with it"
            )
    with _readable(path):
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
    return run


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (MemoryError, OSError, torch.OutOfMemoryError):  # which say nothing against the file
        raise
    except Exception as error:  # a foreign file can raise almost anything
        raise ValueError(f"{path}{UNREADABLE}") from error


def _mend(folder: Path) -> None:
    """Put the checkpoint before it in the place of a damaged one."""
    newest, previous = folder / NEWEST, folder / PREVIOUS
    if newest.is_file() and not _whole(newest):
        if not _whole(previous):
            raise ValueError(f"{newest}{UNREADABLE}")
        warnings.warn(f"{newest}: damaged; going on from the checkpoint before it", stacklevel=4)
        previous.replace(newest)


def _whole(path: Path) -> bool:
    """Whether every part of a checkpoint has its checksum, which `torch.load` does not look at."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except Exception:  # a damaged file can raise almost anything
        return False


def save(folder: Path, job: Job, parts: dict[str, Any], run: Run) -> None:
    """Write the state to go on from, and keep the one before it.

    Raises:
        ValueError: weights are no longer numbers.
        OSError: the folder cannot be written.
    """
    if not torch.isfinite(_flat(parts["network"])).all():
        raise ValueError(f"step {run.step}: weights are no longer numbers; {ADVICE}")
    state, content = {name: part.state_dict() for name, part in parts.items()}, io.BytesIO()
    torch.save({"job": job, "run": vars(run), "parts": state}, content)
    with files.atomic_write(folder / NEWEST) as partial:
        partial.write_bytes(content.getbuffer())
        if (folder / NEWEST).is_file():
            shutil.copyfile(folder / NEWEST, folder / PREVIOUS)


@contextmanager
def signals_kept() -> Iterator[list[int]]:
    """Collect what asks to end, so that there is time to save; in the end it does what it always does.

    That is Ctrl-C, SIGTERM, and, where a system has it, SIGHUP, which comes when a terminal closes. The
    second one of a kind does so at once. Signals reach the main thread only.
    """
    kept: list[int] = []
    handlers: dict[int, Any] = {}

    def keep(number: int, _: object) -> None:
        kept.append(number)
        signal.signal(number, handlers[number])

    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                handlers[number] = signal.signal(number, keep)
    try:
        yield kept
    finally:
        for taken, handler in handlers.items():
            signal.signal(taken, handler)
    for received in kept:
        signal.raise_signal(received)


def _flat(network: FaceNetwork) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()]).cpu()
