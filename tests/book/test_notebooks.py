"""The chapters as JupyterLab and a class get them."""

import re

import nbformat
import pytest

from tools.site import notebooks
from tools.site.notebooks import ANSWER, BOOK, QUESTION, chapter

CHAPTERS = sorted([*BOOK.glob("[0-9]*.ipynb"), *BOOK.glob("[0-9]*.md")])
HEADING = re.compile(r"(?:\(\S+\)=\n)?(#+) ")
FOLDED = "jp-MarkdownHeadingCollapsed"


def written(path, answered: bool = True) -> list:
    notebook = chapter(notebooks.read(path), path.name, answered)
    nbformat.validate(notebook)
    return notebook.cells


def exercises(path) -> int:
    return path.read_text().count(":::{exercise}")


def text_of(cells) -> str:
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def is_check(cell) -> bool:
    return "check" in cell.metadata.get("tags", [])


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_are_folded_and_nothing_else(path):
    cells = written(path)
    folded, hidden = 0, []
    for cell in cells:
        heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
        if folded and not (heading and len(heading[1]) <= folded):
            hidden.append(cell)
        elif heading:
            folded = len(heading[1]) if cell.metadata.get(FOLDED) else 0
    named = sum(cell.source == "#### Solution" for cell in cells)
    assert named == exercises(path) == sum(cell.source == ANSWER for cell in cells) >= 2
    asked = [cell.source for cell in written(path, answered=False) if not is_check(cell)]
    shown = [cell.source for cell in cells if cell not in hidden and cell.source != "#### Solution"]
    assert [QUESTION.sub(r"1. \1", source) for source in shown] == asked


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_for_a_class_ask_and_do_not_tell(path):
    cells = written(path, answered=False)
    text = text_of(cells)
    assert text.count("### Exercise") == exercises(path) == sum(cell.source == ANSWER for cell in cells)
    assert "solution" not in text
    assert not any(cell.outputs for cell in cells if cell.cell_type == "code")
    whole = notebooks.read(path).cells
    questions = QUESTION.findall(text_of(whole))
    assert len(questions) == 5
    assert [line[3:] for line in text.splitlines() if line[3:] in questions] == [
        notebooks.linked(question, path.name) for question in questions
    ]
    assert ":class: dropdown" not in text
    checks = [cell.source for cell in whole if is_check(cell)]
    assert [cell.source for cell in cells if is_check(cell)] == checks
    for part in ("## What to remember", "## Read more"):
        assert part in text


@pytest.mark.parametrize("answered", [True, False])
def test_jupyterlab_meets_no_citation_or_reference_that_it_cannot_follow(answered):
    pages = notebooks.pages(answered)
    for name, text in pages.items():
        if name.endswith(".ipynb"):
            text = text_of(nbformat.reads(text, 4).cells)
        assert re.findall(r"\{(?:cite:.|numref|ref|term)\}`[^`]*`|:::\{(?:solution|exercise)", text) == []
        links = re.findall(r"\]\(([^)#:\s]+)\)", re.sub(r"```.*?^```", "", text, flags=re.S | re.M))
        here = set(notebooks.LABEL.findall(text))
        known = {*pages, *here, "images/demo.webp"}
        assert [link for link in links if link not in known] == []
        assert set(re.findall(r"\{eq\}`([^`]+)`", text)) <= set(notebooks.EQUATION.findall(text))
    assert "Yang et al., 2018" in pages["04-soft-stagewise-regression.ipynb"]
    assert "[Exercise 17.1](17-using-it-well.ipynb)" in pages["teaching.md"]
    assert "compact soft stagewise regression" in pages["references.md"]


def test_the_chapter_without_code_is_a_notebook_with_a_cell_for_each_section():
    cells = nbformat.reads(notebooks.pages()["17-using-it-well.ipynb"], 4).cells
    assert [cell.source for cell in cells if cell.cell_type == "code"] == [ANSWER] * 2
    starts = [HEADING.match(cell.source) for cell in cells if "\n## " in f"\n{cell.source}"]
    assert [len(start[1]) for start in starts] == [2] * len(starts)
    text = text_of(cells)
    assert "### Exercise 17.1: Predict" in text
    assert "([European Union, 2016](references.md))" in text
    assert "[Using it well](17-using-it-well.ipynb)" in notebooks.pages()["start.md"]


def test_what_a_reader_has_changed_stays(tmp_path, capsys):
    notebooks.main(tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert {"start.md", "glossary.md", *(f"{path.stem}.ipynb" for path in CHAPTERS)} <= set(files)
    first, second, *_ = (tmp_path / path.name for path in CHAPTERS)
    book = second.read_text()
    first.write_text("my notes")
    second.unlink()
    notebooks.main(tmp_path)
    assert capsys.readouterr().out == ""
    assert first.read_text() == "my notes"
    assert second.read_text() == book
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_a_newer_book_replaces_what_is_unchanged_and_tells_about_the_rest(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "pages", lambda: {"one.md": "old", "two.md": "old"})
    notebooks.main(tmp_path)
    (tmp_path / "one.md").write_text("mine")
    monkeypatch.setattr(notebooks, "pages", lambda: {"one.md": "new", "two.md": "new"})
    notebooks.main(tmp_path)
    assert [(tmp_path / name).read_text() for name in ("one.md", "two.md")] == ["mine", "new"]
    said = capsys.readouterr().out
    assert "one.md has changes of yours" in said
    assert "two.md" not in said


def test_a_page_that_the_book_no_longer_has_goes_if_it_is_unchanged(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "pages", lambda: {"one.md": "old", "two.md": "old", "three.md": "old"})
    notebooks.main(tmp_path)
    (tmp_path / "one.md").write_text("mine")
    (tmp_path / "three.md").unlink()
    monkeypatch.setattr(notebooks, "pages", dict)
    notebooks.main(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.md")) == ["one.md"]
    assert "two.md" not in capsys.readouterr().out


def test_without_memory_nothing_is_said_of_pages_that_are_as_they_should_be(tmp_path, capsys):
    notebooks.main(tmp_path)
    (tmp_path / ".written.json").unlink()
    notebooks.main(tmp_path)
    assert capsys.readouterr().out == ""
