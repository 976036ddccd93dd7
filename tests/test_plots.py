import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ssrlib import SSRNet, plots
from ssrlib.detectors import Box
from ssrlib.estimator import Reading

FACES = np.zeros((7, 64, 64, 3), np.uint8)
READING = Reading(Box(10, 10, 40, 40), 31.4, 22.0, 44.5, 0.25)

GROUPS = [
    {"group": "a", "faces": 1, "mae": 3.0, "intervals": {"mae": None}},
    {"group": "b", "faces": 9, "mae": 2.0, "intervals": {"mae": [1.5, 2.5]}},
]
BINS = [
    {
        "faces": 5,
        "mean_predicted": 0.2,
        "fraction_positive": 0.1,
        "intervals": {"fraction_positive": [0.0, 0.4]},
    },
    {"faces": 1, "mean_predicted": 0.9, "fraction_positive": 1.0, "intervals": {"fraction_positive": None}},
]
FOUR = np.array([20.0, 30.0, 40.0, 50.0])

HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "loss": [9.0, 8, 7], "mae": [8.0, 6.25, 7]})

FIGURES = {
    "face_sheet": lambda: plots.face_sheet(FACES, list("abcdefg"), columns=3),
    "photo_with_faces": lambda: plots.photo_with_faces(np.zeros((80, 90, 3), np.uint8), [READING], FACES[0]),
    "photo alone": lambda: plots.photo_with_faces(np.zeros((80, 90, 3), np.uint8), []),
    "finds": lambda: plots.finds([FACES[0]] * 2, [[], [Box(1, 2, 30, 30)]]),
    "expected_value": lambda: plots.expected_value(np.array([0.25, 0.75]), np.array([0.0, 1.0])),
    "stages": lambda: plots.stages([[0, 1, 0], [0.2, 0.8]], [[0, 0, 0], [0.1, 0]], [0, -0.5], 90),
    "scatter": lambda: plots.scatter(np.array([1.0, 50]), np.array([3.0, 40])),
    "error_by_age": lambda: plots.error_by_age([{"ages": "0-9", "faces": 3, "mae": 2.0}]),
    "cumulative_score": lambda: plots.cumulative_score(
        [{"years": 1, "share": 0.2, "interval": [0.1, 0.3]}, {"years": 2, "share": 0.4, "interval": None}]
    ),
    "groups": lambda: plots.groups(GROUPS, "mae", "error (years)", line=2.5),
    "calibration_curve": lambda: plots.calibration_curve(BINS),
    "intervals": lambda: plots.intervals(FOUR, FOUR + 5, FOUR - [0, 0, 0, -9], FOUR + 12),
    "heat_maps": lambda: plots.heat_maps(FACES[0], {"flat": np.zeros((3, 3)), "some": np.eye(16)}, inset=4),
    "stage_terms": lambda: plots.stage_terms(["a", "b"], np.array([[30.0, 5, 1], [50, -3, 2]])),
    "runs": lambda: plots.runs({"a": HISTORY, "b": HISTORY}, "mae", "years"),
    "curves": lambda: plots.curves(np.arange(3), {"a": np.arange(3), "b": np.ones(3)}, "x", "y"),
    "two_streams": lambda: plots.two_streams([64, 31, 14, 6, 4], (32, 16), SSRNet.STAGES),
    "map_sheet": lambda: plots.map_sheet({"a": np.ones((2, 4, 4)), "b": np.arange(8.0).reshape(2, 2, 2)}),
    "windows": lambda: plots.windows(FACES[0], [{"small": Box(1, 2, 3, 3)}, {"large": Box(0, 0, 60, 60)}]),
    "shares": lambda: plots.shares(["a", "b"], {"parameters": [1, 3], "work": [2000, 0]}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_drawn(name, tmp_path):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert any(axes.has_data() for axes in figure.axes)


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_stages_end_at_the_formulas_value():
    figure = plots.stages([[0, 1, 0], [0, 0, 1]], [[0, 0, 0]] * 2, [0, 0], 90)
    assert "30 years" in texts(figure)
    assert "50 years" in texts(figure)


def test_expected_value_is_the_balance_point():
    assert "0.8 years" in texts(plots.expected_value(np.array([0.25, 0.75]), np.array([0.0, 1.0])))


def test_a_photos_readings_are_written_on_it():
    assert "31 years, p_male 0.25" in texts(
        plots.photo_with_faces(np.zeros((80, 90, 3), np.uint8), [READING])
    )


def test_a_finds_score_is_written_inside_the_photo():
    figure = plots.finds([FACES[0]], [[Box(5, -20, 30, 30, score=0.875), Box(9, 9, 9, 9)]])
    assert texts(figure).split() == ["0.88"]
    (score, _) = figure.axes[0].texts
    assert score.get_position() == (5, pytest.approx(0.06 * 64))


def test_a_trainings_summary_names_its_best_epoch():
    by_age = [{"ages": "0-9", "faces": 3, "mae": 2.0}]
    assert "6.25" in texts(plots.training_summary(HISTORY, by_age))
    assert len(plots.training_summary(HISTORY).axes) == 1


def test_every_run_has_a_line_of_its_own():
    histories = {f"seed {seed}": HISTORY for seed in range(9)}
    lines = plots.runs(histories, "mae", "years").axes[0].lines
    assert [line.get_label() for line in lines] == list(histories)
    assert len({(line.get_color(), line.get_linestyle()) for line in lines[:8]}) == 8


def test_store_report_counts_what_is_there(drawn_store, tmp_path):
    figure = plots.store_report(drawn_store)
    train = (drawn_store.rows["split"] == "train").sum()
    assert f"{train:,}  train" in texts(figure)
    figure.savefig(tmp_path / "report.png")


def test_shares_are_of_their_columns_total():
    written = texts(plots.shares(["a", "b"], {"parameters": [1, 3], "work": [2000, 0]}))
    assert "3  75.0%" in written
    assert "2,000  100.0%" in written


def test_windows_lie_on_whole_pixels():
    (axes,) = plots.windows(FACES[0], [{"small": Box(10, 20, 4, 6)}]).axes
    assert axes.patches[0].get_bbox().extents.tolist() == [9.5, 19.5, 13.5, 25.5]


def test_bars_keep_their_order():
    assert texts(plots.lying_bars({"slow": 2.5, "fast": 0.25}, "ms")).split() == [
        "2.5",
        "slow",
        "0.25",
        "fast",
    ]


def test_a_roof_is_as_high_as_the_memory_or_the_arithmetic_allows():
    (axes,) = plots.roofline({"copies": 0.25, "multiplies": 50.0}, peak=1e12, bandwidth=1e11).axes
    roof, *dots = axes.lines
    assert roof.get_ydata().max() == 1000
    assert [dot.get_ydata()[0] for dot in dots] == [25, 1000]
    assert [text.get_text() for text in axes.texts] == ["copies", "multiplies"]


def test_names_of_dots_that_stand_close_on_the_slope_do_not_touch():
    figure = plots.roofline({"batch norm, ReLU": 0.2, "pooling": 0.17, "c": 20.0}, peak=1e11, bandwidth=4e10)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(figure.axes[0].bbox.contains(box.x0, box.y0) for box in boxes)


def test_a_timeline_has_a_row_for_each_kind_of_work():
    (axes,) = plots.timeline({"read": [(0, 1), (2, 3)], "write": [(1, 1)]}, "ms").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["read", "write"]
    assert [len(row.get_paths()) for row in axes.collections] == [2, 1]


def test_maps_of_squares_end_where_the_middles_of_the_squares_do():
    figure = plots.heat_maps(FACES[0], {"some": np.eye(14)}, inset=4)
    face, shown = figure.axes[0].get_images()
    assert face.get_extent() == [0, 64, 64, 0]
    assert shown.get_extent() == [4, 60, 60, 4]
    assert figure.axes[0].get_xlim() == (0, 64)


def test_bins_that_lie_upon_one_another_get_lanes_of_their_own():
    figure = plots.stages([[0.4, 0.7, 0.9]], [[1.0, 0.0, -1.0]], [0.0], 90.0)
    lanes = sorted((bin_.get_y(), bin_.get_y() + bin_.get_height()) for bin_ in figure.axes[0].patches)
    assert all(above[1] <= below[0] for above, below in itertools.pairwise(lanes))
    heights = {
        text.get_text().strip(): text.get_position()[1]
        for text in figure.axes[0].texts
        if "p =" in text.get_text()
    }
    assert list(heights) == ["bin 0, p = 0.40", "bin 1, p = 0.70", "bin 2, p = 0.90"]
    assert len(set(heights.values())) == 3
