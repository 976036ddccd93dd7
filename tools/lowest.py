"""Print the lowest version that pyproject.toml allows of each dependency, as pip's constraints.

python tools/lowest.py > lowest.txt && pip install --constraint lowest.txt --editable ".[predict,train]"
"""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def lowest(project: dict) -> list[str]:
    """Return `NAME==VERSION` for every dependency of a project and of its extras.

    >>> lowest({"dependencies": ["numpy>=2", "torch>=2.6,<3"], "optional-dependencies": {}})
    ['numpy==2', 'torch==2.6']
    """
    extras = project["optional-dependencies"].values()
    required = project["dependencies"] + [requirement for extra in extras for requirement in extra]
    return [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in required]


if __name__ == "__main__":
    print(*lowest(PROJECT), sep="\n")
