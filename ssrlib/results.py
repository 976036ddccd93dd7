"""The book's published results: JSON files that say which command, code, weights and machine made them."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssrlib.files import atomic_write

if TYPE_CHECKING:
    from ssrlib.store import FaceStore

CHECKOUT = Path(__file__).resolve().parents[1]
UNKNOWN = "unknown"
# Where the checkout was when the running script began: somebody may commit before it ends.
_began = ""
_trial = False


def check_committed(trial: bool = False) -> None:
    """End a script that is going to record a result, if the result's commit would not tell its code.

    Call it first, before an hour of computing. It looks at the package, and at the running script with
    everything that it has imported. Who wants to record all the same says why in the environment variable
    UNCOMMITTED, and the result will say so, too. Nor does it begin where there is no place for results.

    A trial, with fewer faces or rounds than usual, may begin anywhere, and `record` writes nothing then.
    """
    global _began, _trial
    _began, _trial = commit(), trial
    if trial:
        return
    if not Path("book/results").is_dir():
        sys.exit("error: there is no folder book/results here, where results go: run this in the checkout")
    changed = _uncommitted() if _began != UNKNOWN else ["all of this folder, whose commit git does not tell"]
    if changed and not os.environ.get("UNCOMMITTED"):
        sys.exit(
            f"error: {', '.join(changed)}: not committed, so nobody could get this result again; "
            "commit first, or set UNCOMMITTED to the reason why not, and the result will tell it"
        )


def record(
    path: str | Path,
    metrics: dict[str, Any] | list[dict[str, Any]],
    *,
    weights: Sequence[Path],
    stores: Sequence[FaceStore] = (),
    **origin: Any,
) -> None:
    """Write metrics to a JSON file, with what is needed to get them again.

    That is the command, the commit, the day and the machine, and the checksums of weights and store. What
    is not committed of the code that ran is listed, too: nothing computed is lost. After a trial, nothing is
    written.

    Args:
        path: the file to write.
        metrics: what was measured.
        weights: the weights files that it was measured with; none, say so with `()`.
        stores: the prepared stores whose faces were read.
        origin: what else matters, such as the data in words and the seeds.
    """
    if _trial:
        print(f"a trial, with less than usual: {path} stays as it is")
        return
    if weights:
        from ssrlib.weights import weights_sha256  # it needs PyTorch, which reading results does not

        origin["weights"] = _by_name(weights, map(weights_sha256, weights))
    else:
        origin["weights"] = {}
    if stores:
        origin["store"] = _by_name([store.path.resolve() for store in stores], map(_checksums, stores))
    origin |= {
        "command": shlex.join(["python", *map(_plain, sys.orig_argv[1:])]),
        "commit": _began or commit(),
        "date": date.today().isoformat(),
        "machine": machine(),
    }
    if changed := _uncommitted():
        origin["uncommitted"] = {"files": changed, "why": os.environ.get("UNCOMMITTED", "")}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({"metrics": metrics, "origin": origin}, indent=2) + "\n")


def _by_name(paths: Sequence[Path], checksums: Iterable[Any]) -> dict[str, Any]:
    """Checksums by the last part of each path; where two have the same, it begins with a number."""
    names = [Path(path).name for path in paths]
    unlike = [name if names.count(name) == 1 else f"{i} {name}" for i, name in enumerate(names, start=1)]
    return dict(zip(unlike, checksums, strict=True))


def _checksums(store: FaceStore) -> dict[str, str]:
    return {name: store.info["sha256"][name] for name in ("faces.npy", "rows.parquet")}


def commit() -> str:
    """Return the short name of the commit that the checkout is at; "unknown" without one."""
    return _git("rev-parse", "--short", "HEAD").strip() or UNKNOWN


def machine() -> str:
    """Return what this machine is, in one line: cores, processor, instruction set, GPU, PyTorch.

    Two processors of one name can differ in their instructions, and int8 and bfloat16 hang on those. The
    GPU and the instructions are named where PyTorch runs.
    """
    parts = [f"{os.cpu_count()} cores", processor(), platform.machine()]
    torch: Any = sys.modules.get("torch")
    if torch:
        parts.append(torch.backends.cpu.get_cpu_capability())
        parts += [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([*parts, f"torch {_torch()}"])


def processor() -> str:
    """Return the name of this machine's processor, as far as it tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def _torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "missing"


def _uncommitted() -> list[str]:
    """Files of the package, and imported ones, that are not what the commit holds; weights have checksums."""
    paths = ["ssrlib", ":(exclude)ssrlib/pretrained"]
    loaded = {Path(getattr(module, "__file__", None) or "").resolve() for module in [*sys.modules.values()]}
    for path in sorted(path for path in loaded if path.is_file() and path.is_relative_to(CHECKOUT)):
        inside = path.relative_to(CHECKOUT)
        if not inside.parts[0].startswith("."):  # a virtual environment
            paths.append(str(inside))
    lines = _git("status", "--porcelain", "--untracked-files=all", "--", *paths).splitlines()
    since = _git("diff", "--name-only", _began, "HEAD", "--", *paths).splitlines() if _began else []
    return sorted({*(line[3:] for line in lines), *since})


def _git(*arguments: str) -> str:
    """What git says about the checkout that runs; nothing where the package was installed without one."""
    if not (CHECKOUT / ".git").exists() or not shutil.which("git"):
        return ""
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout


def _plain(word: str) -> str:
    """A word of a command without the machine's folders: of a path outside the checkout, its last part."""
    head, sign, tail = word.rpartition("=")
    path = Path(tail)
    if not path.is_absolute() and ".." not in path.parts:
        return word
    path = Path(os.path.abspath(path))
    path = path.parent.resolve() / path.name  # a link keeps its own name
    inside = path.is_relative_to(CHECKOUT)
    return head + sign + (str(path.relative_to(CHECKOUT)) if inside else path.name)


def load(name: str) -> dict[str, Any]:
    """Return one of the book's results, `book/results/NAME.json`, as `record` wrote it.

    It is found from any working folder: in the checkout, or in the installed package, which carries it.

    >>> sorted(load("age-test"))
    ['metrics', 'origin']

    Raises:
        FileNotFoundError: there is no result of this name; the message lists those that there are.
    """
    folder = _published()
    if not (folder / f"{name}.json").is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise FileNotFoundError(f"the book has no result {name!r}; it has {known}")
    result: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return result


def names(pattern: str) -> list[str]:
    """Return the names of the book's results that fit a pattern, as `load` takes them.

    >>> names("age-t*")
    ['age-test']
    """
    return sorted(path.stem for path in _published().glob(f"{pattern}.json"))


def _published() -> Path:
    package = Path(__file__).parent
    checkout, installed = package.parent / "book" / "results", package / "published"
    return installed if installed.is_dir() else checkout


def load_evaluation(path: str | Path) -> dict[str, Any]:
    """Return the metrics of `metrics.evaluate` that `record` wrote to a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is another one.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of metrics")
    try:
        metrics: dict[str, Any] = json.loads(Path(path).read_text())["metrics"]
        if {"target", "split", "groups"} <= metrics.keys():
            return metrics
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        pass
    raise ValueError(f"{path}: not the metrics that `python -m ssrlib evaluate --out` writes")
