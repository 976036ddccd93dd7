"""Write the book's model cards and its datasheet from the built-in weights and book/results.

    python tools/pages.py

Run it after tools/calibrate.py. A test compares the pages with what this would write.
"""

import json
from pathlib import Path

from ssrlib import cards, weights

BOOK = Path(__file__).parents[1] / "book"


def pages() -> dict[str, str]:
    """Return the text of each page by its name in the book's folder."""

    def results(name: str) -> dict:
        return json.loads((BOOK / "results" / f"{name}.json").read_text())["figures"]

    texts = {}
    for target in ("age", "gender"):
        path = weights.pretrained(target)
        texts[f"card-{target}.md"] = cards.model_card(
            path.name, weights.read_card(path), results(f"{target}-test")
        )
    texts["datasheet.md"] = cards.datasheet(results("utkface")["people"])
    return texts


if __name__ == "__main__":
    for name, text in pages().items():
        (BOOK / name).write_text(text)
