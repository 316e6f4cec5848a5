"""What the trials of a table measured: a cell's scores by seed, with their interval, beside what was reported of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmd_tune.evaluate.intervals import Interval, wilson_interval
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.runs.pretrain_and_score import TEST_TALLY
from cmd_tune.search.report.verdicts import Judgement, judge, t_interval
from cmd_tune.search.spaces.comparison import SEED, Cell, Claim, Table
from cmd_tune.search.study.study import Book, State

OVER_SEEDS = "t over seeds"
OVER_SUBJECTS, OVER_CLIPS = "Wilson over clips, by subject", "Wilson over clips as if independent"


@dataclass(frozen=True)
class Measured:
    """One cell on one metric, in percent. `interval` (95 %) and `method` are empty where no trial has finished.

    reported: where there is one that may stand beside ours.
    """

    cell: Cell
    metric: str
    scores: dict[int, float]  # by seed
    interval: Interval | None
    method: str
    reported: float | None = None

    @property
    def mean(self) -> float | None:
        return float(np.mean(list(self.scores.values()))) if self.scores else None

    @property
    def difference(self) -> float | None:
        """Measured less reported, in points."""
        return None if self.mean is None or self.reported is None else self.mean - self.reported


def measure(book: Book, table: Table, queries: Mapping[str, int], beside: Collection[str]) -> list[Measured]:
    """Every cell on every metric of the table, by metric and then by cell.

    queries: clips behind an accuracy, by the metric's first word. They make the interval of a cell that has one seed,
    unless its right answers were counted by subject.
    beside: metrics whose reported accuracies may stand beside ours.
    """
    metrics = table.metrics() or (book.space.metric,)
    found = [_measured(book, cell, metric, queries) for metric in metrics for cell in table.cells]
    return [replace(m, reported=m.cell.reported.get(m.metric)) if m.metric in beside else m for m in found]


def _measured(book: Book, cell: Cell, metric: str, queries: Mapping[str, int]) -> Measured:
    scores: dict[int, float] = {}
    folders: list[Path] = []
    for entry in book.entries.values():
        value = entry.test_scores.get(metric, entry.last(metric))
        ours = {name: given for name, given in entry.values.items() if name != SEED} == cell.values
        if ours and entry.state is State.FINISHED and value is not None:
            scores[entry.values[SEED]] = value
            folders.append(entry.folder)
    if len(scores) > 1:
        return Measured(cell, metric, scores, t_interval(list(scores.values())), OVER_SEEDS)
    if scores:
        tally = read_tally(folders[0] / TEST_TALLY)
        if tally and tally.by_subject and (interval := tally.interval(metric)):
            return Measured(cell, metric, scores, interval, OVER_SUBJECTS)
        kind = metric.partition("/")[0]
        if kind in queries:
            (only,) = scores.values()
            return Measured(cell, metric, scores, wilson_interval(only, queries[kind]), OVER_CLIPS)
    return Measured(cell, metric, scores, None, "")


def judged(table: Table, claim: Claim, measured: list[Measured], look: int) -> Judgement:
    """The verdict on a claim; its comparisons are of the pairs on the first metric, then on the next."""
    pairs = claimed_pairs(table, claim, measured)
    return judge([(a.scores, b.scores) for a, b in pairs], claim.relation, claim.margin, look=look)


def claimed_pairs(table: Table, claim: Claim, measured: list[Measured]) -> list[tuple[Measured, Measured]]:
    by = {(m.metric, table.cells.index(m.cell)): m for m in measured}
    return [(by[metric, a], by[metric, b]) for metric in claim.metrics for a, b in claim.pairs]


def cells_columns(table: Table, measured: list[Measured]) -> dict[str, list[Any]]:
    """All that was measured as columns, a row a cell and metric: the form of cells.csv."""
    bounds = [m.interval or (None, None) for m in measured]
    return {
        **{name: [m.cell.values[name] for m in measured] for name in table.cells[0].values},
        "metric": [m.metric for m in measured],
        "seeds": [len(m.scores) for m in measured],
        "mean": [m.mean for m in measured],
        "low": [low for low, _ in bounds],
        "high": [high for _, high in bounds],
        "interval": [m.method for m in measured],
        "reported": [m.reported for m in measured],
        "difference": [m.difference for m in measured],
    }
