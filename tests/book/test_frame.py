"""The parts of the project that must keep in step with one another."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from pybtex.database import parse_file

from benchmarks.notebooks import compared
from ssrlib import results, weights
from tools.site import architecture
from tools.site.notebooks import QUESTION
from tools.site.tidy import tidy
from tools.weights import cards

ROOT = Path(__file__).parents[2]
WIDGET = "application/vnd.jupyter.widget-view+json"
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
TEXTS = sorted(path for folder in ("book/text", "book") for path in (ROOT / folder).glob("[0-9]*.md"))


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_notebook_and_text_say_the_same(notebook):
    pair = [jupytext.read(path) for path in (notebook, notebook.parent / "text" / f"{notebook.stem}.md")]
    cells = [
        [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in chapter.cells]
        for chapter in pair
    ]
    assert cells[0] == cells[1], "run `make notebooks`"


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_notebooks_are_run_from_top_to_bottom_and_without_errors(notebook):
    code = [cell for cell in jupytext.read(notebook).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make notebooks`"
    outputs = [output.output_type for cell in code for output in cell.outputs]
    assert "error" not in outputs
    assert "display_data" in outputs or "execute_result" in outputs
    assert max(len(cell.source.splitlines()) for cell in code) <= 15


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_have_all_their_parts(notebook):
    text = notebook.with_suffix("").name
    text = (ROOT / "book" / "text" / f"{text}.md").read_text()
    for part in (":::{admonition} You will learn", "## A place to play", "## Try it yourself"):
        assert part in text
    for part in ("## What to remember", "## Read more"):
        assert part in text
    exercises = re.findall(r"^:::\{exercise\}.*\n:label: (\S+)", text, re.M)
    assert 2 <= len(exercises) <= 4
    assert exercises == re.findall(r"^:::\{solution-start\} (\S+)\n:class: dropdown", text, re.M)
    assert text.count(":::{solution-end}") == len(exercises)
    figures, captions, alts = (text.count(f"{word}:") for word in ("  figure", "    caption", "    alt"))
    assert figures == captions == alts >= 3


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_exercises_have_a_grade_and_questions_a_folded_answer(text):
    text = text.read_text()
    grades = re.findall(r"^:::\{exercise\}(?: (\w+))?$", text, re.M)
    assert set(grades) <= {"Predict", "Derive", "Build", "Project"}
    asked = re.search(r"^## Questions\n(.+?)^## What to remember$", text, re.M | re.S)[1]
    assert len(QUESTION.findall(asked)) == asked.count(":::{") == 5
    assert len(QUESTION.findall(text)) == 5


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_checks_stand_in_solutions_and_say_what_is_wrong(notebook):
    for cell in nbformat.read(notebook, 4).cells:
        if "check" in cell.metadata.get("tags", []):
            assert cell.metadata["jupyter"]["source_hidden"], "a check belongs in a solution"
            assert all(isinstance(line, ast.Assert) and line.msg for line in ast.parse(cell.source).body)


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_widgets_work_on_pages_with_no_kernel_and_no_network(notebook):
    outputs = [output for cell in nbformat.read(notebook, 4).cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if WIDGET in output.get("data", {})] == [], (
        "use ssrlib.widgets.Playground instead of ipywidgets' sliders, and remove-output for progress bars"
    )


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_notebooks_keep_nothing_that_changes_by_itself(notebook):
    assert nbformat.writes(tidy(nbformat.read(notebook, 4))) + "\n" == notebook.read_text(), (
        "run `python -m tools.site.tidy book/*.ipynb`"
    )


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_code_of_solutions_is_folded_in_jupyterlab(notebook):
    folded, in_solution = [], False
    for cell in nbformat.read(notebook, 4).cells:
        if cell.cell_type == "code":
            hidden = cell.metadata.get("jupyter", {})
            assert bool(hidden.get("source_hidden")) == bool(hidden.get("outputs_hidden")) == in_solution, (
                "run `make notebooks`"
            )
            folded.append(in_solution)
        elif "{solution-" in cell.source:
            in_solution = cell.source.rindex("{solution-") == cell.source.rfind("{solution-start}")
    assert sum(folded) >= 2


def test_most_cells_that_print_are_compared():
    shares = compared(CHAPTERS)
    printed, kept = (sum(share[name] for share in shares.values()) for name in ("print", "compared"))
    assert printed > 100
    assert kept / printed >= 0.8, shares


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_code_does_not_depend_on_the_working_folder(notebook):
    code = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    nodes = [node for source in code for node in ast.walk(ast.parse(source))]
    named = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    paths = [
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("Path", "open", "read_csv", "pd.read_csv", "glob.glob")
        and (not node.args or isinstance(node.args[0], ast.Constant | ast.JoinedStr))
    ]
    assert paths == [], "read the book's results with ssrlib.results.load(NAME)"
    folders = (ROOT, ROOT / "book")
    short = [name for name in named if 0 < len(name) < 200]
    assert [name for name in short if any((folder / name).is_file() for folder in folders)] == []


def test_pages_do_not_ask_for_a_widget_manager():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert ["html", WIDGET, None] in config["nb_mime_priority_overrides"]
    assert config["nb_ipywidgets_js"] == {}


def test_labels_are_given_once_in_the_whole_book():
    texts = [path.read_text() for path in (ROOT / "book" / "text").glob("*.md")]
    labels = [label for text in texts for label in re.findall(r"^:label: (\S+)|^    name: (\S+)", text, re.M)]
    assert len(labels) > 50
    assert sorted(labels) == sorted(set(labels))


def test_the_start_page_in_jupyterlab_lists_every_chapter_and_its_question():
    listed = re.findall(
        r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (.+) \|$", (ROOT / "book/start.md").read_text(), re.M
    )
    table = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    files = [page["file"] for part in table if part.get("numbered") for page in part["chapters"]]
    expected = []
    for number, file in enumerate(files, start=1):
        path = next(ROOT.glob(f"{file}.*"))
        text = nbformat.read(path, 4).cells[0].source if path.suffix == ".ipynb" else path.read_text()
        title = re.search(r"^# (.+)", text, re.M)[1]
        question = re.search(r"^\*([^*]+)\*$", text, re.M)[1].replace("\n", " ")
        expected.append((str(number), title, path.name, question))
    assert listed == expected


def test_every_citation_is_in_the_bibliography():
    known = set(parse_file(ROOT / "book" / "references.bib").entries)
    texts = [path.read_text() for path in (ROOT / "book").rglob("*.md")]
    cited = {
        key for text in texts for keys in re.findall(r"{cite:[pt]}`([^`]+)`", text) for key in keys.split(",")
    }
    assert cited
    assert cited <= known


def test_every_chapter_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [Path(entry["file"]).name for part in toc["parts"] for entry in part["chapters"]]
    pages = {path.stem for path in (ROOT / "book").glob("[0-9]*") if path.suffix in (".ipynb", ".md")}
    assert [name for name in listed if name[0].isdigit()] == sorted(pages)


def test_lock_pins_everything_that_is_required():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    required = project["dependencies"] + [requirement for extra in extras for requirement in extra]
    pinned = re.findall(r"^([\w.-]+)==[\w.!]+$", (ROOT / "requirements.lock").read_text(), re.M)
    assert len(pinned) == len((ROOT / "requirements.lock").read_text().splitlines())
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    assert {re.match(r"[\w-]+", requirement)[0].lower() for requirement in required} <= names


def test_readme_figures_come_from_results():
    age, gender = (
        json.loads((ROOT / "book" / "results" / f"{target}-test.json").read_text())["metrics"]
        for target in ("age", "gender")
    )
    away = json.loads((ROOT / "book" / "results" / "away.json").read_text())["metrics"]
    found = {(row["target"], row["network"], row["source"]): row for row in away}
    rows = [f"mean absolute error **{age['mae']:.2f} years**, {age['ca5']:.0%} within 5 years"]
    for source, name in {"aaf": "All-Age-Faces", "appa_real": "APPA-REAL"}.items():
        here, before = found["age", "built in", source], found["age", "UTKFace alone", source]
        rows.append(
            f"| age, {name} | {here['faces']:,} | **{here['mae']:.2f} years** | {before['mae']:.2f} years |"
        )
    for source, name in {"utkface": "UTKFace", "aaf": "All-Age-Faces"}.items():
        here, before = found["gender", "built in", source], found["gender", "UTKFace alone", source]
        row = f"{here['faces']:,} | accuracy **{here['accuracy']:.1%}** | {before['accuracy']:.1%} |"
        rows.append(f"| gender, {name} | {row}")
    rows.append(f"always answers {age['constant']['guess']:.0f} years")
    rows.append(f"{age['constant']['mae']:.2f} years on UTKFace")
    rows.append(f"{gender['constant']['accuracy']:.1%} there")
    trunks, copies = (results.load(name)["metrics"] for name in ("trunks", "duplicates"))
    (plain,) = (row for row in trunks if row["network"].startswith("plain") and row["split"] == "test")
    rows.append(f"a plain stack of convolutions is off by {plain['mae']:.2f} years")
    off = {row["source"]: f"{row['mae']:.2f}" for row in away if row["network"] == "without it"}
    rows.append(f"{off['aaf']} years on the third if that is All-Age-Faces")
    rows.append(f"{off['appa_real']} if it is APPA-REAL, and {off['utkface']} if it is UTKFace")
    inside = {(row["network"], row["source"]): f"{row['coverage']:.0%}" for row in away if "coverage" in row}
    home, out = ([inside[name, data] for data in off] for name in ("built in", "without it"))
    rows.append(
        "they hold {2} of UTKFace's labels, {0} of All-Age-Faces' and {1} of APPA-REAL's".format(*home)
    )
    rows.append("the other two asks for, hold {2}, {0} and {1} of that one's labels".format(*out))
    tests = [kept["test"] for kept in copies.values()]
    copied, faces = (sum(test[name] for test in tests) for name in ("with a copy in train", "faces"))
    rows.append(f"{copied} of these {faces:,} faces have a copy in train")
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert [row for row in rows if row not in readme] == []


@pytest.mark.parametrize("target", ["age", "gender"])
def test_built_in_weights_and_results_tell_the_same_story(target):
    measured = json.loads((ROOT / "book" / "results" / f"{target}-test.json").read_text())["metrics"]
    card = weights.read_card(weights.pretrained(target))
    assert {name: measured[name] for name in card["test"]} == card["test"]


def test_cards_and_datasheet_say_what_the_weights_and_results_say():
    pages = cards.pages()
    assert len(pages) == 4
    for name, text in pages.items():
        assert (ROOT / "book" / name).read_text() == text, "run `python -m tools.weights.cards`"


def test_the_map_of_the_package_shows_its_imports():
    assert architecture.PAGE.read_text() == architecture.page(), "run `python -m tools.site.architecture`"
    graph = architecture.imports()
    assert {"network", "targets", "training", "widgets"} <= graph.keys()
    assert graph["network"] == graph["targets"] == set()  # targets names networks in its types alone
    assert [
        room
        for room in graph
        if f"{room}.py" not in architecture.PAGE.read_text() and room not in ("datasets", "widgets")
    ] == []


def test_make_alone_tells_what_each_public_target_does():
    targets = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    shown = subprocess.check_output(["make", "--no-print-directory"], cwd=ROOT, text=True)
    told = dict(re.findall(r"^make (\S+) +(\S.*)$", shown, re.MULTILINE))
    assert set(told) == {*targets, "weights"} - {"help", "browsers"}
