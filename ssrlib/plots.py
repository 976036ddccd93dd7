"""The book's figures: one function a figure, each returns a matplotlib Figure."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ssrlib.detectors import Box
from ssrlib.estimator import Reading
from ssrlib.face_crop import Crop
from ssrlib.metrics import best_epoch
from ssrlib.store import FaceStore
from ssrlib.targets import AGE, Target

BLUE, ORANGE, GREY, GREEN = "#2f6f9f", "#d9792b", "#8a8a8a", "#4c956c"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = _grid(width, height, columns=1)
    return figure, axes[0, 0]


def _grid(
    width: float, height: float, columns: int, rows: int = 1, sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False, sharey=sharey
    )
    # A closed figure can still be drawn on; left open, a notebook would show it twice.
    plt.close(figure)
    return figure, axes


def _plain(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def face_sheet(faces: np.ndarray, titles: Sequence[str] | None = None, columns: int = 10) -> Figure:
    """Faces (uint8, N x 64 x 64 x 3, RGB) side by side, each with its title above it."""
    rows = -(-len(faces) // columns)
    side = min(1.6, 9 / columns)
    height = side if titles is None else side + 0.25
    figure, axes = _grid(side * columns, height * rows, rows=rows, columns=columns)
    for axis in axes.flat:
        axis.set_axis_off()
    for i, (axis, face) in enumerate(zip(axes.flat, faces, strict=False)):
        axis.imshow(face)
        if titles is not None:
            axis.set_title(titles[i], fontsize=8)
    return figure


def photo_with_faces(
    photo: np.ndarray, readings: Sequence[Reading], face: np.ndarray | None = None
) -> Figure:
    """A photo with each face's box (solid) and the square around it (dashed); one face large.

    The square is the one that the built-in networks read, but for the turn: a face whose landmarks are known
    is straightened first.
    """
    figure, axes = _grid(8 if face is not None else 5, 4, columns=1 if face is None else 2)
    left = axes[0, 0]
    left.imshow(photo)
    for reading in readings:
        _outline(left, reading.box, BLUE, "-")
        _outline(left, Crop().square(reading.box), ORANGE, "--")
        text = f"{reading.age:.0f} years, p_male {reading.p_male:.2f}"
        left.text(reading.box.x, reading.box.y - 12, text, color="white", fontsize=9, backgroundcolor=BLUE)
    if face is not None:
        axes[0, 1].imshow(face)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def _outline(axes: Axes, box: Box, color: str, style: str) -> None:
    axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, fill=False, color=color, ls=style, lw=2))


def finds(photos: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> Figure:
    """Photos side by side, what a detector found in each, and the scores."""
    side = min(3.5, 9 / len(photos))
    figure, axes = _grid(side * len(photos), side, columns=len(photos))
    for axis, photo, found in zip(axes.flat, photos, boxes, strict=True):
        axis.imshow(photo)
        for box in found:
            _outline(axis, box, ORANGE, "-")
            label = "" if box.score is None else f"{box.score:.2f}"
            top = max(box.y, 0.06 * photo.shape[0])
            style = {"color": "white", "fontsize": 6, "va": "bottom", "clip_on": True}
            axis.text(box.x, top, label, **style, bbox={"color": ORANGE, "pad": 1})
        axis.set(xlim=(-0.5, photo.shape[1] - 0.5), ylim=(photo.shape[0] - 0.5, -0.5))
        axis.set_axis_off()
    return figure


def expected_value(weights: np.ndarray, values: np.ndarray) -> Figure:
    """A weight a class, and the value that they balance at."""
    figure, axes = _figure(7, 2.4)
    _plain(axes).bar(values, weights, width=0.9 * (values[1] - values[0]), color=BLUE)
    mean = float((weights * values).sum())
    axes.axvline(mean, color=ORANGE, lw=2)
    axes.annotate(f" {mean:.1f} years", (mean, weights.max()), color=ORANGE)
    axes.set(xlabel="age (years)", ylabel="weight")
    return figure


def stages(
    p: Sequence[Sequence[float]],
    eta: Sequence[Sequence[float]],
    delta: Sequence[float],
    value_range: float,
) -> Figure:
    """How one face's value grows stage by stage.

    Each row is a stage. Its bins start where the stage before ended; the deeper the blue, the more
    weight p. An orange line carries the value down, and an arrow shows what the stage adds.
    """
    figure, axes = _figure(8, 0.9 + 0.95 * len(p))
    value, width, right, room = 0.0, float(value_range), 0.0, 0.0
    for k, (weights, shifts, scale) in enumerate(zip(p, eta, delta, strict=True)):
        s = len(weights)
        width = width / (s * (1 + scale))
        top = max(1.0, max(weights))
        # Where bins would lie upon one another, each gets a lane of its own, and its number beside it.
        crowded = s > 1 and np.diff(np.sort(np.arange(s) + shifts)).min() < 0.9
        for i in range(s):
            left, strength = value + (i + shifts[i]) * width, weights[i] / top
            lane, height = (k + 0.12 + 0.62 / s * i, 0.54 / s) if crowded else (k + 0.16, 0.52)
            bin_ = Rectangle((left, lane), width, height, fc=BLUE, ec="white", lw=0.5 if crowded else 2)
            bin_.set_alpha(0.12 + 0.88 * strength)
            axes.add_patch(bin_)
            middle = lane + height / 2
            if crowded:
                text = f"  bin {i}, p = {weights[i]:.2f}"
                axes.text(max(left + width, value), middle, text, ha="left", va="center", fontsize=8)
            elif width > value_range / 14:
                label = f"bin {i}" if weights[i] in (0, 1) else f"bin {i}\np = {weights[i]:.2f}"
                color = "white" if strength > 0.5 else "black"
                axes.text(left + width / 2, middle, label, ha="center", va="center", fontsize=8, color=color)
            right = max(right, left + width, value)
            room = max(room, 0.16 * right if crowded else 0.08 * right)
        new = value + width * sum((i + shifts[i]) * weights[i] for i in range(s))
        axes.plot([value, value], [k - 0.12, k + 0.78], color=ORANGE, lw=2)
        if new != value:
            arrow = {"arrowstyle": "->", "color": ORANGE, "lw": 2}
            axes.annotate("", (new, k + 0.85), (value, k + 0.85), arrowprops=arrow)
        axes.text(max(new, value), k + 0.85, f"  {new:.3g} years", color=ORANGE, va="center", fontsize=9)
        value = new
    axes.plot([value, value], [len(p) - 0.15, len(p)], color=ORANGE, lw=2)
    axes.set(ylim=(len(p), -0.15), xlim=(-0.03 * right, right + room), xlabel="years")
    axes.set_yticks([k + 0.42 for k in range(len(p))], [f"stage {k + 1}" for k in range(len(p))])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def scatter(truth: np.ndarray, values: np.ndarray) -> Figure:
    """True against predicted ages; on the dashed line the two agree."""
    figure, axes = _figure(4.6, 4.2)
    top = max(truth.max(), values.max()) * 1.03
    _plain(axes).plot([0, top], [0, top], color=GREY, ls="--", lw=1)
    axes.scatter(truth, values, s=10, color=BLUE, alpha=0.6, linewidths=0)
    axes.set(xlabel="true age (years)", ylabel="predicted age (years)", xlim=(0, top), ylim=(0, top))
    axes.set_aspect("equal")
    return figure


def error_by_age(groups: Sequence[dict[str, Any]]) -> Figure:
    """Mean absolute error in each group of ages, with the number of faces it was measured on."""
    figure, axes = _figure(7, 2.8)
    _error_bars(axes, groups)
    return figure


def _error_bars(axes: Axes, groups: Sequence[dict[str, Any]]) -> None:
    """A bar for each group of ages, with its number of faces."""
    names, errors = ([group[key] for group in groups] for key in ("ages", "mae"))
    bars = _plain(axes).bar(names, errors, color=BLUE)
    axes.bar_label(bars, [f"{group['faces']:,}" for group in groups], fontsize=8, color=GREY)
    axes.set(xlabel="age (years)", ylabel="mean absolute error\n(years)")


def store_report(store: FaceStore) -> Figure:
    """Who is in a store: ages by gender, faces by split, rejects by reason, and a few faces by age."""
    figure = plt.figure(figsize=(9, 5.5), layout="constrained")
    plt.close(figure)
    ages, splits, rejects, sheet = figure.subplot_mosaic(
        [["ages", "ages", "splits"], ["rejects", "rejects", "rejects"], ["faces", "faces", "faces"]],
        height_ratios=[3, 1.2, 0.8],
    ).values()
    rows = store.rows
    gender = rows["gender"].fillna("gender unknown")
    colors = {"female": ORANGE, "male": BLUE, "gender unknown": GREY}
    names = [name for name in colors if (gender == name).any()]
    values, shades = [rows.loc[gender == name, "age"] for name in names], [colors[name] for name in names]
    _plain(ages).hist(values, bins=range(0, 121, 5), stacked=True, label=names, color=shades)
    ages.set(xlabel="age (years)", ylabel="faces")
    ages.legend(frameon=False)
    counts = rows["split"].value_counts()
    _bars(splits, counts, "faces")
    reasons = store.rejects["reason"].value_counts().head(5)
    if len(reasons):
        _bars(rejects, reasons, "rejected")
    else:
        rejects.set_axis_off()
        rejects.set_title("nothing was rejected", fontsize=9)
    order = np.argsort(rows["age"].to_numpy(), kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(24, len(order))).astype(int)]
    sheet.imshow(np.concatenate([store.faces[i] for i in picked], axis=1))
    sheet.set_axis_off()
    return figure


def _bars(axes: Axes, counts: pd.Series, label: str) -> None:
    """Lying bars with their names and numbers written on them, however long the names are."""
    _plain(axes).barh(range(len(counts)), counts, color=BLUE, alpha=0.25)
    for i, (name, count) in enumerate(counts.items()):
        axes.text(0, i, f" {count:,}  {name}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_yticks([])
    axes.set(xlabel=label)


def curves(x: np.ndarray, ys: dict[str, np.ndarray], xlabel: str, ylabel: str) -> Figure:
    """Up to three lines over one axis, each with its name."""
    figure, axes = _figure(6, 2.8)
    for (name, y), color in zip(ys.items(), (BLUE, ORANGE, GREY)[: len(ys)], strict=True):
        _plain(axes).plot(x, y, color=color, lw=2, marker="o", ms=4, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if len(ys) > 1:
        # Above the axes it covers no line, wherever they run.
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(ys))
    return figure


def training_summary(
    history: pd.DataFrame, by_age: Sequence[dict[str, Any]] = (), target: Target = AGE
) -> Figure:
    """A training's curves, epoch by epoch, and the last errors on validation by age.

    Args:
        history: from `fit`.
        by_age: from `metrics.errors_by_age`; may be empty.
        target: what was trained; its metric is drawn.
    """
    figure, axes = _grid(9 if by_age else 5, 2.8, columns=2 if by_age else 1)
    left = _plain(axes[0, 0])
    left.plot(history["epoch"], history["loss"], color=GREY, label="loss, train")
    name = target.metric
    left.plot(history["epoch"], history[name], color=BLUE, lw=2, label=f"{target.metric_label}, validation")
    kept = history.loc[best_epoch(history, target) - 1]
    left.plot(kept["epoch"], kept[name], "o", color=ORANGE)
    left.annotate(f"{kept[name]:.3g}", (kept["epoch"], kept[name]), (0, 8), textcoords="offset points")
    left.set(xlabel="epoch", ylim=(0, None))
    left.legend(frameon=False, fontsize=8)
    if by_age:
        _error_bars(axes[0, 1], by_age)
        axes[0, 1].tick_params(axis="x", labelrotation=45, labelsize=8)
    return figure


def runs(histories: dict[str, pd.DataFrame], column: str, ylabel: str) -> Figure:
    """One column of several trainings' histories, epoch by epoch."""
    figure, axes = _figure(6.5, 3)
    styles = [(color, dashes) for dashes in ("-", "--") for color in (BLUE, ORANGE, GREY, GREEN)]
    for (name, history), (color, dashes) in zip(histories.items(), cycle(styles), strict=False):
        _plain(axes).plot(history["epoch"], history[column], dashes, color=color, lw=2, label=name)
    axes.set(xlabel="epoch", ylabel=ylabel, ylim=(0, None))
    axes.legend(frameon=False)
    return figure


def cumulative_score(curve: Sequence[dict[str, Any]], unit: str = "years") -> Figure:
    """The share of faces whose error is smaller than n, in a unit, with its 95 % interval as a band."""
    figure, axes = _figure(6, 2.8)
    years = [point["years"] for point in curve]
    _plain(axes).plot(years, [point["share"] for point in curve], color=BLUE, lw=2)
    bounds = [point["interval"] or [np.nan] * 2 for point in curve]
    axes.fill_between(years, *np.transpose(bounds), color=BLUE, alpha=0.25, lw=0)
    axes.set(xlabel=f"n ({unit})", ylabel="share of errors\nsmaller than n", ylim=(0, 1), xlim=(1, years[-1]))
    axes.set_xticks([1, *range(5, years[-1] + 1, 5)])
    return figure


def groups(
    found: Sequence[dict[str, Any]],
    name: str,
    label: str,
    line: float | None = None,
    lowest: float | None = 0.0,
) -> Figure:
    """One metric of each group of faces, with its 95 % interval and its number of faces.

    Args:
        found: from `metrics.by_group`, the worst first.
        name: the metric, such as "mae".
        label: what to write on the axis.
        line: a value to compare with, dashed.
        lowest: where the axis begins.
    """
    figure, axes = _figure(6.5, 0.8 + 0.3 * len(found))
    values = [group[name] for group in found]
    places = range(len(found))
    _plain(axes).plot(values, places, "o", color=BLUE)
    for place, group in zip(places, found, strict=True):
        if group["intervals"][name]:
            axes.plot(group["intervals"][name], [place] * 2, color=BLUE, lw=2, alpha=0.5)
    if line is not None:
        axes.axvline(line, color=ORANGE, ls="--", lw=1.5)
    axes.set_yticks(places, [f"{group['group']}  ({group['faces']:,})" for group in found])
    axes.set(xlabel=label, xlim=(lowest, None), ylim=(len(found) - 0.5, -0.5))
    return figure


def calibration_curve(bins: Sequence[dict[str, Any]]) -> Figure:
    """What was predicted against how often it was so; an honest one lies on the dashed line."""
    figure, axes = _figure(4.4, 3.6)
    _plain(axes).plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
    for part in bins:
        if part["intervals"]["fraction_positive"]:
            axes.plot(
                [part["mean_predicted"]] * 2,
                part["intervals"]["fraction_positive"],
                color=BLUE,
                lw=2,
                alpha=0.5,
            )
        axes.plot(part["mean_predicted"], part["fraction_positive"], "o", color=BLUE)
        axes.annotate(
            f"{part['faces']:,}",
            (part["mean_predicted"], part["fraction_positive"]),
            (6, -3) if part["mean_predicted"] < 0.5 else (-6, -3),
            ha="left" if part["mean_predicted"] < 0.5 else "right",
            fontsize=8,
            color=GREY,
            textcoords="offset points",
        )
    room = (-0.03, 1.03)  # for the dots in the corners
    axes.set(xlabel="probability of male", ylabel="share labeled male", xlim=room, ylim=room)
    return figure


def intervals(truth: np.ndarray, ages: np.ndarray, low: np.ndarray, high: np.ndarray) -> Figure:
    """Each face's interval, sorted by the age read from it; a true age outside is drawn in orange."""
    figure, axes = _figure(7, 3.2)
    order = np.argsort(ages, kind="stable")
    place, inside = np.arange(len(ages)), ((low <= truth) & (truth <= high))[order]
    _plain(axes).vlines(place, low[order], high[order], color=BLUE, alpha=0.3, lw=2)
    axes.plot(place, ages[order], ".", color=BLUE, ms=4, label="read")
    axes.plot(place[inside], truth[order][inside], ".", color=GREY, ms=4, label="true, inside")
    axes.plot(place[~inside], truth[order][~inside], ".", color=ORANGE, ms=7, label="true, outside")
    axes.set(xlabel="faces, sorted by the age read", ylabel="age (years)")
    axes.set_xticks([])
    axes.legend(frameon=False, ncols=3, fontsize=8)
    return figure


def heat_maps(face: np.ndarray, maps: dict[str, np.ndarray], inset: float = 0) -> Figure:
    """Maps of any square size over a gray face; above 0 in red, below in blue, deeper is stronger.

    Args:
        face: uint8, 64 x 64 x 3.
        maps: from each map's title to its values.
        inset: how far from the face's borders the maps end, in pixels. The squares of `occlusion` stay
            inside the face, so their middles do not reach its borders: half of patch - stride.
    """
    figure, axes = _grid(2.6 * len(maps), 3.1, columns=len(maps))
    side = face.shape[0]
    for axis, (title, values) in zip(axes.flat, maps.items(), strict=True):
        limit = float(np.abs(values).max()) or 1.0
        signed = {"cmap": "RdBu_r", "vmin": -limit} if values.min() < 0 else {"cmap": "Reds", "vmin": 0}
        axis.imshow(face.mean(axis=2), cmap="gray", extent=(0, side, side, 0))
        extent = (inset, side - inset, side - inset, inset)
        shown = axis.imshow(values, **signed, vmax=limit, alpha=0.6, extent=extent, interpolation="bicubic")
        axis.set(xlim=(0, side), ylim=(side, 0))
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
        figure.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.8)
    return figure


def stage_terms(names: Sequence[str], terms: np.ndarray) -> Figure:
    """What each stage (column of `terms`) adds to the answers (rows), stacked from coarse to fine."""
    figure, axes = _figure(7, 0.9 + 0.28 * len(names))
    left = np.zeros(len(names))
    for k, (column, color) in enumerate(zip(terms.T, (BLUE, ORANGE, GREY), strict=False)):
        _plain(axes).barh(names, column, left=left, color=color, label=f"stage {k + 1}")
        left = left + column
    axes.invert_yaxis()
    axes.set(xlabel="years")
    axes.legend(frameon=False, ncols=len(terms.T), fontsize=8)
    return figure


def lying_bars(values: dict[str, float], label: str) -> Figure:
    """Lying bars with their names and numbers, from top to bottom in the order given."""
    figure, axes = _figure(7, 0.7 + 0.34 * len(values))
    _bars(axes, pd.Series(values), label)
    return figure


def roofline(layers: dict[str, float], peak: float, bandwidth: float) -> Figure:
    """What a device can compute at most, over how much there is to compute for each byte.

    Under the slope the memory is the limit, under the flat roof the arithmetic.

    Args:
        layers: operations a byte, by the layer's name.
        peak: operations a second.
        bandwidth: bytes a second.
    """
    figure, axes = _figure(6, 3.2)
    intensity = np.geomspace(min(layers.values()) / 2, 4 * max(peak / bandwidth, *layers.values()), 200)
    _plain(axes).loglog(intensity, np.minimum(peak, bandwidth * intensity) / 1e9, color=BLUE, lw=2)
    # On the slope dots may stand close together: every second name goes to its other side.
    left = sorted(x for x in layers.values() if bandwidth * x < peak)[::2]
    for name, x in layers.items():
        y = min(peak, bandwidth * x) / 1e9
        axes.plot(x, y, "o", color=ORANGE)
        place, side = ((-6, 6), "right") if x in left else ((6, -12), "left")
        axes.annotate(name, (x, y), place, textcoords="offset points", ha=side)
    axes.set(xlabel="operations a byte", ylabel="billion operations a second")
    return figure


def timeline(spans: dict[str, Sequence[tuple[float, float]]], label: str) -> Figure:
    """When each kind of work was done: rows of (start, length) on one axis of time."""
    figure, axes = _figure(7, 0.5 + 0.4 * len(spans))
    colors = cycle((BLUE, ORANGE, GREY, GREEN))
    for row, (work, color) in enumerate(zip(spans.values(), colors, strict=False)):
        _plain(axes).broken_barh(list(work), (row - 0.35, 0.7), color=color)
    axes.set_yticks(range(len(spans)), list(spans))
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


def histogram(values: np.ndarray, lines: Sequence[float], label: str) -> Figure:
    """How often values occur, with lines at some of them."""
    figure, axes = _figure(6, 2.4)
    _plain(axes).hist(values, bins=40, color=BLUE)
    for line in lines:
        axes.axvline(line, color=ORANGE, lw=2)
    axes.set(xlabel=label, ylabel="count")
    return figure


def bars(
    names: Sequence[object], values: Sequence[float], xlabel: str, ylabel: str, line: float | None = None
) -> Figure:
    """Bars side by side, and a value to compare them with, dashed."""
    figure, axes = _figure(6, 2.4)
    _plain(axes).bar([str(name) for name in names], values, color=BLUE)
    if line is not None:
        axes.axhline(line, color=ORANGE, ls="--", lw=1.5)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def two_streams(sides: Sequence[int], channels: Sequence[int], stages: Sequence[Sequence[int]]) -> Figure:
    """The network from left to right: the face, each block's maps in both streams, the stages between them.

    Args:
        sides: the side of the face, then of each block's maps.
        channels: of stream 1 and stream 2.
        stages: the block that each stage reads (from 0), its pooling and its values, as `SSRNet.STAGES`.
    """
    figure, axes = _figure(9, 4)
    half, gap = [0.05 * side**0.5 for side in sides], 1.7
    axes.add_patch(Rectangle((-half[0], -half[0]), 2 * half[0], 2 * half[0], fc=GREY, alpha=0.4))
    axes.text(0, 0, f"face\n3 x {sides[0]} x {sides[0]}", ha="center", va="center", fontsize=8)
    arrow = {"arrowstyle": "->", "color": GREY}
    for lane, count, color in ((1, channels[0], BLUE), (-1, channels[1], ORANGE)):
        axes.annotate("", (gap - half[1], lane), (0, lane * half[0]), arrowprops=arrow)
        for block in range(1, len(sides)):
            x, side, size = gap * block, sides[block], half[block]
            axes.add_patch(Rectangle((x - size, lane - size), 2 * size, 2 * size, fc=color, alpha=0.6))
            axes.text(x, lane * 1.42, f"{count} x {side} x {side}", ha="center", va="center", fontsize=8)
            if block > 1:
                start = x - gap + half[block - 1]
                axes.annotate("", (x - size, lane), (start, lane), arrowprops=arrow)
        for block, _, _ in stages:
            x, start = gap * (block + 1), lane * (1 - half[block + 1])
            axes.annotate("", (x, lane * 0.33), (x, start), arrowprops=arrow)
    for k, (block, pool, values) in enumerate(stages, start=1):
        size = "no pooling" if pool == 1 else f"pooled {pool} x {pool}"
        text = f"stage {k}\n{size}\n{values} + {values} values"
        box = {"boxstyle": "round", "fc": "white", "ec": GREEN}
        axes.text(gap * (block + 1), 0, text, ha="center", va="center", fontsize=8, bbox=box)
    for block in range(1, len(sides)):
        axes.text(gap * block, 1.62, f"block {block}", ha="center", fontsize=9)
    axes.set(xlim=(-0.5, gap * len(sides) - 0.9), ylim=(-1.6, 1.85), aspect="equal")
    axes.set_axis_off()
    return figure


def map_sheet(rows: dict[str, np.ndarray]) -> Figure:
    """Maps (N x height x width each row) side by side; black is the row's lowest value, white its highest."""
    columns = max(len(maps) for maps in rows.values())
    figure, axes = _grid(9, 1.2 * len(rows), rows=len(rows), columns=columns)
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, values in zip(line, maps, strict=False):
            axis.imshow(values, cmap="gray", vmin=maps.min(), vmax=maps.max())
        line[0].set_title(name, fontsize=9, loc="left")
    return figure


def windows(face: np.ndarray, panels: Sequence[dict[str, Box]]) -> Figure:
    """A gray face in each panel, and named windows on it."""
    figure, axes = _grid(3.4 * len(panels), 3.9, columns=len(panels))
    for axis, named in zip(axes.flat, panels, strict=True):
        axis.imshow(face.mean(axis=2), cmap="gray")
        for (name, box), color in zip(named.items(), (BLUE, ORANGE, GREEN, GREY), strict=False):
            corner = (box.x - 0.5, box.y - 0.5)
            axis.add_patch(
                Rectangle(corner, box.width, box.height, fill=False, color=color, lw=2.5, label=name)
            )
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False, fontsize=8, ncols=2)
        axis.set_axis_off()
    return figure


def shares(names: Sequence[str], columns: dict[str, Sequence[float]]) -> Figure:
    """How each column's total is shared out among the same names, with amounts and percentages."""
    size = (4.5 * len(columns), 0.8 + 0.26 * len(names))
    figure, axes = _grid(*size, columns=len(columns), sharey=True)
    for axis, (title, amounts), color in zip(axes.flat, columns.items(), (BLUE, ORANGE), strict=False):
        total = sum(amounts)
        bars = _plain(axis).barh(names, amounts, color=color)
        axis.bar_label(bars, [f" {amount:,}  {amount / total:.1%}" for amount in amounts], fontsize=8)
        axis.set(title=title, xlim=(0, 1.4 * max(amounts)))
        axis.set_xticks([])
        axis.spines["bottom"].set_visible(False)
    axes[0, 0].invert_yaxis()
    return figure
