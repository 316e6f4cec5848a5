"""The trials that no other one beats in all metrics, and what it takes to go from the best to another of them."""

from functools import partial

from rich.text import Text

from cmd_tune.formatting import count, markdown_table, markdown_text
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.scores_in_words import points, score_text
from cmd_tune.search.report.trials_table import by_difference, setting_text
from cmd_tune.search.spaces.space import MetricGoal
from cmd_tune.search.study.trial_record import TrialRecord
from cmd_tune.train.costs import COST

_ROWS = 20  # trials in the table of report.md; on the screen _ON_SCREEN
_ON_SCREEN = 4
_WIDEST = 8  # parameters in the table


def pareto_front(findings: StudyFindings) -> Section | None:
    """None unless several metrics judge the trials, and if none finished."""
    study, front = findings.study, findings.front
    if not front:
        return None
    metrics = study.space.metrics
    names = by_difference(study.space.parameters, [trial.values for trial in front])[:_WIDEST]
    rows = [
        [t.name, *(_score(t, metric) for metric in metrics), *(setting_text(t.values, name) for name in names)]
        for t in front[:_ROWS]
    ]
    table = markdown_table(["", *(metric.name for metric in metrics), *names], rows)
    more = len(front) - _ROWS
    said = trades(front, metrics)
    notes = [
        f"{_how_many(findings)}; {metrics[0].name} ranks them.",
        *said,
        *_winner_elsewhere(findings),
        *([f"trials.csv has the other {more}."] if more > 0 else []),
        *_noise(findings),
    ]
    head, *rest = map(markdown_text, notes)
    screen = [Text(line, style="dim") for line in (_on_screen(findings), *said)]
    return Section("\n\n".join(["## Pareto front", head, table, *rest]), screen)


def trades(front: list[TrialRecord], metrics: tuple[MetricGoal, ...]) -> list[str]:
    """What the best by the first metric gives up for each other one, a sentence each.

    It is held against the best trial of at most half its cost; if there is none, or the metric is no cost, against the
    trial that is best by that metric.
    """
    best, first = front[0], metrics[0]
    lines = []
    for metric in metrics[1:]:
        there = _value(best, metric)
        cheap = [trial for trial in front if metric.name.startswith(COST) and _value(trial, metric) <= there / 2]
        extreme = max if metric.maximize else min
        other = cheap[0] if cheap else extreme(front, key=partial(_value, metric=metric))
        here = _value(other, metric)
        if here == there:
            lines.append(f"{best.name} is best by {metric.name}, too.")
            continue
        gain = f"is {points(metric.name, here - there)} better by {metric.name}"
        if metric.name.startswith(COST):
            gain = f"takes {100 * here / there:.0f} % of its {metric.name}"
        loss = abs(_value(other, first) - _value(best, first))
        worse = f"{points(first.name, loss)} worse" if loss else "as good"
        lines.append(f"Against {best.name}, {other.name} {gain} and is {worse} by {first.name}.")
    return lines


def _value(trial: TrialRecord, metric: MetricGoal) -> float:
    return trial.score(metric.name) or 0.0


def _score(trial: TrialRecord, metric: MetricGoal) -> str:
    return score_text(metric.name, _value(trial, metric))


def _how_many(findings: StudyFindings) -> str:
    finished = count(len(findings.study.ranked()), "finished trial")
    return f"{len(findings.front)} of {finished} {'is' if len(findings.front) == 1 else 'are'} beaten by no other"


def _on_screen(findings: StudyFindings) -> str:
    metrics = findings.study.space.metrics
    shown = [f"{t.name} ({', '.join(_score(t, m) for m in metrics)})" for t in findings.front[:_ON_SCREEN]]
    more = len(findings.front) - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    return f"Pareto front by {', '.join(metric.name for metric in metrics)}: {listed}."


def _winner_elsewhere(findings: StudyFindings) -> list[str]:
    best = findings.best
    if best is None or best in findings.front:
        return []
    return [f"{best.name}, which is first by fresh seeds, is not on the front, which is of the trials' own scores."]


def _noise(findings: StudyFindings) -> list[str]:
    if findings.noise is None or len(findings.front) == 1:
        return []
    metric = findings.study.space.metric
    size = points(metric, findings.noise)
    return [f"The noise of {metric} is about {size} (one standard deviation); smaller steps may be chance."]
