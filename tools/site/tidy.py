"""Take out of the notebooks what changes from run to run and nobody reads, so that a diff shows what changed.

    python -m tools.site.tidy book/*.ipynb

That is the time of each cell's run, the state of every widget (its page form stays), progress bars, Python's
version, and random names: a cell is named after its source, and a widget's page form after its cell. The
code of solutions is folded away for JupyterLab, as it is on the pages. `make notebooks` does it.
"""

import re
import sys
from hashlib import sha256

import nbformat

WIDGET = "application/vnd.jupyter.widget-view+json"
SOLUTION = re.compile(r"^:::\{solution-(start|end)\}", re.M)
FOLDED = {"source_hidden": True, "outputs_hidden": True}


def joined(outputs: list) -> list:
    """Join what was printed in a row: where it is cut depends on how busy the machine was."""
    whole: list = []
    for output in outputs:
        if whole and output.output_type == "stream" and whole[-1].get("name") == output.name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook, changed in place: its text, outputs and tags are kept."""
    notebook.metadata = {
        "jupytext": {"default_lexer": "ipython3"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    names, in_solution = set(), False
    for cell in notebook.cells:
        cell.metadata = {name: cell.metadata[name] for name in ("mystnb", "tags") if name in cell.metadata}
        if cell.cell_type == "markdown":
            for mark in SOLUTION.findall(cell.source):
                in_solution = mark == "start"
        elif in_solution:
            cell.metadata["jupyter"] = dict(FOLDED)
        cell.id, again = sha256(cell.source.encode()).hexdigest()[:8], 1
        while cell.id in names:
            again += 1
            cell.id = f"{cell.id[:8]}-{again}"
        names.add(cell.id)
        if cell.cell_type == "code":
            if "remove-output" in cell.metadata.get("tags", []):
                cell.outputs = []
            cell.outputs = joined(cell.outputs)
            for number, output in enumerate(cell.outputs):
                if html := output.get("data", {}).get("text/html"):
                    output.data.pop(WIDGET, None)
                    output.data["text/html"] = re.sub(r"ssr-[0-9a-f]{32}\b", f"ssr-{cell.id}-{number}", html)
    return notebook


if __name__ == "__main__":
    for path in sys.argv[1:]:
        nbformat.write(tidy(nbformat.read(path, as_version=4)), path)
