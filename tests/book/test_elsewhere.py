"""A chapter is one file: it runs in any folder, with the package installed and no checkout near."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
CARRIED = ("pretrained/*", "widgets/*.js", "widgets/*.css")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of the package as `pip install .` leaves it."""
    pytest.importorskip("setuptools", minversion="77")
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("ssrlib", "book/results"):
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", site]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True)
    return site / "ssrlib"


def test_package_carries_weights_widgets_and_results(installed):
    wanted = {path.relative_to(ROOT / "ssrlib") for glob in CARRIED for path in (ROOT / "ssrlib").glob(glob)}
    assert len(wanted) > 10
    assert [path for path in wanted if not (installed / path).exists()] == []
    results = sorted(path.name for path in (ROOT / "book" / "results").glob("*.json"))
    assert sorted(path.name for path in (installed / "published").iterdir()) == results


@pytest.mark.notebook
def test_chapter_runs_alone_in_another_folder(installed, tmp_path):
    shutil.copy(ROOT / "book" / "01-photo-to-age.ipynb", tmp_path)
    notebook = nbformat.read(tmp_path / "01-photo-to-age.ipynb", 4)
    where = nbformat.v4.new_code_cell("import ssrlib; print(ssrlib.__file__)")
    notebook.cells.append(where)
    environment = os.environ | {"PYTHONPATH": str(installed.parent)}
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=environment)
    assert where.outputs[0].text.strip() == str(installed / "__init__.py")
