"""What a newcomer reads first: its links lead somewhere, and its commands are those that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ssrlib.__main__ import app
from testing.lab import SETTINGS

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "data/README.md"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_jupyterlab_opens_with_the_books_first_page_and_without_news():
    said = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--LabApp.default_url=/lab/tree/start.md notebooks" in said
    assert (ROOT / "book" / "start.md").is_file()
    (settings,) = re.findall(r'--LabApp.app_settings_dir="([^"]+)"', said)
    assert Path(settings) == SETTINGS  # which the tests in a browser have, too
    other = subprocess.run(
        ["make", "-n", "lab", "NOTEBOOKS=exercises"], cwd=ROOT, capture_output=True, text=True
    )
    assert "start.md exercises" in other.stdout
    assert "tools.site.notebooks" not in other.stdout


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
