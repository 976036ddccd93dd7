"""Draw the modules of the package and their imports into ARCHITECTURE.md, from the code.

    python -m tools.site.architecture

An arrow from A to B says that A imports B. Imports for the type checker alone do not count. Arrows that a
longer path says as well are left out, so that the picture can be read. A test compares the page with what
this would write.
"""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "ARCHITECTURE.md"


def imports() -> dict[str, set[str]]:
    """Return the modules and folders of the package, and which of the others each imports."""
    package = ROOT / "ssrlib"
    rooms = {
        path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    found: dict[str, set[str]] = {room: set() for room in rooms - {"__init__"}}
    for path in package.rglob("*.py"):
        room = path.relative_to(package).with_suffix("").parts[0]
        for node in _running(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ssrlib"):
                _, *inside = node.module.split(".")
                named = inside[:1] or [alias.name for alias in node.names]
                found.setdefault(room, set()).update(found.keys() & set(named) - {room})
    found.pop("__init__", None)
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, but for what `if TYPE_CHECKING:` keeps from running."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _running(child)


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out every arrow that a longer path says as well.

    Raises:
        graphlib.CycleError: two modules import each other.
    """
    reach: dict[str, set[str]] = {}
    for room in TopologicalSorter(graph).static_order():
        reach[room] = graph[room].union(*(reach[other] for other in graph[room]))
    return {
        room: {other for other in others if not any(other in reach[via] for via in others - {other})}
        for room, others in graph.items()
    }


def picture() -> str:
    """Return the graph in Mermaid's language, which GitHub draws."""
    lines = [
        f"  {room} --> {other}"
        for room, others in sorted(reduced(imports()).items())
        for other in sorted(others)
    ]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"])


def page() -> str:
    """Return the text of ARCHITECTURE.md with the picture as the code has it now."""
    return re.sub(r"```mermaid\n.*?```", lambda _: picture(), PAGE.read_text(), flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(page())
