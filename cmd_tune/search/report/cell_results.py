"""The result of each cell of a comparison: its scores by seed, with their interval, and the accuracy reported of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmd_tune.evaluate.intervals import Interval, wilson_interval
from cmd_tune.evaluate.tally import read_tally
from cmd_tune.runs.pretrain_and_score import TEST_TALLY
from cmd_tune.search.report.verdicts import ClaimVerdict, judge, t_interval
from cmd_tune.search.spaces.comparison import SEED, Cell, Claim, Comparison
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialState

OVER_SEEDS = "t over seeds"
OVER_SUBJECTS, OVER_CLIPS = "Wilson over clips, by subject", "Wilson over clips as if independent"


@dataclass(frozen=True)
class CellResult:
    """One cell on one metric, in percent.

    scores: of its finished trials, by seed. interval, method: the 95 % interval and how it is computed; None and "" if
    there is none. reported: an accuracy of others that may stand beside ours.
    """

    cell: Cell
    metric: str
    scores: dict[int, float]
    interval: Interval | None
    method: str
    reported: float | None = None

    @property
    def mean(self) -> float | None:
        return float(np.mean(list(self.scores.values()))) if self.scores else None

    @property
    def difference(self) -> float | None:
        """The mean less the reported accuracy, in points."""
        return None if self.mean is None or self.reported is None else self.mean - self.reported


def cell_results(
    study: SearchStudy, comparison: Comparison, queries: Mapping[str, int], beside: Collection[str]
) -> list[CellResult]:
    """Every cell on every metric of the comparison: by metric, then by cell.

    queries: clips behind an accuracy, by the metric's first word. They make the interval of a cell that has one seed,
    unless its right answers were counted by subject.
    beside: metrics whose reported accuracies may stand beside ours.
    """
    metrics = comparison.metrics() or (study.space.metric,)
    results = [_cell_result(study, cell, metric, queries) for metric in metrics for cell in comparison.cells]
    return [replace(r, reported=r.cell.reported.get(r.metric)) if r.metric in beside else r for r in results]


def _cell_result(study: SearchStudy, cell: Cell, metric: str, queries: Mapping[str, int]) -> CellResult:
    scores: dict[int, float] = {}
    folders: list[Path] = []
    for trial in study.trials.values():
        value = trial.score(metric)
        ours = {name: given for name, given in trial.values.items() if name != SEED} == cell.values
        if ours and trial.state is TrialState.FINISHED and value is not None:
            scores[trial.values[SEED]] = value
            folders.append(trial.folder)
    if len(scores) > 1:
        return CellResult(cell, metric, scores, t_interval(list(scores.values())), OVER_SEEDS)
    if scores:
        tally = read_tally(folders[0] / TEST_TALLY)
        if tally and tally.by_subject and (interval := tally.interval(metric)):
            return CellResult(cell, metric, scores, interval, OVER_SUBJECTS)
        kind = metric.partition("/")[0]
        if kind in queries:
            (only,) = scores.values()
            return CellResult(cell, metric, scores, wilson_interval(only, queries[kind]), OVER_CLIPS)
    return CellResult(cell, metric, scores, None, "")


def judge_claim(comparison: Comparison, claim: Claim, results: Sequence[CellResult], look: int) -> ClaimVerdict:
    """The verdict on a claim; its differences are of the pairs on the first metric, then on the next."""
    pairs = claimed_pairs(comparison, claim, results)
    return judge([(a.scores, b.scores) for a, b in pairs], claim.relation, claim.margin, look=look)


def claimed_pairs(
    comparison: Comparison, claim: Claim, results: Sequence[CellResult]
) -> list[tuple[CellResult, CellResult]]:
    by = {(r.metric, comparison.cells.index(r.cell)): r for r in results}
    return [(by[metric, a], by[metric, b]) for metric in claim.metrics for a, b in claim.pairs]


def cells_columns(comparison: Comparison, results: Sequence[CellResult]) -> dict[str, list[Any]]:
    """All results as the columns of cells.csv, with one row per cell and metric."""
    bounds = [r.interval or (None, None) for r in results]
    return {
        **{name: [r.cell.values[name] for r in results] for name in comparison.cells[0].values},
        "metric": [r.metric for r in results],
        "seeds": [len(r.scores) for r in results],
        "mean": [r.mean for r in results],
        "low": [low for low, _ in bounds],
        "high": [high for _, high in bounds],
        "interval": [r.method for r in results],
        "reported": [r.reported for r in results],
        "difference": [r.difference for r in results],
    }
