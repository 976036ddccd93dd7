"""The chapters for JupyterLab, in notebooks/, to run and to change: python -m tools.site.notebooks

JupyterLab knows one notebook at a time. It can follow no citation and no reference to another chapter, shows
no figure's caption, and cannot fold a solution away. So each chapter is written once more, with a link, a
number or a heading in the place of each. Below an exercise is an empty cell, and a solution is folded below a
heading of its own, where it stays folded when all cells are run. The chapter without code becomes a notebook.

What a reader has changed in notebooks/ stays. `make lab` does all this, and opens the folder.
"""

import json
import re
import shutil
import unicodedata
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import jupytext
import nbformat
from pybtex.backends.markdown import Backend
from pybtex.database import Entry, parse_file
from pybtex.style.formatting.plain import Style

ROOT = Path(__file__).parents[2]
BOOK, FOLDER = ROOT / "book", ROOT / "notebooks"
ANSWER = "# Your answer\n"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
FOLDED = {"jp-MarkdownHeadingCollapsed": True}
SITE_ONLY = "index.md"  # JupyterLab has start.md in its place
# These pages become notebooks: a chapter, for its exercises have cells to answer in, and the page with code.
AS_NOTEBOOKS = ("17-using-it-well.md", "try-it.md")
TO_SITE_ONLY = re.compile(r"\[([^]]+)\]\(index\.md\)")

PARTS = re.compile(r"^(:::\{(?:exercise|solution-start|solution-end)\}.*?^:::)$", re.M | re.S)
EXERCISE = re.compile(r":::\{exercise\} ?(.*)\n:label: (\S+)\n(.*)^:::", re.M | re.S)
SECTION = re.compile(r"(?<!\)=\n)^(?=(?:\(\S+\)=\n)?## )", re.M)
# As a page of text has it.
SOLUTION = re.compile(r"^:::\{solution\} (\S+)\n:class: dropdown\n(.*?)^:::$", re.M | re.S)
QUESTION = re.compile(r"^:::\{admonition\} ([^\n]+)\n:class: dropdown\n.*?^:::$", re.M | re.S)
LISTING = re.compile(r"^```\{literalinclude\} \.\./(\S+)\n.*?^:start-at: (.+?)\n.*?^```", re.M | re.S)
ASKED = re.compile(r"^:::\{exercise\}.*\n:label: (\S+)$", re.M)
LABEL = re.compile(r"^\((\S+)\)=$", re.M)
EQUATION = re.compile(r"^```\{math\}\n:label: (\S+)$", re.M)


@dataclass(frozen=True)
class Place:
    """Where a label is: the file, and what the site calls it: a number such as "4.2", or nothing."""

    file: str
    number: str = ""


@cache
def places() -> dict[str, Place]:
    """Return every label of the book: of pages and sections, equations, figures and exercises."""
    found: dict[str, Place] = {}
    for path in sorted([*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")]):
        file, chapter = _written(path.name), path.name.split("-")[0].lstrip("0")
        cells = read(path).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        figures = [
            cell.metadata.mystnb.figure.name for cell in cells if "figure" in cell.metadata.get("mystnb", {})
        ]
        found |= {label: Place(file) for label in LABEL.findall(text)}
        for labels in (EQUATION.findall(text), figures, ASKED.findall(text)):
            numbered = enumerate(labels, start=1)
            found |= {label: Place(file, f"{chapter}.{number}") for number, label in numbered}
    return found


@cache
def papers() -> dict[str, Entry]:
    return dict(parse_file(BOOK / "references.bib").entries)


@cache
def words() -> dict[str, str]:
    """Return what the glossary says about each word, as plain text."""
    entries = re.findall(r"^(\w.*)\n((?:  .+\n)+)", (BOOK / "glossary.md").read_text() + "\n", re.M)
    return {word.lower(): _plain(meaning) for word, meaning in entries}


def _plain(text: str) -> str:
    text = re.sub(r"See\s+\[[^.]*\.\s*$", "", text)
    text = re.sub(r"\[([^]]+)\]\([^)]+\)|\{\w+\}`([^`<]+?)(?: <[^>]+>)?`", r"\1\2", text)
    text = re.sub(r"\\([a-z]+)", lambda letter: unicodedata.lookup(f"GREEK SMALL LETTER {letter[1]}"), text)
    return re.sub(r"\s+", " ", re.sub(r"[`*$]", "", text)).strip().translate({40: "[", 41: "]"})


def authors(key: str) -> str:
    """Return a paper's authors as the site names them: "Yang et al."."""
    names = [" ".join(person.prelast_names + person.last_names) for person in papers()[key].persons["author"]]
    named = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return re.sub("[{}]", "", named)  # which keep a name of several words in one piece


def references() -> str:
    """Return the bibliography as a page."""
    ordered = sorted(papers().values(), key=lambda entry: (authors(entry.key), entry.fields["year"]))
    lines = [entry.text.render(Backend()) for entry in Style().format_entries(ordered)]
    return "# Bibliography\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def linked(text: str, file: str) -> str:
    """Return a page's text with links and numbers that JupyterLab can follow and show."""

    def parenthesis(found: re.Match) -> str:
        cited = (f"{authors(key)}, {papers()[key].fields['year']}" for key in found[1].split(","))
        return f"([{'; '.join(cited)}](references.md))"

    def textual(found: re.Match) -> str:
        cited = (
            f"[{authors(key)} ({papers()[key].fields['year']})](references.md)" for key in found[1].split(",")
        )
        return ", ".join(cited)

    def term(found: re.Match) -> str:
        shown, word = (" ".join(text.split()) for text in (found[1], found[2] or found[1]))
        return f"[{{abbr}}`{shown} ({words()[word.lower()]})`](glossary.md)"

    def elsewhere(found: re.Match) -> str:
        place = places().get(found[2])
        return f"[{found[1]}]({place.file})" if place and place.file != file else found[0]

    def equation(found: re.Match) -> str:
        place = places()[found[1]]
        return found[0] if place.file == file else f"[({place.number})]({place.file})"

    def figure(found: re.Match) -> str:
        place = places()[found[1]]
        return f"Fig. {place.number}" if place.file == file else f"[Fig. {place.number}]({place.file})"

    def exercise(found: re.Match) -> str:
        place = places()[found[1]]
        return f"[Exercise {place.number}]({found[1] if place.file == file else place.file})"

    text = EQUATION.sub(lambda found: f"{found[0]}\n:enumerator: {places()[found[1]].number}", text)
    text = LISTING.sub(r"(`\2` in `\1`)", text)
    text = TO_SITE_ONLY.sub(r"\1 (on the book's site)", text)
    for name in AS_NOTEBOOKS:
        text = text.replace(f"]({name})", f"]({_written(name)})")
    text = re.sub(r"\{cite:p\}`([^`]+)`", parenthesis, text)
    text = re.sub(r"\{cite:t\}`([^`]+)`", textual, text)
    text = re.sub(r"\{term\}`([^`<]+?)(?: <([^>]+)>)?`", term, text)
    text = re.sub(r"\{eq\}`([^`]+)`", equation, text)
    text = re.sub(r"\{numref\}`([^`]+)`", figure, text)
    text = re.sub(r"\{ref\}`(ex-[^`]+)`", exercise, text)
    return re.sub(r"\[([^]]+)\]\(([\w-]+)\)", elsewhere, text)


def read(path: Path) -> nbformat.NotebookNode:
    """Return a page as a notebook; a page of text gets a cell for each section."""
    text = path.read_text()
    if path.suffix == ".ipynb" or "kernelspec:" in text:
        return jupytext.read(path)
    text = SOLUTION.sub(r":::{solution-start} \1\n:::\n\2:::{solution-end}\n:::", text)
    cells = [nbformat.v4.new_markdown_cell(section) for section in SECTION.split(text)]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def chapter(notebook: nbformat.NotebookNode, file: str, answered: bool = True) -> nbformat.NotebookNode:
    """Return a notebook for JupyterLab: with its outputs and solutions, or, for a class, without.

    A class keeps its questions, and of a solution the cells with the tag `check`.
    """
    cells: list[nbformat.NotebookNode] = []
    number, exercise, in_solution = file.split("-")[0].lstrip("0"), 0, False

    def say(text: str, **metadata) -> None:
        cells.append(nbformat.v4.new_markdown_cell(linked(text.strip(), file), metadata=metadata))

    for cell in notebook.cells:
        tags = {"tags": cell.metadata["tags"]} if "tags" in cell.metadata else {}
        if cell.cell_type == "code" and (answered or not in_solution or "check" in tags.get("tags", [])):
            cells.append(nbformat.v4.new_code_cell(cell.source, metadata=tags))
            if answered:
                cells[-1] |= {"outputs": cell.outputs, "execution_count": cell.execution_count}
            if figure := cell.metadata.get("mystnb", {}).get("figure"):
                say(f"**Fig. {places()[figure.name].number}.** {figure.caption}")
        elif cell.cell_type == "markdown":
            text = cell.source if answered else QUESTION.sub(r"1. \1", cell.source)
            for piece in PARTS.split(text):
                if asked := EXERCISE.match(piece):
                    exercise += 1
                    title, label, task = asked.groups()
                    name = f"Exercise {number}.{exercise}" + (f": {title}" if title else "")
                    say(f"({label})=\n### {name}\n\n{task}")
                elif piece.startswith((":::{solution-start}", ":::{solution-end}")):
                    in_solution = "{solution-start}" in piece
                    if in_solution:
                        cells.append(nbformat.v4.new_code_cell(ANSWER))
                    if in_solution and answered:
                        say("#### Solution", **FOLDED)
                elif piece.strip() and (answered or not in_solution):
                    say(piece)
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
    written: nbformat.NotebookNode = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    return written


def pages(answered: bool = True) -> dict[str, str]:
    """Return every page for JupyterLab by its file's name."""
    written = {}
    for path in sorted([*BOOK.glob("*.ipynb"), *(BOOK / name for name in AS_NOTEBOOKS)]):
        name = _written(path.name)
        written[name] = nbformat.writes(chapter(read(path), name, answered)) + "\n"
    for path in sorted(BOOK.glob("*.md")):
        if path.name not in (SITE_ONLY, *AS_NOTEBOOKS):
            written[path.name] = linked(path.read_text(), path.name)
    return written | {"references.md": references()}


def _written(name: str) -> str:
    """Return the name in JupyterLab of a file of the book."""
    return name.replace(".md", ".ipynb") if name in AS_NOTEBOOKS else name


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(exist_ok=True)
    shutil.copytree(BOOK / "images", folder / "images", copy_function=shutil.copyfile, dirs_exist_ok=True)
    memory = folder / ".written.json"  # what was written here: a file that differs has a reader's changes
    before = json.loads(memory.read_text()) if memory.exists() else {}
    written = {name: text.encode() for name, text in pages().items()}
    marks = {name: sha256(here).hexdigest() for name, here in written.items()}
    for name in before.keys() | written.keys():
        path, here, mark = folder / name, written.get(name), marks.get(name)
        found = sha256(path.read_bytes()).hexdigest() if path.exists() else None
        if found == mark:
            pass
        elif found not in (None, before.get(name)):
            if before.get(name) != mark:
                print(f"{path} has changes of yours, and stays. Rename it, and the book's new one comes.")
        elif here:
            path.write_bytes(here)
        else:
            path.unlink()
    memory.write_text(json.dumps(marks, indent=1))


if __name__ == "__main__":
    main()
