"""Write the book's model cards and its datasheet from the built-in weights and book/results.

    python -m tools.weights.cards

Run it after tools/weights/calibrate.py. A test compares the pages with what this would write.
"""

from pathlib import Path

from ssrlib import cards, results, weights
from ssrlib.targets import TARGETS

BOOK = Path(__file__).parents[2] / "book"


def pages() -> dict[str, str]:
    """Return the text of each page by its name in the book's folder."""
    texts = {}
    for target in TARGETS:
        path = weights.pretrained(target)
        texts[f"card-{target}.md"] = cards.model_card(
            path.name,
            weights.read_card(path),
            results.load(f"{target}-test")["metrics"],
            weights.weights_sha256(path),
        )
    texts["datasheet.md"] = cards.datasheet(results.load("utkface")["metrics"]["people"])
    return texts


if __name__ == "__main__":
    for name, text in pages().items():
        (BOOK / name).write_text(text)
