"""The chapters for a class: without outputs and answers, and with an empty cell after each exercise.

A question stays, as a line to answer. Of a solution only its cells with the tag `check` stay: they tell
learners whether their answer is right.

    python -m tools.site.blank

Writes them to exercises/, which is made anew: what learners wrote there is kept under another name first.
`make reset` does it.
"""

import shutil
from datetime import datetime

from tools.site.notebooks import BOOK, ROOT, pages


def main() -> None:
    folder = ROOT / "exercises"
    if folder.exists():
        kept = folder.rename(f"{folder}-{datetime.now():%Y-%m-%d-%H%M%S}")
        print(f"what was there is now in {kept.name}")
    shutil.copytree(BOOK / "images", folder / "images")
    written = pages(answered=False)
    for name, text in written.items():
        (folder / name).write_text(text)
    chapters = sum(name[0].isdigit() for name in written)
    print(f"{chapters} chapters in {folder}; open them with: make lab NOTEBOOKS=exercises")


if __name__ == "__main__":
    main()
