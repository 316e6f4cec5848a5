"""Searches side by side: what they share, what differs, and whether their scores do, by what seeds can tell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import mean, variance
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy.special import stdtr, stdtrit

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.formatting import format_value, percent, time_span
from cmd_tune.search.kept_search import KeptSearch
from cmd_tune.search.report.metrics import tested_metric
from cmd_tune.search.report.scores_in_words import bare_score, difference_text, p_text
from cmd_tune.search.report.verdicts import ALPHA, paired_differences, t_interval, two_sided_p
from cmd_tune.settings import Settings

PAIRED, WELCH = "paired t-test over the seeds that both have", "Welch's t-test, since they share no two seeds"


@dataclass(frozen=True)
class ScoreDifference:
    """The best score of one search less that of another, by their runs with fresh seeds. interval: 95 %.

    p: two-sided. test: by which it is.
    """

    mean: float
    interval: Interval
    p: float
    test: str


def show_comparison(searches: Sequence[KeptSearch], console: Console) -> None:
    """Print searches side by side: two or more."""

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    if apart := list(unlike(searches)):
        say(f"not comparable by their scores, since these differ: {', '.join(apart)}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", *(search.name for search in searches)):
        table.add_column(heading, overflow="fold")
    for name, cells in rows(searches):
        table.add_row(name, *cells)
    console.print(table)
    for line in verdicts(searches) if not apart else ():
        say(line)


def unlike(searches: Sequence[KeptSearch]) -> Iterator[str]:
    """What keeps the scores of searches from being compared, by name."""
    for name, key in _CONDITIONS.items():
        values = [key(search) for search in searches]
        if any(one != other for one, other in pairwise(values)):
            yield name


_CONDITIONS: dict[str, Callable[[KeptSearch], Any]] = {
    "data": lambda search: search.plan.fingerprint or search.plan.dataset,
    "protocol": lambda search: search.plan.protocol,
    "normalisation": lambda search: search.plan.normalization or "2s-agcn",  # that of earlier releases
    "metric": lambda search: (search.metric, search.study.space.maximize),
    "holdout": lambda search: search.study.base.holdout,
}


def rows(searches: Sequence[KeptSearch]) -> Iterator[tuple[str, list[str]]]:
    """What is shown of each search, by the name of the row: scores and cost of all, the rest where it differs."""
    best, metrics = [search.best for search in searches], [search.metric for search in searches]
    yield "state", [str(search.state) for search in searches]
    yield "data", [f"{search.plan.dataset} {search.plan.protocol}" for search in searches]
    yield "metric", metrics
    yield "best trial", [each.trial.name if each else "–" for each in best]
    yield (
        "its own score",
        [bare_score(m, each.trial.score(m) if each else None) for each, m in zip(best, metrics, strict=True)],
    )
    yield (
        "confirmed",
        [
            bare_score(m, each.score, each.interval) if each and each.seeds else "–"
            for each, m in zip(best, metrics, strict=True)
        ],
    )
    yield "fresh seeds", [str(each.seeds) if each and each.seeds else "–" for each in best]
    test = [tested_metric(search.metric) for search in searches]
    tested = [each.trial.tests.get(name) if each else None for each, name in zip(best, test, strict=True)]
    yield "test score", [percent(score) for score in tested]
    yield "trials ended", [f"{search.ended}" for search in searches]
    yield "epochs run", [f"{_epochs(search):,}" for search in searches]
    yield "took", ["–" if search.seconds is None else time_span(search.seconds) for search in searches]
    yield from _differing("", [_asked(search) for search in searches])
    yield from _differing("best: ", [dict(each.trial.values) if each else {} for each in best])


def verdicts(searches: Sequence[KeptSearch]) -> Iterator[str]:
    """What seeds tell of the best of each search and of the first, a line each."""
    first = searches[0]
    for search in searches[1:]:
        names = f"{search.name} less {first.name}"
        if first.best is None or search.best is None:
            yield f"{names}: nothing to compare, since one of them has no best trial"
        elif found := difference(search, first):
            tells = "they differ" if found.p < ALPHA else "the seeds do not tell them apart"
            by = difference_text(search.metric, found.mean, found.interval, digits=2)
            yield f"{names}: {by}, p {p_text(found.p)}: {tells} ({found.test})"
        else:
            gap = difference_text(search.metric, search.best.score - first.best.score, digits=2)
            cure = "confirm both: --resume NAME --confirm"
            yield f"{names}: {gap}, of which single runs cannot tell whether it is more than seeds change; {cure}"


def difference(search: KeptSearch, other: KeptSearch) -> ScoreDifference | None:
    """Between the best trials of two searches; None unless both have two runs with fresh seeds."""
    ours, theirs = (each.study.confirmed(each.best.trial) if each.best else {} for each in (search, other))
    if min(len(ours), len(theirs)) < 2:
        return None
    if len(gains := paired_differences(ours, theirs)) > 1:
        return ScoreDifference(mean(gains), t_interval(gains), two_sided_p(gains), PAIRED)
    return welch(list(ours.values()), list(theirs.values()))


def welch(one: Sequence[float], other: Sequence[float]) -> ScoreDifference:
    """The difference of two means of two values or more, whose variances need not be equal (Welch, Biometrika 1947)."""
    gap = mean(one) - mean(other)
    parts = [variance(values) / len(values) for values in (one, other)]
    error = sqrt(sum(parts))
    if error == 0:
        return ScoreDifference(gap, (gap, gap), 0.0 if gap else 1.0, WELCH)
    freedom = error**4 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (one, other), strict=True))
    half = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    return ScoreDifference(gap, (gap - half, gap + half), float(2 * stdtr(freedom, -abs(gap) / error)), WELCH)


def _epochs(search: KeptSearch) -> int:
    """Of trials and their repeats."""
    trials = search.study.trials.values()
    return sum(run.epoch for trial in trials for run in trial.every_run)


def _asked(search: KeptSearch) -> Mapping[str, Any]:
    """What a search was asked for: its method, budget and preset, and its settings."""
    space, base = search.study.space, search.study.base
    searched = dict.fromkeys(space.parameters, "searched")
    kept = {name: searched.get(name, getattr(base, name)) for name in Settings.model_fields}
    of_space = {"method": space.method, "trials": search.study.budget, "preset": search.plan.preset}
    return {**of_space, **kept}


def _differing(kind: str, columns: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """The rows of values that are not the same in all columns."""
    for name in dict.fromkeys(name for column in columns for name in column):
        cells = ["–" if column.get(name) is None else format_value(column[name]) for column in columns]
        if len(set(cells)) > 1:
            yield f"{kind}{name}", cells
