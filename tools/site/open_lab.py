"""The chapters in JupyterLab, to run and to change: python -m tools.site.open_lab [FOLDER]

Without a folder they are written to notebooks/ first; a class has its own in exercises/. `make lab` does it.
"""

import os
import subprocess
import sys
from pathlib import Path

from jupyterlab.labapp import LabApp  # type: ignore[import-untyped]

from tools.site import notebooks

SETTINGS = Path(__file__).parent / "lab"


def main(folder: Path = notebooks.FOLDER) -> None:
    if folder.resolve() == notebooks.FOLDER:
        notebooks.main()
    chapters = sorted(folder.glob("*.ipynb"))
    if not chapters:
        sys.exit(f"error: there are no notebooks in {folder}: make reset writes exercises")
    # Saved widgets show in trusted notebooks only.
    trust = [sys.executable, "-m", "jupyter", "trust", "--log-level=ERROR"]
    subprocess.run([*trust, *map(str, chapters)], check=True, stdout=subprocess.DEVNULL)
    options = [f"--LabApp.app_settings_dir={SETTINGS}", "--LabApp.default_url=/lab/tree/start.md"]
    # In a container people are root, and JupyterLab wants to hear that this is meant.
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    LabApp.launch_instance([*options, str(folder)])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
