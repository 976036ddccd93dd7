"""Draw the book's logo and the card that is shown where somebody shares a page: python -m tools.site.brand

Three rows of three bins, one chosen in each, and the next row divides what was chosen: the stagewise bins.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STATIC = Path(__file__).parents[2] / "book" / "_static"
BLUE, ORANGE = "#2f6f9f", "#e0812f"
CHOSEN = (1, 2, 0)


def bins(left: float, width: float) -> list[tuple[int, float, float, bool]]:
    """Return each bin as its row, left edge and width, and whether it was chosen."""
    found = []
    for row, chosen in enumerate(CHOSEN):
        width /= 3
        found += [(row, left + i * width, width, i == chosen) for i in range(3)]
        left += chosen * width
    return found


def logo() -> str:
    """Return the logo as SVG, 64 x 64; all its bins are of one size, so that it can be seen small."""
    shapes = [
        f'<rect x="{4 + 19 * i}" y="{4 + 19 * row}" width="18" height="18" rx="3" '
        f'fill="{ORANGE if i == chosen else BLUE}"/>'
        for row, chosen in enumerate(CHOSEN)
        for i in range(3)
    ]
    size = 'viewBox="0 0 64 64" width="64" height="64"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>\n'


def card() -> Figure:
    """Return the card, 1200 x 630: the name, what it is about, and the bins over an axis of ages."""
    figure = plt.figure(figsize=(12, 6.3), facecolor="#14191f")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 12), ylim=(6.3, 0))
    axes.set_axis_off()
    axes.text(0.8, 1.35, "The SSR-Net book", color="#ffffff", fontsize=46, weight="bold")
    axes.text(0.8, 2.1, "An age from a face with forty thousand parameters,", color="#b8c4cf", fontsize=21)
    axes.text(0.8, 2.6, "explained, trained, measured and deployed", color="#b8c4cf", fontsize=21)
    for row, left, width, chosen in bins(0.8, 10.4):
        color, gap = ORANGE if chosen else BLUE, min(0.06, width / 8)
        axes.add_patch(Rectangle((left + gap / 2, 3.3 + 0.8 * row), width - gap, 0.65, color=color))
    return figure


if __name__ == "__main__":
    STATIC.mkdir(exist_ok=True)
    for name in ("logo", "favicon"):
        (STATIC / f"{name}.svg").write_text(logo())
    card().savefig(STATIC / "card.png", dpi=100)
