"""What a newcomer reads first: its links lead somewhere, and its commands are those that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from jupyterlab.labapp import LabApp
from nbformat.sign import NotebookNotary
from typer.testing import CliRunner

from ssrlib.__main__ import app
from testing.lab import SETTINGS
from tools.site import open_lab

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "data/README.md"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_with_make_and_with_conda_jupyterlab_opens_alike():
    for folder, given in (("notebooks", []), ("exercises", ["NOTEBOOKS=exercises"])):
        command = ["make", "--no-print-directory", "-n", "lab", *given]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert said.splitlines()[-1].endswith(f"python -m tools.site.open_lab {folder}")
    assert "conda activate ssrnet-book\npython -m tools.site.open_lab\n" in (ROOT / "README.md").read_text()


def test_jupyterlab_writes_the_books_chapters_anew_and_leaves_a_class_its_own(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(LabApp, "launch_instance", lambda _: None)
    monkeypatch.setattr(open_lab.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(open_lab.notebooks, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(open_lab.notebooks, "main", lambda: written.append(1))
    for name in ("notebooks", "exercises"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "01.ipynb").touch()
    open_lab.main(tmp_path / "exercises")
    assert written == []
    open_lab.main(tmp_path / "notebooks")
    assert written == [1]


def test_jupyterlab_opens_trusted_chapters_with_the_books_first_page_and_without_news(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(LabApp, "launch_instance", told.extend)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "own"))
    chapter = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    for name in ("own", "class"):
        (tmp_path / name).mkdir()
    nbformat.write(chapter, tmp_path / "class" / "01.ipynb")
    open_lab.main(tmp_path / "class")
    notary = NotebookNotary(data_dir=str(tmp_path / "own"))
    assert notary.check_signature(nbformat.read(tmp_path / "class" / "01.ipynb", 4))
    assert told[-1] == str(tmp_path / "class")
    assert f"--LabApp.app_settings_dir={SETTINGS}" in told  # which the tests in a browser have, too
    assert "--LabApp.default_url=/lab/tree/start.md" in told
    assert (ROOT / "book" / "start.md").is_file()
    with pytest.raises(SystemExit, match=r"there are no notebooks in .*none: make reset writes exercises"):
        open_lab.main(tmp_path / "none")


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_make_bench_runs_every_benchmark_that_needs_no_data_set():
    told = re.findall(
        r"^    python -m benchmarks\.(\w+)(.*)$",
        "\n".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py")),
        re.M,
    )
    without = {name for name, arguments in told if not re.search("DATA|FOLDER|--store", arguments)}
    said = subprocess.run(
        ["make", "--no-print-directory", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"-m benchmarks\.(\w+)", said)) == without


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([\w-]+):(?!=)", makefile, re.M))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    assert links or name == "data/README.md"
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


@pytest.mark.parametrize("name", PAGES)
def test_files_and_commands_that_pages_name_exist(name):
    text = (ROOT / name).read_text()
    named = re.findall(r"(?<![\w/.])((?:ssrlib|book|tests|tools|benchmarks)/[\w./-]+)", text)
    missing = [path for path in named if not (ROOT / path.rstrip(".")).exists() and "NAME" not in path]
    assert [path for path in missing if not re.search(r"NN-name", path)] == []
    commands = re.findall(r"^(?:make|.*`make) ([a-z][\w-]*)", text, re.M)
    assert set(commands) <= targets((ROOT / "Makefile").read_text() + (ROOT / "weights.mk").read_text())
    assert commands or name not in ("README.md", "CONTRIBUTING.md")


def test_the_commands_of_the_package_that_pages_name_have_these_options():
    text = "".join((ROOT / name).read_text() for name in PAGES).replace("\\\n", " ")
    lines = re.findall(r"-m ssrlib ((?:[a-z-]+ )+)([^`\n#]*)", text)
    assert len(lines) > 10
    for words, rest in lines:
        words = [word for word in words.split() if word not in ("age", "gender")]
        words = words[: 2 if words[0] == "prepare" else 1]
        answer = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "400", "TERM": "dumb"})
        assert answer.exit_code == 0, words
        assert [option for option in re.findall(r"--[a-z-]+", rest) if option not in answer.output] == []


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        *(("github-workflows", workflow) for workflow in WORKFLOWS),
        *(("github-issue-forms", form) for form in FORMS),
        ("citation-file-format", ROOT / "CITATION.cff"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_github_can_read_it(schema, path):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    answer = subprocess.run(check, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_there_is_a_form_for_each_kind_of_issue():
    assert [form.stem for form in FORMS] == ["bug", "chapter", "dataset"]


def test_changelog_and_citation_name_the_packages_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert version in (ROOT / "CHANGELOG.md").read_text()
