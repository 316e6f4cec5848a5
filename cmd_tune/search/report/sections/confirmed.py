"""The configurations that were run again with fresh seeds: the winner, how sure that is, and what is tied with it."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cmd_tune.formatting import count, markdown_table
from cmd_tune.search.report.base import Section
from cmd_tune.search.report.confirmation import TEST, Confirmation, Confirmed, Difference
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.scores_in_words import bare_score, difference_text, is_accuracy, p_text

_START = "start point"


def confirmed(findings: StudyFindings) -> Section | None:
    """None if nothing was confirmed."""
    found = findings.confirmation
    if found is None:
        return None
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in _HEAD[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [_row(found, result) for result in found.results]
    for row in rows:
        table.add_row(*row)
    said = [winner_line(found), *_failed(found)]
    legend = f"{found.metric}; {_LEGEND}"
    screen: list[RenderableType] = [
        Text(said[0], style="bold"),
        table,
        *(Text(line, style="dim") for line in (*said[1:], legend)),
    ]
    head = f"## Confirmed with {count(len(found.seeds), 'fresh seed')}"
    return Section("\n\n".join([head, *said, markdown_table(_HEAD, rows), legend]), screen)


_HEAD = ("", "own", "fresh seeds", "less start point", "p")
_LEGEND = (
    "own: the score of the trial, which chose it and flatters it. fresh seeds: their mean. less start point: paired "
    f"over seeds. Intervals of 95 %, Student's t; p: {TEST}."
)


def winner_line(found: Confirmation) -> str:
    """The winner, how sure that is, and what is tied with it, in words."""
    winner, start, tied = found.winner, found.start, found.tied
    seeds = count(len(winner.scores), "fresh seed")
    text = f"{winner.trial.name} has the best mean over {seeds}: "
    text += bare_score(found.metric, winner.mean, winner.interval)
    if winner is start:
        text += ", and is the start point"
    elif winner.to_start:
        text += f"; {_beside_start(found.metric, winner.to_start)}"
    others = ", ".join(f"{result.trial.name}{' (start point)' if result is start else ''}" for result in tied)
    if len(found.results) == 1:
        return f"{text}. Nothing else was run again."
    return f"{text}. The seeds do not tell it from {others}." if tied else f"{text}. The seeds tell it from all others."


def _beside_start(metric: str, difference: Difference) -> str:
    by = difference_text(metric, difference.mean, difference.interval) + (" points" if is_accuracy(metric) else "")
    clear = "differs from" if difference.is_clear else "cannot be told from"
    return f"it {clear} the start point, {by}, p {p_text(difference.p)}"


def _failed(found: Confirmation) -> list[str]:
    return [
        f"{result.trial.name} failed with seed {', '.join(map(str, result.failed))}, which its mean leaves out."
        for result in found.results
        if result.failed
    ]


def _row(found: Confirmation, result: Confirmed) -> list[str]:
    metric = found.metric
    name = result.trial.name + (f", {_START}" if result is found.start else "")
    scores = [bare_score(metric, result.own), bare_score(metric, result.mean, result.interval)]
    if (less := result.to_start) is None:
        return [name, *scores, "", ""]
    return [name, *scores, difference_text(metric, less.mean, less.interval), p_text(less.p)]
