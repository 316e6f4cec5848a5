"""The score of each trial by its number, and the best so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from cmd_tune.search.report.figures.style import (
    BASELINE,
    BEST,
    FAILED,
    FINISHED,
    START,
    STOPPED,
    score_label,
    score_limits,
    tidy,
)
from cmd_tune.search.report.findings import RAW, UNTRAINED, StudyFindings
from cmd_tune.search.report.scores_in_words import bare_score, score_text
from cmd_tune.search.study.trial_record import TrialState

_BEYOND = 0.35  # of the range of the scores: baselines that are further away are not drawn

Points = Sequence[tuple[int, float]]  # numbers of trials, with scores


@dataclass(frozen=True)
class BestSoFar:
    """steps: the best score after each trial that improved it. lines: scores to compare with, by title.

    stopped: their last scores. failed: numbers of trials. best: the trial that won, which fresh seeds may have decided.
    last: the highest number of a trial.
    """

    metric: str
    maximize: bool
    finished: Points
    stopped: Points
    failed: Sequence[int]
    steps: Points
    lines: Mapping[str, float]
    start: tuple[int, float] | None
    best: tuple[int, float]
    last: int

    caption = "The score of each trial, and the best so far"
    size = (9.0, 4.4)

    @property
    def title(self) -> str:
        (_, first), (number, score) = self.steps[0], self.steps[-1]
        began = "" if len(self.steps) == 1 else f"; it began at {score_text(self.metric, first)}"
        won = "" if number == self.best[0] else f"; over fresh seeds trial-{self.best[0]:03d} is best"
        return f"The best single run is trial-{number:03d}, {score_text(self.metric, score)}{won or began}"

    def draw(self, figure: Figure) -> None:
        plot = figure.subplots()
        tidy(plot)
        low, high = score_limits([score for _, score in (*self.finished, *self.stopped)], maximize=self.maximize)
        beyond = _BEYOND * (high - low)
        kept = {title: score for title, score in self.lines.items() if low - beyond < score < high + beyond}
        low, high = min(low, *(score - 0.1 * beyond for score in kept.values()), low), max(high, *kept.values(), high)
        plot.set_ylim(low, high)
        size = 22 if self.last < 100 else 10
        for points, colour, title in ((self.stopped, STOPPED, "stopped early"), (self.finished, FINISHED, "finished")):
            if points:
                x, y = [number for number, _ in points], [min(max(score, low), high) for _, score in points]
                plot.scatter(x, y, s=size, color=colour, label=title, linewidths=0, zorder=2)
        if self.failed:
            edge = [low if self.maximize else high] * len(self.failed)
            plot.scatter(self.failed, edge, s=28, marker="x", color=FAILED, label="failed", clip_on=False, zorder=3)
        numbers, scores = zip(*self.steps, (self.last, self.steps[-1][1]), strict=True)
        plot.step(numbers, scores, where="post", color=BEST, linewidth=1.8, label="best run so far", zorder=2.5)
        plot.scatter(*self.best, s=130, marker="*", color=BEST, edgecolors="white", label="best", zorder=4)
        if self.start:
            plot.axhline(self.start[1], color=START, linewidth=1, linestyle="--", zorder=1)
            plot.scatter(*self.start, s=46, marker="D", color=START, edgecolors="white", label="start point", zorder=4)
        told = {title: f"{title} {bare_score(self.metric, score)}" for title, score in self.lines.items()}
        for (title, score), style in zip(kept.items(), (":", "-."), strict=False):
            plot.axhline(score, color=BASELINE, linewidth=1.2, linestyle=style, label=told[title])
        plot.set_xlim(-0.02 * max(self.last, 1) - 0.3, self.last * 1.02 + 0.3)
        off = [text for title, text in told.items() if title not in kept]
        plot.set_xlabel("trial" + (f"   (beyond the range shown: {', '.join(off)})" if off else ""))
        plot.set_ylabel(score_label(self.metric))
        plot.set_title(self.title, fontsize=11, loc="left")
        figure.legend(loc="outside lower center", ncols=8, fontsize=8, frameon=False)


def best_so_far(findings: StudyFindings) -> BestSoFar | None:
    """None for a comparison, which selects nothing, and if no trial finished."""
    study = findings.study
    metric, maximize = study.space.metric, study.space.maximize
    scores = {trial.index: score for trial in study.trials.values() if (score := trial.score(metric)) is not None}

    def of(state: TrialState) -> list[tuple[int, float]]:
        return [(i, scores[i]) for i, trial in sorted(study.trials.items()) if trial.state is state and i in scores]

    finished = of(TrialState.FINISHED)
    if findings.best is None or not finished:
        return None
    steps: list[tuple[int, float]] = []
    for number, score in finished:
        if not steps or (score > steps[-1][1] if maximize else score < steps[-1][1]):
            steps.append((number, score))
    lines = {
        title: kind[metric] for title, kind in ((UNTRAINED, findings.untrained), (RAW, findings.raw)) if metric in kind
    }
    start = study.start
    return BestSoFar(
        metric,
        maximize,
        finished,
        of(TrialState.STOPPED),
        [trial.index for trial in study.trials.values() if trial.state is TrialState.FAILED],
        steps,
        lines,
        (start.index, scores[start.index]) if start and start.state is TrialState.FINISHED else None,
        (findings.best.index, scores[findings.best.index]),
        max(study.trials),
    )
