"""The scores over pairs of the parameters that matter most.

T trial, Y row and X column of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmd_tune.search.report.figures.style import BEST, START, score_colours, score_label, ticks
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.positions import is_scale, place_of
from cmd_tune.search.spaces.parameter import Parameter

_PARAMETERS = 3  # of which every pair has a panel
_FEWEST = 8  # trials from which a smoothed picture says something
_PIXELS = 80

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """place_2T: of each trial on the two axes, from 0 to 1; nan where one does not count.

    smoothed: the mean score around each pixel, or None.
    """

    across: Parameter
    up: Parameter
    place_2T: Floats
    smoothed_YX: Floats | None


@dataclass(frozen=True)
class Pairs:
    """best, start: their positions among the trials. epoch: of the scores; None: the last."""

    metric: str
    maximize: bool
    score_T: Floats
    panels: Sequence[Panel]
    best: int
    start: int | None
    epoch: int | None = None

    caption = "The scores over each pair of the parameters that matter most"

    @property
    def size(self) -> tuple[float, float]:
        return 3.6 * len(self.panels) + 1.6, 4.2

    def draw(self, figure: Figure) -> None:
        plots = figure.subplots(1, len(self.panels), squeeze=False)[0]
        colours, norm = score_colours(list(self.score_T), maximize=self.maximize)
        for plot, panel in zip(plots, self.panels, strict=True):
            self._draw(plot, panel)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(plots), pad=0.02)
        bar.set_label(score_label(self.metric))
        bar.outline.set_visible(False)
        smooth = any(panel.smoothed_YX is not None for panel in self.panels)
        ground = "; the ground is the mean of the trials around" if smooth else ""
        when = "" if self.epoch is None else f" after epoch {self.epoch}"
        marks = "star: best" + (", diamond: start point" if self.start is not None else "")
        title = fill(f"Each circle is a trial, coloured by its score{when}{ground} ({marks})", int(13 * self.size[0]))
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")

    def _draw(self, plot: Axes, panel: Panel) -> None:
        colours, norm = score_colours(list(self.score_T), maximize=self.maximize)
        if panel.smoothed_YX is not None:
            ends = (-0.05, 1.05, -0.05, 1.05)
            picture = np.ma.masked_invalid(panel.smoothed_YX)
            plot.imshow(picture, extent=ends, origin="lower", cmap=colours, norm=norm, alpha=0.45, aspect="auto",
                        interpolation="bilinear")  # fmt: skip
        order = np.argsort(self.score_T if self.maximize else -self.score_T)
        size = 46 if len(order) < 60 else 24 if len(order) < 200 else 12
        x_T, y_T = panel.place_2T
        plot.scatter(x_T[order], y_T[order], c=self.score_T[order], cmap=colours, norm=norm, s=size,
                     edgecolors="white", linewidths=0.6, zorder=2)  # fmt: skip
        if self.start is not None:
            plot.scatter(x_T[self.start], y_T[self.start], s=70, marker="D", color=START, edgecolors="white", zorder=3)
        plot.scatter(x_T[self.best], y_T[self.best], s=220, marker="*", color=BEST, edgecolors="white", zorder=4)
        plot.set_xlim(-0.05, 1.05)
        plot.set_ylim(-0.05, 1.05)
        plot.set_xticks(*ticks(panel.across))
        plot.set_yticks(*ticks(panel.up))
        plot.set_xlabel(panel.across.name.replace("_", " "))
        plot.set_ylabel(panel.up.name.replace("_", " "))
        plot.tick_params(labelsize=8, color="#c4cad1")
        plot.spines[:].set_color("#c4cad1")


def pairs(findings: StudyFindings) -> Pairs | None:
    """None for a comparison, with one parameter, and with fewer than two finished trials."""
    study = findings.study
    parameters = study.space.parameters
    names = [effect.name for effect in findings.importance.effects]
    trials, score_T = findings.judged.trials, np.array(findings.judged.scores, float)
    if findings.best is None or findings.best not in trials or len(names) < 2 or len(trials) < 2:
        return None
    panels = []
    for across, up in combinations([parameters[name] for name in names[:_PARAMETERS]], 2):
        place_2T = np.array([[place_of(axis, trial.values) for trial in trials] for axis in (across, up)])
        there_T = ~np.isnan(place_2T).any(0)
        smooth = is_scale(across) and is_scale(up) and there_T.sum() >= _FEWEST
        ground_YX = smoothed(place_2T[:, there_T], score_T[there_T]) if smooth else None
        panels.append(Panel(across, up, place_2T, ground_YX))
    best, epoch = trials.index(findings.best), findings.importance.epoch
    start = trials.index(study.start) if study.start in trials and study.start is not findings.best else None
    return Pairs(study.space.metric, study.space.maximize, score_T, panels, best, start, epoch)


def smoothed(place_2T: Floats, score_T: Floats) -> Floats:
    """The mean of the scores around each pixel, by Gaussian weights (Nadaraya and Watson); nan far from all trials.

    The width falls with the number of trials as Scott's rule has it.
    """
    width = 0.3 * len(score_T) ** (-1 / 6)
    axis = np.linspace(-0.05, 1.05, _PIXELS)
    weight_YT, weight_XT = (
        np.exp(-((axis[:, None] - p_T) ** 2) / (2 * width**2)) for p_T in (place_2T[1], place_2T[0])
    )
    total_YX = weight_YT @ weight_XT.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total_YX > 0.3, (weight_YT * score_T) @ weight_XT.T / total_YX, np.nan)
