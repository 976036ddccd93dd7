"""How long each chapter takes to run from top to bottom, and how many of its outputs `make test` compares.

    python -m benchmarks.notebooks

They run one after the other, each in a kernel of its own and in an empty folder. "Processor
seconds" do not count the waiting for other programs. Writes book/results/notebooks.json.
"""

import resource
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from ssrlib import results, weights

BOOK = Path(__file__).parents[1] / "book"


def processor() -> float:
    """Return the processor seconds of the kernels that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(path: Path) -> dict[str, float]:
    """Execute a notebook in an empty folder, and return the seconds that took."""
    notebook, before = nbformat.read(path, 4), processor()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}}).execute()
        seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 1), "processor seconds": round(processor() - before, 1)}


def prints(output: dict) -> bool:
    """Whether an output has words or numbers, and is not a figure alone."""
    return not any(kind.startswith("image/") for kind in output.get("data", {}))


def compared(paths: list[Path]) -> dict[str, dict]:
    """Return, for each notebook, how many cells print and how many of those nbval compares."""
    shares = {}
    for path in paths:
        cells = [cell for cell in nbformat.read(path, 4).cells if any(map(prints, cell.get("outputs", [])))]
        kept = [cell for cell in cells if "nbval-ignore-output" not in cell.metadata.get("tags", [])]
        shares[path.stem] = {"print": len(cells), "compared": len(kept)}
    return shares


if __name__ == "__main__":
    results.check_committed()
    paths = sorted(BOOK.glob("[0-9]*.ipynb"))
    chapters = compared(paths)
    for path in paths:
        chapters[path.stem] = run(path) | chapters[path.stem]
        print(path.stem, chapters[path.stem], flush=True)
    total = {
        name: sum(chapter[name] for chapter in chapters.values()) for name in ("seconds", "print", "compared")
    }
    share = total["compared"] / total["print"]
    print(f"{total['seconds']:.0f} s in all; {share:.0%} of what they print is compared")
    total = {name: round(value, 1) for name, value in total.items()} | {"share compared": round(share, 3)}
    measured = {"chapters": chapters, "total": total}
    place = BOOK / "results" / "notebooks.json"
    results.record(place, measured, weights=weights.built_in(), data="the book's notebooks")
