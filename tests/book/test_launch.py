"""Binder and Colab: what leads there, what they install, and what Colab opens."""

import re
import shutil
import tomllib

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

from testing import site
from testing.lab import open_page
from tools.site import launch, notebooks

from .test_site import AXE, NO_ICON, violations

ROOT = notebooks.ROOT
ADDRESS = "https://github.com/someone/book"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
PYTHON = {"kernelspec": notebooks.KERNEL}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A book of two pages, one with code, that looks as ours does."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "book" / "images").mkdir(parents=True)
    shutil.copytree(ROOT / "book" / "_static", folder / "book" / "_static")
    shutil.copy(ROOT / "book" / "images" / "demo.webp", folder / "book" / "images")
    (folder / "book" / "references.bib").touch()
    (folder / "_toc.yml").write_text("{format: jb-book, root: book/index, chapters: [{file: book/01-one}]}")
    (folder / "book" / "index.md").write_text("# A book\n\nIt is small.\n")
    cells = [nbformat.v4.new_markdown_cell("# One\n\nIt has code."), nbformat.v4.new_code_cell("1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=PYTHON), folder / "book" / "01-one.ipynb")
    return folder


def leads_away(page) -> list[str]:
    buttons = BeautifulSoup(page.read_text(), "html.parser").select(".article-header-buttons a")
    return [button["href"] for button in buttons if button["href"].startswith("http")]


def test_with_an_address_pages_lead_to_the_repository_and_those_with_code_run_elsewhere(
    source, tmp_path, browser
):
    built = site.build(tmp_path, source, ADDRESS)
    binder = "https://mybinder.org/v2/gh/someone/book/HEAD?urlpath=lab/tree/notebooks/01-one.ipynb"
    colab = "https://colab.research.google.com/github/someone/book/blob/colab/01-one.ipynb"
    assert leads_away(built / "book" / "01-one.html") == [binder, colab, ADDRESS]
    assert leads_away(built / "book" / "index.html") == [ADDRESS]
    with site.serve(built) as address, open_page(browser) as page:
        visit = site.Visit(page)
        page.goto(f"{address}book/01-one.html", wait_until="networkidle")
        assert page.evaluate(NO_ICON) == []
        page.get_by_role("button", name="Run this page").click()
        for place in ("Binder", "Colab"):
            logo = page.get_by_role("img", name=f"{place} logo")
            assert logo.evaluate("it => it.decode().then(() => it.naturalWidth)") > 0
            assert logo.is_visible()
        page.evaluate(AXE)
        assert violations(page) == []
        assert visit.errors == []
        assert [url for url in visit.responses if not url.startswith((address, "data:"))] == []


def test_without_an_address_no_page_leads_anywhere(source, tmp_path):
    built = site.build(tmp_path, source, "")
    for name in ("01-one", "index"):
        assert leads_away(built / "book" / f"{name}.html") == []


@pytest.mark.parametrize("address", ["https://gitlab.com/someone/book", "github.com/someone/book", "soon"])
def test_another_address_is_refused_in_one_sentence(address):
    with pytest.raises(ValueError, match=f"^_config.yml: repository_url: {address} is not https://"):
        launch.repository(address)


def test_the_first_page_and_the_workflow_know_whether_there_is_an_address():
    first = (ROOT / "book" / "index.md").read_text()
    assert ("no public address yet" in first) == (not launch.configured())
    assert "tools.site.launch" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_conda_and_binder_install_the_package_with_all_its_extras():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *_, python, _, pip = environment["dependencies"]
    assert re.fullmatch(r"python =3\.\d+", python)  # Binder overlooks a range
    (line,) = pip["pip"]
    assert set(re.fullmatch(r"--editable \.\[(.+)\]", line)[1].split(",")) == EXTRAS


def test_every_page_for_colab_installs_the_package_and_is_plain_markdown(tmp_path):
    launch.main(tmp_path, ADDRESS)
    opened = sorted(tmp_path.glob("*.ipynb"))
    assert [path.name for path in opened] == sorted(name for name in notebooks.pages() if "ipynb" in name)
    for path in opened:
        notebook = nbformat.read(path, 4)
        nbformat.validate(notebook)
        install = notebook.cells[0].source
        extras = re.search(rf'^%pip install --quiet "ssrlib\[(.+)\] @ git\+{ADDRESS}"$', install, re.M)[1]
        assert set(extras.split(",")) < EXTRAS
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        assert re.findall(r"\{[a-z:]+\}`|^:::|^:\w+:|^```\{|^\(\S+\)=$", text, re.M) == []
        for link in re.findall(r"\]\((\S+?)\)", text):
            assert link.startswith("https://")
            if "someone/book" in link:
                assert (tmp_path / re.sub(r".*/colab/", "", link)).is_file()
        folded = [cell.id for cell in notebook.cells if cell.source == "#### Solution"]
        assert notebook.metadata.colab.collapsed_sections == folded


def test_other_pages_for_colab_are_plain_markdown_too(tmp_path):
    launch.main(tmp_path, ADDRESS)
    for path in tmp_path.glob("*.md"):
        text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
        assert re.findall(r"\{[a-z:]+\}`|^:::|^:\w+:|^\(\S+\)=$", text, re.M) == [], path.name
    assert "\n**bin**: " in (tmp_path / "glossary.md").read_text()


def test_boxes_answers_and_formulas_become_what_colab_shows():
    text = """(here)=
## Sums

:::{admonition} You will learn
- to add.
:::

```{math}
:label: eq-ssr
:enumerator: 4.2
y = 1
```

So {eq}`eq-ssr` has a {index}`name <naming>`, [{abbr}`bins (of [many])`](glossary.md) and [a place](here).

:::{admonition} What is $1 + 1$?
:class: dropdown
Two.
:::"""
    assert (
        launch.plain(text, ADDRESS)
        == f"""## Sums

> **You will learn**
>
> - to add.

$$
y = 1
\\tag{{4.2}}
$$

So (4.2) has a name, [bins]({ADDRESS}/blob/colab/glossary.md) and a place.

**What is $1 + 1$?**

<details><summary>Answer</summary>

Two.

</details>"""
    )


def test_without_an_address_nothing_is_written_for_colab(tmp_path, capsys):
    launch.main(tmp_path, "")
    assert "no address yet" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
