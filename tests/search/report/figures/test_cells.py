"""Figures of tables: the right kind for the cells, drawn whole, also where nothing has been results yet."""

import io

import pytest
from matplotlib.figure import Figure

from cmd_tune.figures import new_figure
from cmd_tune.search.report.cell_results import CellResult
from cmd_tune.search.report.figures.cells import arrange
from cmd_tune.search.spaces.comparison import Cell

TEMPERATURES = [(0.05, 0.1), (0.05, 1.0), (0.01, 0.1)]


def draw(cells: list[Cell], means: dict[str, list[float | None]]) -> Figure:
    """The figure of cells with means by metric, intervals from 2 below to 3 above; drawn once, as for a file."""
    results = [
        CellResult(cell, metric, {0: mean}, (mean - 2, mean + 3), "t", cell.reported.get(metric)) if mean is not None
        else CellResult(cell, metric, {}, None, "", cell.reported.get(metric))
        for metric, values in means.items() for cell, mean in zip(cells, values, strict=True)
    ]  # fmt: skip
    drawing = arrange("A table", cells, results, {"untrained": {"test/knn/joint": 31.5}, "raw 1-NN": {}})
    figure = new_figure(*drawing.size)
    drawing.draw(figure)
    figure.savefig(io.BytesIO())
    return figure


def temperatures(*reported: float | None) -> list[Cell]:
    return [
        Cell({"teacher_temperature": t, "student_temperature": s}, {} if r is None else {"test/knn/joint": r})
        for (t, s), r in zip(TEMPERATURES, reported, strict=True)
    ]


def texts(figure: Figure, panel: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts if text.get_text()]


def test_two_numbers_are_a_heat_map() -> None:
    figure = draw(temperatures(79.8, None, 79.7), {"test/knn/joint": [70.0, 60.0, None]})
    panel, _colours = figure.axes
    (image,) = panel.images
    # Rows are teachers 0.01, 0.05 from below, columns students 0.1, 1.0; the fourth place is no cell of the table.
    assert image.get_array().tolist() == [[None, None], [70.0, 60.0]]
    assert image.origin == "lower"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0.1", "1"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0.01", "0.05"]
    assert texts(figure) == ["70.0", "68.0–73.0\nreported 79.8", "60.0", "58.0–63.0", "–", "reported 79.7"]
    assert panel.get_title() == "test/knn/joint, 0–1 seeds a cell\nuntrained 31.5"


def test_anything_else_is_bars_with_intervals_beside_what_was_reported() -> None:
    cells = [Cell({"objective": name}, {"test/knn/joint": r}) for name, r in (("base", 63.4), ("cmd", 70.6))]
    figure = draw(cells, {"test/knn/joint": [55.0, 66.0], "val/knn/joint": [50.0, None]})
    first, second = figure.axes
    assert [bar.get_height() for bar in first.patches] == [55.0, 63.4, 66.0, 70.6]
    assert [bar.get_height() for bar in second.patches] == [50.0]
    assert [label.get_text() for label in first.get_xticklabels()] == ["objective base", "objective cmd"]
    assert [bar.get_segments()[0][:, 1].tolist() for bar in first.collections] == [[53.0, 58.0], [64.0, 69.0]]
    # Where nothing is reported, bars stand over their ticks and the legend speaks of ours alone.
    assert [bar.get_x() + bar.get_width() / 2 for bar in first.patches[::2]] == [-0.19, 0.81]
    assert second.patches[0].get_x() + second.patches[0].get_width() / 2 == 0
    assert [len(panel.get_legend().get_texts()) for panel in (first, second)] == [2, 1]
    assert first.get_ylim() == (0, 100)  # bars from anywhere else make differences look larger than they are
    assert texts(figure)[-1] == "untrained 31.5"


@pytest.mark.filterwarnings("error")
def test_a_table_without_a_number_is_drawn() -> None:
    assert texts(draw(temperatures(None, None, None), {"test/knn/joint": [None] * 3})) == ["–"] * 3
    assert draw([Cell({"objective": "cmd"}, {})], {"test/knn/joint": [None]}).axes[0].patches[:] == []
