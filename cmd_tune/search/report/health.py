"""What a person should know before trusting a search's winner: each in one line, with what to do about it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from statistics import stdev
from typing import Any

from cmd_tune.evaluate.intervals import wilson_interval
from cmd_tune.formatting import count, format_value
from cmd_tune.search.report.findings import RAW, UNTRAINED, StudyFindings
from cmd_tune.search.report.importance import Impact
from cmd_tune.search.report.metrics import tested_metric
from cmd_tune.search.report.positions import in_order, is_scale, place
from cmd_tune.search.report.power import seeds_needed
from cmd_tune.search.report.scores_in_words import about, is_accuracy, points, score_text
from cmd_tune.search.report.verdicts import ALPHA, paired_differences
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.study.study import FINALISTS
from cmd_tune.search.study.trial_record import TrialRecord, TrialState
from cmd_tune.settings import Settings
from cmd_tune.train.costs import COST

_EDGE = 0.02  # of a range: what lies nearer to its end is on the edge
_BY_SEED = 1.96 * sqrt(2)  # standard deviations that two runs of equal settings differ by, in 95 of 100 cases
_WIDE = 1.0  # points: a narrower interval of the split is not worth a line


@dataclass(frozen=True)
class HealthLine:
    """what: the finding. do: what to do about it; empty if there is nothing to do."""

    what: str
    do: str = ""


def health_lines(findings: StudyFindings) -> list[HealthLine]:
    """Of a search, what is most urgent first."""
    return [line for check in _CHECKS for line in check(findings)]


def _baselines(findings: StudyFindings) -> Iterator[HealthLine]:
    score, metric = findings.best_score, findings.study.space.metric
    if score is None:
        return
    beaten = {UNTRAINED: findings.untrained.get(metric), RAW: findings.raw.get(metric)}
    for title, floor in beaten.items():
        if floor is not None and (score <= floor if findings.study.space.maximize else score >= floor):
            what = f"The best trial, {score_text(metric, score)}, is no better than the baseline {title}"
            yield HealthLine(f"{what}, {score_text(metric, floor)}", "train longer, or check data and settings first")


def _start(findings: StudyFindings) -> Iterator[HealthLine]:
    """The best trial against the start point: over fresh seeds, else by one run of each."""
    study, best, start = findings.study, findings.best, findings.study.start
    metric, noise, confirmed = study.space.metric, findings.noise, findings.confirmation
    if best is None or start is None or start.state is not TrialState.FINISHED:
        return
    if best is start:
        yield HealthLine("No trial is better than the start point", "keep the start point")
    elif confirmed and confirmed.start and (difference := confirmed.winner.to_start):
        if not difference.is_clear:
            what = f"By {count(difference.seeds, 'fresh seed')} the best trial cannot be told from the start point"
            gains = paired_differences(confirmed.winner.scores, confirmed.start.scores)
            yield HealthLine(what, _keep(stdev(gains), abs(difference.mean)))
    elif noise is None:
        what = "Nothing tells what another seed would change: each configuration ran once, and few came to their end"
        yield HealthLine(what, "search again with confirm: {top: 1, seeds: 5} in the space file")
    elif (gain := gain_of(findings, best, start)) is not None and gain <= _BY_SEED * noise:
        within = f"{points(metric, gain)} better than the start point; equal settings differ by up to"
        what = f"The best trial is {within} {points(metric, _BY_SEED * noise)} from seed to seed"
        yield HealthLine(what, _keep(sqrt(2) * noise, gain))


def _keep(spread: float, gain: float) -> str:
    """What to do if the start point may be as good. spread: of differences between the two, from seed to seed."""
    needed = seeds_needed(spread, [gain], ALPHA / 2)
    if needed is None:
        return "keep the start point: no number of seeds worth running would tell"
    return f"keep the start point, or run both with more seeds: {about(needed)} each would tell"


def gain_of(findings: StudyFindings, trial: TrialRecord, other: TrialRecord) -> float | None:
    """How much better one trial is than another, by one run of each."""
    metric = findings.study.space.metric
    ours, theirs = trial.score(metric), other.score(metric)
    if ours is None or theirs is None:
        return None
    return ours - theirs if findings.study.space.maximize else theirs - ours


def _edges(findings: StudyFindings) -> Iterator[HealthLine]:
    """Parameters whose best value is at an end of the range, unless they do not matter or cannot go on."""
    best = findings.best
    if best is None:
        return
    idle = {effect.name for effect in findings.importance.of(Impact.DOES_NOT)}
    found = {
        name: (best.values[name], end)
        for name, parameter in findings.study.space.parameters.items()
        if name in best.values and name not in idle and (end := edge(parameter, best.values[name]))
    }
    if found:
        where = ", ".join(f"{name} ({format_value(value)}, {end})" for name, (value, end) in found.items())
        ways = {"lowest": "downward", "highest": "upward"}
        do = ", ".join(f"{name} {ways[end]}" for name, (_, end) in found.items())
        yield HealthLine(f"The best trial is on the edge of the range of {where}", f"widen {do}")


def edge(parameter: Parameter, value: Any) -> str:
    """ "lowest" or "highest" if a value is at that end of its scale, and the setting could go on; else empty."""
    if not is_scale(parameter):
        return ""
    order = in_order(parameter)
    if order and len(order) < 3:
        return ""
    low, high = (order[0], order[-1]) if order else (parameter.low, parameter.high)
    there = place(parameter, value)
    if parameter.q and not order:
        first, last = (parameter.at(multiple) for multiple in parameter.multiples())
        there = 0.0 if value == first else 1.0 if value == last else 0.5
    bounds = {type(bound).__name__: bound for bound in Settings.model_fields[parameter.name].metadata}
    if there <= _EDGE and ("Ge" not in bounds or low > bounds["Ge"].ge):
        return "lowest"
    if there >= 1 - _EDGE and ("Le" not in bounds or high < bounds["Le"].le):
        return "highest"
    return ""


def _orders(findings: StudyFindings) -> Iterator[HealthLine]:
    """Whether validation and test put the finalists into one order."""
    study = findings.study
    metric = study.space.metric
    if metric.startswith(COST):
        return  # what costs least need not be best
    tested = tested_metric(metric)
    tests = {trial.name: trial.tests[tested] for trial in study.finalists(FINALISTS) if tested in trial.tests}
    by_own, by_test = list(tests), sorted(tests, key=lambda name: -tests[name])
    if by_own != by_test:
        orders = f"{metric} orders the finalists {', '.join(by_own)}, but {tested} {', '.join(by_test)}"
        yield HealthLine(f"{orders}: the differences between them may be chance")


def _split(findings: StudyFindings) -> Iterator[HealthLine]:
    """What other clips would change, by the number of those that a score is over."""
    metric, score = findings.study.space.metric, findings.best_score
    clips = findings.conditions.queries.get(metric.partition("/")[0], 0)
    if not clips or score is None or not is_accuracy(metric):
        return
    low, high = wilson_interval(score, clips)
    if high - low > 2 * _WIDE:
        other = f"with other ones, {score:.1f} would be {low:.1f} to {high:.1f} (95 %)"
        yield HealthLine(f"{metric} is over {count(clips, 'clip')}: {other}")


def _stopping(findings: StudyFindings) -> Iterator[HealthLine]:
    """Whether early stopping ended a trial that was ahead of the best one at that epoch."""
    study, best = findings.study, findings.best
    stopped = study.stopped()
    if not stopped or best is None:
        return
    metric, sign = study.space.metric, 1 if study.space.maximize else -1
    curve = {record["epoch"]: sign * record[metric] for record in best.history if metric in record}
    last = {
        trial.name: (record["epoch"], sign * record[metric])
        for trial in stopped
        for record in trial.history
        if metric in record
    }
    ahead = [name for name, (epoch, score) in last.items() if epoch in curve and score > curve[epoch]]
    ended = f"Early stopping ended {count(len(stopped), 'trial')}"
    if ahead:
        who = ", ".join(ahead[:3]) + (f" and {len(ahead) - 3} more" if len(ahead) > 3 else "")
        what = f"{ended}, of which {len(ahead)} had been ahead of {best.name} at that epoch: {who}"
        yield HealthLine(what, "stop later: a longer grace_period in early_terminate")
    else:
        yield HealthLine(f"{ended}, none of which was ahead of {best.name} at that epoch")


def _failures(findings: StudyFindings) -> Iterator[HealthLine]:
    trials = findings.study.trials.values()
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    if not failed:
        return
    kinds = Counter(str(trial.failure) for trial in failed)
    why = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    passing = any(trial.failure and trial.failure.passing for trial in failed)
    do = "try them again with --resume" if passing else "narrow the ranges where trials fail"
    yield HealthLine(f"{len(failed)} of {count(len(trials), 'trial')} failed ({why})", do)


def _shortfall(findings: StudyFindings) -> Iterator[HealthLine]:
    study = findings.study
    unfinished = sum(trial.state is TrialState.UNFINISHED for trial in study.trials.values())
    if study.budget is not None and study.shortfall and len(study.trials) < study.budget:
        yield HealthLine(f"{len(study.trials)} of {study.budget} trials were started: {study.shortfall}")
    if unfinished:
        yield HealthLine(f"{count(unfinished, 'trial')} not finished", "go on with --resume, and more --time")


_CHECKS: tuple[Callable[[StudyFindings], Iterator[HealthLine]], ...] = (
    _baselines, _start, _edges, _failures, _orders, _stopping, _shortfall, _split,
)  # fmt: skip
