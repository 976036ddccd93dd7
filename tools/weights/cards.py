"""Write the book's model cards and its datasheet from the built-in weights and book/results.

    python -m tools.weights.cards

Run it after tools/weights/calibrate.py. A test compares the pages with what this would write.
"""

from pathlib import Path

from ssrlib import cards, results, weights
from ssrlib.targets import TARGETS

SOURCES = {"utkface": "UTKFace", "aaf": "All-Age-Faces", "appa_real": "APPA-REAL"}
BOOK = Path(__file__).parents[2] / "book"


def pages() -> dict[str, str]:
    """Return the text of each page by its name in the book's folder."""
    texts, away = {}, results.load("away")["metrics"]
    for name, target in TARGETS.items():
        path = weights.pretrained(name)
        card = cards.model_card(
            path.name,
            weights.read_card(path),
            results.load(f"{name}-test")["metrics"],
            weights.weights_sha256(path),
        )
        rows = [row for row in away if (row["target"], row["network"]) == (name, "built in")]
        named = [row | {"source": SOURCES[row["source"]]} for row in rows]
        texts[f"card-{name}.md"] = card + "\n" + cards.by_data_set(named, target)
    texts["datasheet.md"] = cards.datasheet(results.load("utkface")["metrics"]["people"])
    return texts


if __name__ == "__main__":
    for name, text in pages().items():
        (BOOK / name).write_text(text)
