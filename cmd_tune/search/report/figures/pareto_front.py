"""The metrics of a search against the first, which ranks, with the front.

T trial, F trial on the front of a panel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmd_tune.search.report.figures.style import BEST, FINISHED, STOPPED, score_label, tidy
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.spaces.space import MetricGoal
from cmd_tune.search.study.pareto_front import pareto_front as find_front

_LOG = 10.0  # costs whose ends differ by this factor are on a log scale
_NAMED = 8  # trials of the front with their name

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """across: the metric beside the first. place_2T: each trial's scores by that and by the first.

    front_F: the trials on the front of these two, from the left.
    """

    across: MetricGoal
    place_2T: Floats
    front_F: NDArray[np.intp]


@dataclass(frozen=True)
class ParetoFront:
    """names: of the trials; on_front: which of them no other beats in all metrics."""

    first: MetricGoal
    panels: Sequence[Panel]
    names: Sequence[str]
    on_front: NDArray[np.bool_]

    caption = "The metrics against each other; the line is the Pareto front"

    @property
    def size(self) -> tuple[float, float]:
        return 5.4 * len(self.panels) + 1.0, 4.2

    def draw(self, figure: Figure) -> None:
        plots = figure.subplots(1, len(self.panels), squeeze=False, sharey=True)[0]
        for plot, panel in zip(plots, self.panels, strict=True):
            self._draw(plot, panel)
        plots[0].set_ylabel(score_label(self.first.name))
        only = " of these two" if len(self.panels) > 1 else ""
        title = f"Each circle is a trial; no other beats the orange ones; the line is the front{only}"
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")

    def _draw(self, plot: Axes, panel: Panel) -> None:
        tidy(plot)
        x_T, y_T = panel.place_2T
        x_F, y_F = panel.place_2T[:, panel.front_F]
        # What is reached at a cost is reached at any higher one; what is better if larger, at any lower one.
        plot.step(x_F, y_F, where="pre" if panel.across.maximize else "post", color=BEST, linewidth=1.2, zorder=1)
        off = ~self.on_front
        plot.scatter(x_T[off], y_T[off], s=30, color=STOPPED, edgecolors="white", linewidths=0.6, zorder=2)
        plot.scatter(x_T[~off], y_T[~off], s=46, color=BEST, edgecolors="white", linewidths=0.6, zorder=3)
        for index in _spread(panel.front_F):
            plot.annotate(self.names[index], (x_T[index], y_T[index]), xytext=(5, -9), textcoords="offset points",
                          fontsize=8, color=FINISHED, zorder=4)  # fmt: skip
        if x_T.min() > 0 and x_T.max() >= _LOG * x_T.min():
            plot.set_xscale("log")
        plot.margins(0.12)
        plot.set_xlabel(f"{score_label(panel.across.name)}, {'more' if panel.across.maximize else 'less'} is better")


def pareto_front(findings: StudyFindings) -> ParetoFront | None:
    """None unless several metrics judge the trials, and with fewer than two finished ones."""
    trials, front = findings.study.by_own_score(), findings.front
    if not front or len(trials) < 2:
        return None
    first, *others = findings.study.space.metrics
    y_T = np.array([trial.score(first.name) for trial in trials], float)
    panels = []
    for metric in others:
        place_2T = np.array([[trial.score(metric.name) for trial in trials], y_T], float)
        on_front_T = find_front(place_2T.T, np.array([metric.maximize, first.maximize]))
        front_F = np.flatnonzero(on_front_T)
        panels.append(Panel(metric, place_2T, front_F[np.argsort(place_2T[0, front_F], kind="stable")]))
    return ParetoFront(first, panels, [trial.name for trial in trials], np.array([t in front for t in trials]))


def _spread(front_F: NDArray[np.intp]) -> NDArray[np.intp]:
    """As many of these trials as may be named, evenly from the left to the right, with both ends."""
    count = min(_NAMED, len(front_F))
    return front_F[np.linspace(0, len(front_F) - 1, count).round().astype(int)]
