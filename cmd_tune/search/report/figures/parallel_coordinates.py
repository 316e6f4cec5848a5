"""Every finished trial as a line over the axes of its parameters, coloured by its score.

T trial, A axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmd_tune.search.report.figures.style import BEST, QUIET, score_colours, score_label, ticks, words
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.positions import place_of
from cmd_tune.search.spaces.parameter import Parameter

_AXES = 12  # parameters shown at most
_SPREAD = 0.03  # how far lines through one choice are apart at most


@dataclass(frozen=True)
class ParallelCoordinates:
    """place_TA: from 0 to 1; nan where the parameter does not count, at which lines are broken.

    hidden: parameters that are not shown. best: its row. epoch: as of `Pairs`.
    """

    metric: str
    maximize: bool
    axes: Sequence[Parameter]
    place_TA: NDArray[np.float64]
    score_T: NDArray[np.float64]
    best: tuple[str, int]
    hidden: int
    epoch: int | None = None

    caption = "All finished trials in parallel coordinates"

    @property
    def size(self) -> tuple[float, float]:
        return max(5.5, 0.88 * len(self.axes) + 2.0), 4.6

    def draw(self, figure: Figure) -> None:
        plot = figure.subplots()
        colours, norm = score_colours(list(self.score_T), maximize=self.maximize)
        across = np.arange(len(self.axes))
        order = np.argsort(self.score_T if self.maximize else -self.score_T)
        alpha = 0.8 if len(order) < 50 else 0.5 if len(order) < 200 else 0.3
        lines = [np.column_stack([across, self.place_TA[trial]]) for trial in order]
        plot.add_collection(
            LineCollection(lines, colors=colours(norm(self.score_T[order])), alpha=alpha, linewidths=1.1, zorder=1)
        )
        plot.plot(across, self.place_TA[self.best[1]], color="white", linewidth=4.5, zorder=2)
        plot.plot(across, self.place_TA[self.best[1]], color=BEST, linewidth=2.6, zorder=2)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
        for number, parameter in enumerate(self.axes):
            plot.axvline(number, color="#c4cad1", linewidth=1, zorder=0)
            for height, label in zip(*ticks(parameter), strict=True):
                plot.plot([number - 0.03, number + 0.03], [height] * 2, color=QUIET, linewidth=1, zorder=3)
                plot.text(number + 0.06, height, label, fontsize=8.5, va="center", color="#30363d", bbox=box, zorder=4)
        plot.set_xticks(across, [words(parameter.name) for parameter in self.axes], fontsize=9)
        plot.xaxis.tick_top()
        plot.tick_params(length=0)
        plot.set_yticks([])
        plot.spines[:].set_visible(False)
        plot.set_xlim(-0.15, len(self.axes) - 1 + 0.5)
        plot.set_ylim(-0.05, 1.05)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=plot, pad=0.01)
        bar.set_label(score_label(self.metric))
        bar.outline.set_visible(False)
        more = f" ({self.hidden} parameters that matter less are left out)" if self.hidden else ""
        trials = (
            f"The {len(order)} finished trials"
            if self.epoch is None
            else f"{len(order)} trials after epoch {self.epoch}"
        )
        title = fill(f"{trials}; {self.best[0]}, the best, is orange{more}", int(13 * self.size[0]))
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")


def parallel_coordinates(findings: StudyFindings) -> ParallelCoordinates | None:
    """None for a comparison, with one parameter, and with fewer than two finished trials."""
    study = findings.study
    names = [effect.name for effect in findings.importance.effects]
    trials, score_T = findings.judged.trials, np.array(findings.judged.scores, float)
    if findings.best is None or findings.best not in trials or len(names) < 2 or len(trials) < 2:
        return None
    axes = [study.space.parameters[name] for name in names[:_AXES]]
    golden = (np.arange(len(trials)) * 0.618) % 1 - 0.5  # fills the gap evenly, whatever the number of trials
    place_TA = np.array([[place_of(axis, trial.values) for axis in axes] for trial in trials])
    choices_A = np.array([bool(axis.choices) for axis in axes])
    return ParallelCoordinates(
        study.space.metric,
        study.space.maximize,
        axes,
        place_TA + 2 * _SPREAD * golden[:, None] * choices_A,
        score_T,
        (findings.best.name, trials.index(findings.best)),
        len(names) - len(axes),
        findings.importance.epoch,
    )
