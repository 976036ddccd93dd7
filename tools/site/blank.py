"""The chapters for a class: without outputs and answers, and with an empty cell after each exercise.

    python -m tools.site.blank

Writes them to exercises/, which is made anew: what learners wrote there is kept under another name first.
`make reset` does it.
"""

import re
import shutil
from datetime import datetime
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
ANSWER = "# Your answer\n"
MARK = re.compile(r"^(:::\{solution-(?:start|end)\}.*?^:::)$", re.M | re.S)


def blank(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without outputs, and an empty cell in the place of each answer."""
    cells: list[nbformat.NotebookNode] = []
    answering = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if not answering:
                tags = {"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {}
                cells.append(nbformat.v4.new_code_cell(cell.source, metadata=tags))
            continue
        for piece in MARK.split(cell.source):
            if MARK.match(piece):
                answering = "{solution-start}" in piece
                if answering:
                    cells.append(nbformat.v4.new_code_cell(ANSWER))
            elif piece.strip() and not answering:
                cells.append(nbformat.v4.new_markdown_cell(piece.strip()))
    answerless: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    return answerless


def main() -> None:
    folder = ROOT / "exercises"
    if folder.exists():
        kept = folder.rename(f"{folder}-{datetime.now():%Y-%m-%d-%H%M%S}")
        print(f"what was there is now in {kept.name}")
    shutil.copytree(ROOT / "book" / "images", folder / "images")
    chapters = sorted((ROOT / "book").glob("*.ipynb"))
    for path in chapters:
        nbformat.write(blank(nbformat.read(path, 4)), folder / path.name)
    print(f"{len(chapters)} chapters in {folder}; open them with: .venv/bin/jupyter lab exercises")


if __name__ == "__main__":
    main()
