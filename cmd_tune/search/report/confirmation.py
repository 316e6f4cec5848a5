"""What the confirmation of a search found: its finalists and its start point, by their runs with fresh seeds.

The winner has the best mean. Differences are paired: on each fresh seed, one configuration less another. Their
intervals are Student's t; their p values are of two-sided paired t-tests, corrected by Holm over the configurations
that are compared with the same one. What is not clearly worse by that than the winner is tied with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.search.report.verdicts import ALPHA, Scores, holm, paired_differences, t_interval, two_sided_p
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord

TEST = "two-sided paired t-test, corrected by Holm"


@dataclass(frozen=True)
class Difference:
    """One configuration less another, in the metric's unit. seeds: that both have. p: corrected."""

    seeds: int
    mean: float
    interval: Interval
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether the seeds tell the two apart."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Confirmed:
    """One configuration. own: the score of its trial. scores: of its runs with fresh seeds, by seed; two or more.

    to_start, to_winner: it less the start point, and less the winner; None for itself, without a start point, or with
    fewer than two seeds in common. failed: seeds of runs that failed for their own values.
    """

    trial: TrialRecord
    own: float
    scores: Scores
    to_start: Difference | None
    to_winner: Difference | None
    failed: Sequence[int] = ()

    @property
    def mean(self) -> float:
        return mean(self.scores.values())

    @property
    def interval(self) -> Interval:
        """95 %, of the mean over seeds."""
        return t_interval(list(self.scores.values()))


@dataclass(frozen=True)
class Confirmation:
    """What was confirmed, best first. start: the start point, if it was."""

    metric: str
    results: Sequence[Confirmed]
    start: Confirmed | None

    @property
    def winner(self) -> Confirmed:
        return self.results[0]

    @property
    def tied(self) -> list[Confirmed]:
        """What the seeds do not tell from the winner, also the start point if they do not tell the winner from it."""
        return [
            result
            for result in self.results[1:]
            if not (result.to_winner and result.to_winner.is_clear)
            or (result is self.start and not (self.winner.to_start and self.winner.to_start.is_clear))
        ]

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for result in self.results for seed in result.scores})


def find_confirmation(study: SearchStudy) -> Confirmation | None:
    """The confirmation of a search; None if no configuration has two fresh seeds."""
    scores = {trial.index: study.confirmed(trial) for trial in study.ranked()}
    trials = [trial for trial in study.ranked() if len(scores[trial.index]) > 1]
    if not trials:
        return None
    start = study.start if study.start in trials else None
    metric = study.space.metric

    def differences(to: TrialRecord | None) -> dict[int, Difference]:
        if to is None:
            return {}
        gains = {t.index: paired_differences(scores[t.index], scores[to.index]) for t in trials if t is not to}
        tested = {index: gain for index, gain in gains.items() if len(gain) > 1}
        p_values = holm([two_sided_p(gain) for gain in tested.values()])
        return {
            index: Difference(len(gain), mean(gain), t_interval(gain), p)
            for (index, gain), p in zip(tested.items(), p_values, strict=True)
        }

    to_start, to_winner = differences(start), differences(trials[0])
    results = [
        Confirmed(
            trial,
            trial.score(metric) or 0.0,
            scores[trial.index],
            to_start.get(trial.index),
            to_winner.get(trial.index),
            [seed for seed, record in trial.confirmations.items() if record.reason],
        )
        for trial in trials
    ]
    return Confirmation(metric, results, next((result for result in results if result.trial is start), None))
