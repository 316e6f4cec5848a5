"""The score of every trial after each validated epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cmd_tune.search.report.figures.style import BEST, FAILED, FINISHED, START, STOPPED, score_label, score_limits, tidy
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.scores_in_words import score_text
from cmd_tune.search.study.trial_record import TrialRecord, TrialState

Curve = Sequence[tuple[float, float]]  # epochs, with scores
_COLOURS = {TrialState.STOPPED: STOPPED, TrialState.FINISHED: FINISHED, TrialState.FAILED: FAILED}


@dataclass(frozen=True)
class LearningCurves:
    """curves: of the trials in each state. best, start: of these two."""

    metric: str
    maximize: bool
    curves: Mapping[TrialState, Sequence[Curve]]
    best: tuple[str, Curve]
    start: tuple[str, Curve] | None

    caption = "The learning curve of each trial"
    size = (9.0, 4.4)

    def draw(self, figure: Figure) -> None:
        plot = figure.subplots()
        tidy(plot)
        lines = []
        number = sum(map(len, self.curves.values()))
        for state, curves in self.curves.items():
            if curves:
                alpha = 0.7 if number < 30 else 0.45 if number < 150 else 0.2
                colour = _COLOURS[state]
                plot.add_collection(LineCollection(list(map(list, curves)), colors=colour, linewidths=1, alpha=alpha))
                if state is not TrialState.FINISHED:
                    ends = [curve[-1] for curve in curves]
                    x, y = zip(*ends, strict=True)
                    plot.scatter(x, y, s=9, color=colour, alpha=min(1, 1.5 * alpha))
                lines.append(Line2D([], [], color=colour, label=str(state)))
        for named, colour, width in ((self.start, START, 1.8), (self.best, BEST, 2.4)):
            if named:
                name, curve = named
                label = f"{'best' if colour == BEST else 'start point'}, {name}"
                lines += plot.plot(*zip(*curve, strict=True), color=colour, linewidth=width, label=label)
        every = [score for curves in self.curves.values() for curve in curves for _, score in curve]
        every += [score for named in (self.best, self.start) if named for _, score in named[1]]
        plot.set_ylim(*score_limits(every, maximize=self.maximize))
        plot.autoscale(axis="x", tight=False)
        plot.set_xlabel("epoch")
        plot.set_ylabel(score_label(self.metric))
        (name, curve), total = self.best, number + 1 + bool(self.start)
        last = score_text(self.metric, curve[-1][1])
        plot.set_title(f"{name}, the best of {total} trials, ends at {last}", fontsize=11, loc="left")
        figure.legend(handles=lines, loc="outside lower center", ncols=6, fontsize=8, frameon=False)


def learning_curves(findings: StudyFindings) -> LearningCurves | None:
    """None for a comparison, if no trial finished, and if trials were validated only once."""
    study, best, metric = findings.study, findings.best, findings.study.space.metric
    if best is None:
        return None
    start = study.start if study.start is not best else None

    def curve(trial: TrialRecord) -> Curve:
        return [(record["epoch"], record[metric]) for record in trial.history if metric in record]

    if len(curve(best)) < 2:
        return None
    curves: dict[TrialState, list[Curve]] = {state: [] for state in _COLOURS}
    for trial in study.trials.values():
        if trial is not best and trial is not start and trial.state in curves and (points := curve(trial)):
            curves[trial.state].append(points)
    named = (start.name, curve(start)) if start and curve(start) else None
    return LearningCurves(metric, study.space.maximize, curves, (best.name, curve(best)), named)
