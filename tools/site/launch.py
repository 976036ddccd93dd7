"""Binder and Google Colab, where a chapter runs with nothing installed: python -m tools.site.launch FOLDER

Both must know where the repository is. One line in _config.yml tells it, and then the site's pages with code
have buttons that open them there.

Binder installs what environment.yml and apt.txt name, and has the chapters as JupyterLab has them: postBuild
writes them. Colab opens notebooks from GitHub, installs nothing by itself, and knows neither this book's
Markdown nor its other pages. So the chapters are written to FOLDER once more, in plain Markdown, each with a
first cell that installs the package, and the workflow publishes FOLDER as the branch `colab`.
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import yaml

from tools.site import notebooks

PACKAGE = "ssrlib[train,export,book]"  # all that the chapters import
FIRST = """\
# Run this cell first: it installs the book's package, in a few minutes.
# If Colab then asks you to restart the session, do so, and go on below.
%pip install --quiet "{package} @ git+{address}"
"""
ADMONITION = re.compile(r"^:::\{admonition\} ([^\n]+)\n((?::[^\n:]+:[^\n]*\n)*)(.*?)^:::$", re.M | re.S)
FORMULA = re.compile(r"^```\{math\}\n:label: \S+\n:enumerator: (\S+)\n(.*?)^```$", re.M | re.S)
GLOSSARY = re.compile(r"^:::\{glossary\}\n(?::sorted:\n)?(.*?)^:::$", re.M | re.S)
ENTRY = re.compile(r"^(\S[^\n]*)\n  ", re.M)
LINK = re.compile(r"(!?)\[([^][]*)\]\((?!https?:)([^)\s]+)\)")


def configured() -> str:
    """Return the repository's address in _config.yml, which is empty as long as there is none."""
    config = yaml.safe_load((notebooks.ROOT / "_config.yml").read_text())
    address: str = config["sphinx"]["config"]["html_theme_options"]["repository_url"]
    return address


def repository(address: str) -> str:
    """Return the NAME/REPOSITORY of an address.

    Raises:
        ValueError: it is no address of GitHub's, and Colab opens notebooks from nowhere else.
    """
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)(?<!\.git)", address)
    if not found:
        raise ValueError(f"_config.yml: repository_url: {address} is not https://github.com/NAME/REPOSITORY")
    return found[1]


def on_binder(address: str, name: str) -> str:
    """Return the link that opens a notebook on Binder."""
    return f"https://mybinder.org/v2/gh/{repository(address)}/HEAD?urlpath=lab/tree/notebooks/{name}"


def on_colab(address: str, name: str) -> str:
    """Return the link that opens a notebook on Colab."""
    return f"https://colab.research.google.com/github/{repository(address)}/blob/colab/{name}"


def menu(address: str, name: str) -> dict:
    """Return the menu that opens a notebook elsewhere, as the site's theme draws it."""
    places = {"Binder": (on_binder, "logo_binder.svg"), "Colab": (on_colab, "logo_colab.png")}
    links = [
        {
            "type": "link",
            "text": place,
            "tooltip": f"Run this page on {place}",
            "icon": f"_static/images/{logo}",
            "url": link(address, name),
        }
        for place, (link, logo) in places.items()
    ]
    shown = {"type": "group", "label": "launch-buttons", "tooltip": "Run this page", "icon": "fas fa-rocket"}
    return shown | {"buttons": links}


def plain(text: str, address: str) -> str:
    """Return text for JupyterLab in plain Markdown, with links that lead somewhere from Colab, too."""

    def box(found: re.Match) -> str:
        title, options, body = found.groups()
        if ":class: dropdown" in options:
            return f"**{title}**\n\n<details><summary>Answer</summary>\n\n{body}\n</details>"
        return "\n".join(f"> {line}".rstrip() for line in [f"**{title}**", "", *body.splitlines()])

    def link(found: re.Match) -> str:
        image, shown, target = found.groups()
        if image:
            return f"![{shown}](https://raw.githubusercontent.com/{repository(address)}/colab/{target})"
        if target.endswith(".ipynb"):
            return f"[{shown}]({on_colab(address, target)})"
        return f"[{shown}]({address}/blob/colab/{target})" if target.endswith(".md") else shown

    text = GLOSSARY.sub(lambda found: ENTRY.sub(r"**\1**: ", found[1]), text)
    text = FORMULA.sub(r"$$\n\2\\tag{\1}\n$$", text)
    text = ADMONITION.sub(box, text)
    text = notebooks.LABEL.sub("", text)
    text = re.sub(r"\{abbr\}`(.+?) \([^`]*\)`", r"\1", text, flags=re.S)
    text = re.sub(r"\{index\}`([^`<]+?)(?: <[^>]+>)?`", r"\1", text)
    text = re.sub(r"\{eq\}`([^`]+)`", lambda found: f"({notebooks.places()[found[1]].number})", text)
    return LINK.sub(link, text).strip()


def for_colab(notebook: nbformat.NotebookNode, address: str) -> nbformat.NotebookNode:
    """Return a notebook for JupyterLab as one for Colab, changed in place."""
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in prose:
        cell.source = plain(cell.source, address)
        cell.metadata.id = cell.id
    # What JupyterLab folds by a cell's metadata, Colab folds by the notebook's.
    folded = [cell.id for cell in prose if cell.metadata.keys() >= notebooks.FOLDED.keys()]
    notebook.metadata.colab = {"collapsed_sections": folded}
    first = nbformat.v4.new_code_cell(FIRST.format(package=PACKAGE, address=address), id="install")
    notebook.cells.insert(0, first)
    return notebook


def main(folder: Path, address: str) -> None:
    if not address:
        print("_config.yml: repository_url: no address yet, from which Colab could install the package")
        return
    shutil.copytree(notebooks.BOOK / "images", folder / "images", dirs_exist_ok=True)
    for name, text in notebooks.pages().items():
        if name.endswith(".ipynb"):
            text = nbformat.writes(for_colab(nbformat.reads(text, 4), address)) + "\n"
        elif name.endswith(".md"):
            text = plain(text, address) + "\n"
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), configured())
