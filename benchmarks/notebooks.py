"""How long each chapter takes to run from top to bottom, and how many of its outputs `make test` compares.

    python benchmarks/notebooks.py

They run one after the other, each in a kernel of its own and in an empty folder. Writes
book/results/notebooks.json.
"""

import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from ssrlib import evaluation

BOOK = Path(__file__).parents[1] / "book"


def run(path: Path) -> float:
    """Execute a notebook in an empty folder, and return the seconds that took."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    return time.perf_counter() - start


def compared(paths: list[Path]) -> dict[str, dict]:
    """Return, for each notebook, how many cells have an output and how many of those nbval compares."""
    shares = {}
    for path in paths:
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.get("outputs")]
        kept = [cell for cell in cells if "nbval-ignore-output" not in cell.metadata.get("tags", [])]
        shares[path.stem] = {"print": len(cells), "compared": len(kept)}
    return shares


if __name__ == "__main__":
    paths = sorted(BOOK.glob("[0-9]*.ipynb"))
    chapters = compared(paths)
    for path in paths:
        chapters[path.stem] = {"seconds": round(run(path), 1)} | chapters[path.stem]
        print(path.stem, chapters[path.stem], flush=True)
    total = {
        name: sum(chapter[name] for chapter in chapters.values()) for name in ("seconds", "print", "compared")
    }
    share = total["compared"] / total["print"]
    print(f"{total['seconds']:.0f} s in all; {share:.0%} of the outputs are compared")
    figures = {"chapters": chapters, "total": total | {"share compared": round(share, 3)}}
    evaluation.record(BOOK / "results" / "notebooks.json", figures, data="the book's notebooks")
