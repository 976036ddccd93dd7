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
# The text-only form of an answer, and the two ends of one with code between them.
WHOLE = re.compile(r"^:::\{solution\}.*?^:::\n?", re.M | re.S)
START = re.compile(r"^:::\{solution-start\}.*", re.M | re.S)
END = re.compile(r"\A.*?^:::\{solution-end\}\n:::\n?", re.M | re.S)


def blank(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without outputs, and an empty cell in the place of each answer."""
    cells: list[nbformat.NotebookNode] = []
    answering = False

    def add_text(text: str) -> None:
        if text.strip():
            cells.append(nbformat.v4.new_markdown_cell(text.strip()))

    for cell in notebook.cells:
        if cell.cell_type == "code":
            if not answering:
                metadata = {name: cell.metadata[name] for name in ("tags",) if name in cell.metadata}
                cells.append(nbformat.v4.new_code_cell(cell.source, metadata=metadata))
            continue
        text = cell.source
        if answering and END.search(text):
            text, answering = END.sub("", text), False
        while not answering and (found := WHOLE.search(text) or START.search(text)):
            add_text(text[: found.start()])
            cells.append(nbformat.v4.new_code_cell(ANSWER))
            text = text[found.end() :]
            if found.re is START:
                rest = END.sub("", found.group())
                answering = rest == found.group()
                text = "" if answering else rest
        if not answering:
            add_text(text)
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
