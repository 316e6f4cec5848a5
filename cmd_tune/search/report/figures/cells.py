"""The cells of a comparison: a heat map per metric if two numbers tell the cells apart, else bars; reported accuracies
and baselines beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from cmd_tune.evaluate.scores import Scores
from cmd_tune.formatting import format_value
from cmd_tune.search.report.cell_results import CellResult
from cmd_tune.search.report.findings import RAW, UNTRAINED, StudyFindings
from cmd_tune.search.spaces.comparison import Cell

_COLOURS = "YlGnBu"
_MEASURED, _REPORTED = "#2b6ca3", "#c9d3dc"
_BASELINES = {UNTRAINED: ":", RAW: "--"}


@dataclass(frozen=True)
class Panel:
    """One metric. results: in the order of the cells. baselines: scores beside all cells, by title."""

    results: Sequence[CellResult]
    baselines: Mapping[str, float]

    @property
    def title(self) -> str:
        seeds = sorted({len(result.scores) for result in self.results})
        count = "–".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
        return f"{self.results[0].metric}, {count} {'seed' if seeds == [1] else 'seeds'} a cell"


@dataclass(frozen=True)
class CellsFigure:
    """axes: the settings of a heat map's rows and columns; None for bars."""

    title: str
    cells: Sequence[Cell]
    panels: Sequence[Panel]
    axes: tuple[str, str] | None

    caption = "The table as a figure"

    @property
    def size(self) -> tuple[float, float]:
        if self.axes is None:
            width, height = 1.8 + 1.15 * len(self.cells), 4.2
        else:
            rows, columns = (len({cell.values[name] for cell in self.cells}) for name in self.axes)
            width, height = 2.4 + 1.15 * columns, 1.6 + 0.75 * rows
        return width * len(self.panels), height

    def draw(self, figure: Figure) -> None:
        figure.suptitle(self.title, fontsize=11)
        for plot, panel in zip(figure.subplots(1, len(self.panels), squeeze=False)[0], self.panels, strict=True):
            if self.axes:
                _draw_heat_map(figure, plot, panel, *self.axes)
            else:
                _draw_bars(plot, panel)


def cells_figure(findings: StudyFindings) -> CellsFigure | None:
    """None for a search."""
    comparison = findings.comparison
    if comparison is None:
        return None
    where = comparison.conditions
    title = (
        f"{comparison.stated.title or findings.study.space.path.stem}\nmeasured on {where.dataset}, {where.protocol}"
    )
    return arrange(title, comparison.stated.cells, comparison.results, comparison.baselines)


def arrange(
    title: str, cells: Sequence[Cell], results: Sequence[CellResult], baselines: Mapping[str, Scores]
) -> CellsFigure:
    """The results as panels, one per metric."""
    panels = [
        Panel(
            [result for result in results if result.metric == metric],
            {name: scores[metric] for name, scores in baselines.items() if metric in scores},
        )
        for metric in dict.fromkeys(result.metric for result in results)
    ]
    return CellsFigure(title, cells, panels, _two_numbers(cells))


def _two_numbers(cells: Sequence[Cell]) -> tuple[str, str] | None:
    """The settings of the two axes, if there are just two settings and both are numbers."""
    names = list(cells[0].values)
    numbers = all(isinstance(x, int | float) for cell in cells for x in cell.values.values())
    return (names[0], names[1]) if len(names) == 2 and numbers else None


def mean_grid(
    results: Sequence[CellResult], row: str, column: str
) -> tuple[list[float], list[float], NDArray[np.float64]]:
    """The values of two settings, ascending, and each cell's mean by row and column; nan if there is none."""
    rows, columns = (sorted({result.cell.values[name] for result in results}) for name in (row, column))
    mean_RC = np.full((len(rows), len(columns)), np.nan)
    for result in results:
        if result.mean is not None:
            mean_RC[rows.index(result.cell.values[row]), columns.index(result.cell.values[column])] = result.mean
    return rows, columns, mean_RC


def _draw_heat_map(figure: Figure, plot: Axes, panel: Panel, row: str, column: str) -> None:
    rows, columns, mean_RC = mean_grid(panel.results, row, column)
    plot.set_facecolor("#f2f2f2")
    image = plot.imshow(np.ma.masked_invalid(mean_RC), cmap=_COLOURS, origin="lower", aspect="auto")
    for result in panel.results:
        y, x = rows.index(result.cell.values[row]), columns.index(result.cell.values[column])
        dark = result.mean is not None and result.mean > _above(mean_RC, 0.55)
        colour = "white" if dark else "black"
        value = "–" if result.mean is None else f"{result.mean:.1f}"
        small = [f"{result.interval[0]:.1f}–{result.interval[1]:.1f}"] if result.interval else []
        small += [] if result.reported is None else [f"reported {result.reported:.1f}"]
        plot.text(x, y + 0.2, value, ha="center", va="center", color=colour, fontsize=12, weight="bold")
        plot.text(x, y - 0.02, "\n".join(small), ha="center", va="top", color=colour, fontsize=8)
    plot.set_xticks(range(len(columns)), [format_value(value) for value in columns])
    plot.set_yticks(range(len(rows)), [format_value(value) for value in rows])
    plot.set_xlabel(_words(column))
    plot.set_ylabel(_words(row))
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)
    plot.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    plot.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    plot.grid(which="minor", color="white", linewidth=2)
    plot.tick_params(which="minor", length=0)
    plot.set_title("\n".join([panel.title, *_lines(panel.baselines)]), fontsize=9)
    figure.colorbar(image, ax=plot, label="percent right, mean over seeds (95 % interval)")


def _above(values: NDArray[np.float64], share: float) -> float:
    """The value a share of the way from the lowest to the highest."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low + share * (high - low)


def _draw_bars(plot: Axes, panel: Panel) -> None:
    width, positions = 0.38, np.arange(len(panel.results))
    compared = any(result.reported is not None for result in panel.results)
    ours = positions - width / 2 if compared else positions
    for position, own, result in zip(positions, ours, panel.results, strict=True):
        if result.mean is not None:
            low, high = result.interval or (result.mean, result.mean)
            error = [[result.mean - low], [high - result.mean]]
            plot.bar(own, result.mean, width, yerr=error, capsize=4, color=_MEASURED)
            plot.text(own, 2, f"{result.mean:.1f}", ha="center", va="bottom", color="white", weight="bold")
        if result.reported is not None:
            plot.bar(position + width / 2, result.reported, width, color=_REPORTED)
            plot.text(position + width / 2, 2, f"{result.reported:.1f}", ha="center", va="bottom", color="black")
    for name, value in panel.baselines.items():
        plot.axhline(value, color="#b5443c", linestyle=_BASELINES.get(name, ":"), linewidth=1.2)
        plot.annotate(
            f"{name} {value:.1f}", (1, value), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8, color="#b5443c",
        )  # fmt: skip
    plot.set_xticks(
        positions,
        ["\n".join(_tick(name, x) for name, x in result.cell.values.items()) for result in panel.results],
        fontsize=8,
    )
    plot.set_ylim(0, 100)
    plot.set_ylabel("percent right")
    plot.spines[["top", "right"]].set_visible(False)
    plot.set_title(panel.title, fontsize=10)
    kinds = [Patch(color=_MEASURED, label="measured, 95 % interval"), Patch(color=_REPORTED, label="reported")]
    plot.legend(handles=kinds if compared else kinds[:1], loc="upper left", fontsize=8, ncols=2, frameon=False)


def _tick(name: str, value: Any) -> str:
    return f"{_words(name)} {format_value(value)}"


def _lines(baselines: Mapping[str, float]) -> list[str]:
    return [", ".join(f"{name} {value:.1f}" for name, value in baselines.items())] if baselines else []


def _words(name: str) -> str:
    return name.replace("_", " ")
