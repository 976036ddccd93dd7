"""The chapters for a class: without outputs and answers, and with an empty cell after each exercise.

A question stays, as a line to answer. Of a solution only its cells with the tag `check` stay: they tell
learners whether their answer is right.

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
QUESTION = re.compile(r"^:::\{admonition\} ([^\n]+)\n:class: dropdown\n.*?^:::$", re.M | re.S)
MARK = re.compile(r"^(:::\{solution-(?:start|end)\}.*?^:::)$", re.M | re.S)


def blank(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without outputs, an empty cell and its check in the place of each answer."""
    cells: list[nbformat.NotebookNode] = []
    answering = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tags = {"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {}
            if not answering or "check" in tags.get("tags", []):
                cells.append(nbformat.v4.new_code_cell(cell.source, metadata=tags))
            continue
        for piece in MARK.split(QUESTION.sub(r"1. \1", cell.source)):
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
