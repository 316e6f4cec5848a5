"""Figures of a table: a heat map where two numbers tell its cells apart, else bars, beside what was reported."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from cmd_tune.evaluate.scores import Scores
from cmd_tune.figures import new_figure
from cmd_tune.formatting import shown
from cmd_tune.search.report.cell_results import Measured
from cmd_tune.search.spaces.comparison import Cell

_COLOURS = "YlGnBu"
_MEASURED, _REPORTED = "#2b6ca3", "#c9d3dc"
_BASELINES = {"untrained": ":", "raw 1-NN": "--"}


def table_figure(
    cells: Sequence[Cell], measured: Sequence[Measured], baselines: dict[str, Scores], title: str
) -> Figure:
    """All metrics of a table, one panel each. baselines: scores that stand beside every cell, by their names."""
    metrics = list(dict.fromkeys(m.metric for m in measured))
    axes = _two_numbers(cells)
    width, height = _panel_size(cells, axes)
    figure = new_figure(width * len(metrics), height)
    figure.suptitle(title, fontsize=11)
    for panel, metric in zip(_panels(figure, len(metrics)), metrics, strict=True):
        ours = [m for m in measured if m.metric == metric]
        beside = {name: scores[metric] for name, scores in baselines.items() if metric in scores}
        if axes:
            _heat_map(figure, panel, ours, *axes, beside)
        else:
            _bars(panel, ours, beside)
    return figure


def _panels(figure: Figure, count: int) -> list[Axes]:
    return list(figure.subplots(1, count, squeeze=False)[0])


def _two_numbers(cells: Sequence[Cell]) -> tuple[str, str] | None:
    """The settings of the two axes, where there are just two and both are numbers."""
    names = list(cells[0].values)
    numbers = all(isinstance(x, int | float) for cell in cells for x in cell.values.values())
    return (names[0], names[1]) if len(names) == 2 and numbers else None


def _panel_size(cells: Sequence[Cell], axes: tuple[str, str] | None) -> tuple[float, float]:
    """Inches."""
    if axes is None:
        return 1.8 + 1.15 * len(cells), 4.2
    rows, columns = (len({cell.values[name] for cell in cells}) for name in axes)
    return 2.4 + 1.15 * columns, 1.6 + 0.75 * rows


def _heat_map(
    figure: Figure, panel: Axes, measured: Sequence[Measured], row: str, column: str, beside: dict[str, float]
) -> None:
    rows, columns = (sorted({m.cell.values[name] for m in measured}) for name in (row, column))
    means = np.full((len(rows), len(columns)), np.nan)
    for m in measured:
        if m.mean is not None:
            means[rows.index(m.cell.values[row]), columns.index(m.cell.values[column])] = m.mean
    panel.set_facecolor("#f2f2f2")
    image = panel.imshow(np.ma.masked_invalid(means), cmap=_COLOURS, origin="lower", aspect="auto")
    for m in measured:
        y, x = rows.index(m.cell.values[row]), columns.index(m.cell.values[column])
        dark = m.mean is not None and m.mean > _above(means, 0.55)
        colour = "white" if dark else "black"
        value = "–" if m.mean is None else f"{m.mean:.1f}"
        small = [f"{m.interval[0]:.1f}–{m.interval[1]:.1f}"] if m.interval else []
        small += [] if m.reported is None else [f"reported {m.reported:.1f}"]
        panel.text(x, y + 0.2, value, ha="center", va="center", color=colour, fontsize=12, weight="bold")
        panel.text(x, y - 0.02, "\n".join(small), ha="center", va="top", color=colour, fontsize=8)
    panel.set_xticks(range(len(columns)), [shown(value) for value in columns])
    panel.set_yticks(range(len(rows)), [shown(value) for value in rows])
    panel.set_xlabel(_words(column))
    panel.set_ylabel(_words(row))
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    panel.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    panel.grid(which="minor", color="white", linewidth=2)
    panel.tick_params(which="minor", length=0)
    panel.set_title("\n".join([_metric(measured), *_lines(beside)]), fontsize=9)
    figure.colorbar(image, ax=panel, label="percent right, mean over seeds (95 % interval)")


def _above(values: NDArray[np.float64], share: float) -> float:
    """The value a share of the way from the lowest to the highest."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low + share * (high - low)


def _bars(panel: Axes, measured: Sequence[Measured], beside: dict[str, float]) -> None:
    width, places = 0.38, np.arange(len(measured))
    compared = any(m.reported is not None for m in measured)
    ours = places - width / 2 if compared else places
    for place, own, m in zip(places, ours, measured, strict=True):
        if m.mean is not None:
            low, high = m.interval or (m.mean, m.mean)
            error = [[m.mean - low], [high - m.mean]]
            panel.bar(own, m.mean, width, yerr=error, capsize=4, color=_MEASURED)
            panel.text(own, 2, f"{m.mean:.1f}", ha="center", va="bottom", color="white", weight="bold")
        if m.reported is not None:
            panel.bar(place + width / 2, m.reported, width, color=_REPORTED)
            panel.text(place + width / 2, 2, f"{m.reported:.1f}", ha="center", va="bottom", color="black")
    for name, value in beside.items():
        panel.axhline(value, color="#b5443c", linestyle=_BASELINES.get(name, ":"), linewidth=1.2)
        panel.annotate(
            f"{name} {value:.1f}", (1, value), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8, color="#b5443c",
        )  # fmt: skip
    panel.set_xticks(
        places, ["\n".join(_tick(name, x) for name, x in m.cell.values.items()) for m in measured], fontsize=8
    )
    panel.set_ylim(0, 100)
    panel.set_ylabel("percent right")
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(_metric(measured), fontsize=10)
    kinds = [Patch(color=_MEASURED, label="measured, 95 % interval"), Patch(color=_REPORTED, label="reported")]
    panel.legend(handles=kinds if compared else kinds[:1], loc="upper left", fontsize=8, ncols=2, frameon=False)


def _tick(name: str, value: Any) -> str:
    return f"{_words(name)} {shown(value)}"


def _metric(measured: Sequence[Measured]) -> str:
    seeds = sorted({len(m.scores) for m in measured})
    count = "–".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1])))
    return f"{measured[0].metric}, {count} {'seed' if seeds == [1] else 'seeds'} a cell"


def _lines(beside: dict[str, float]) -> list[str]:
    return [", ".join(f"{name} {value:.1f}" for name, value in beside.items())] if beside else []


def _words(name: str) -> str:
    return name.replace("_", " ")
