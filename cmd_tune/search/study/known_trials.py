"""The trials of a search as they are known: their settings, runs and epochs, and how they rank."""

from collections.abc import Mapping
from statistics import mean
from typing import Any

from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.trial_record import Repeat, RepeatRecord, TrialRecord, TrialState
from cmd_tune.settings import Settings, make_settings


class KnownTrials:
    """Trials by number. Reads no files and writes none."""

    def __init__(self, space: Space, base: Settings, preset: str) -> None:
        """base: settings that every trial starts from."""
        self.space, self.base, self.preset = space, base, preset
        self.trials: dict[int, TrialRecord] = {}

    def settings_of(self, trial: TrialRecord) -> Settings:
        """The whole configuration of a trial. Raises UsageError if its values do not fit together."""
        return make_settings(self.preset, ("settings", self.base.model_dump()), (trial.name, trial.values))

    def epochs_of(self, trial: TrialRecord) -> int:
        return int(trial.values.get("epochs", self.base.epochs))

    def epochs_in_all(self, trial: TrialRecord) -> int:
        """Those of all its seeds."""
        return self.epochs_of(trial) * self.space.seeds

    def runs_of(self, trial: TrialRecord) -> list[TrialRecord]:
        """All runs of a trial, one a seed, also those that are to come."""
        first = self.settings_of(trial).seed if self.space.seeds > 1 else 0
        return [trial, *(trial.repeat(Repeat.SEED, first + more) for more in range(1, self.space.seeds))]

    def next_run(self, trial: TrialRecord) -> TrialRecord | None:
        """The first run of a trial that has not come to its last epoch; None if all have."""
        return next((run for run in self.runs_of(trial) if not self.at_end(run)), None)

    def at_end(self, run: TrialRecord) -> bool:
        """Whether it has come to its last epoch."""
        return run.epoch >= self.epochs_of(run)

    def ranked(self) -> list[TrialRecord]:
        """Finished trials, best first: those that were confirmed, by their mean over fresh seeds, then the others."""

        def place(trial: TrialRecord) -> tuple[bool, float]:
            fresh = list(self.confirmed(trial).values())
            return (False, (-1 if self.space.maximize else 1) * mean(fresh)) if len(fresh) > 1 else (True, 0.0)

        return sorted(self.by_own_score(), key=place)

    def by_own_score(self) -> list[TrialRecord]:
        """Finished trials, best first. The last values of others are of an earlier epoch and cannot be compared."""
        finished = [trial for trial in self.trials.values() if trial.state is TrialState.FINISHED]

        def place(trial: TrialRecord) -> tuple[float, ...]:  # of equal ones, the better by the next metric
            signed = ((-1 if metric.maximize else 1, trial.score(metric.name)) for metric in self.space.metrics)
            return (*(sign * (score or 0.0) for sign, score in signed), trial.index)

        return sorted(finished, key=place)

    def confirmed(self, trial: TrialRecord) -> dict[int, float]:
        """Scores of its runs with fresh seeds that came to their last epoch, by seed."""
        finals = {seed: self.final(record) for seed, record in trial.confirmations.items()}
        return {seed: score for seed, score in finals.items() if score is not None}

    def done(self, record: RepeatRecord) -> bool:
        """Whether it has what it is run for."""
        return bool(record.test_scores) if record.purpose is Repeat.REFIT else self.final(record) is not None

    def final(self, run: TrialRecord) -> float | None:
        """Its score after its last epoch; None before."""
        return run.final(self.space.metric, self.epochs_of(run))

    @property
    def start(self) -> TrialRecord | None:
        """The trial of the start point, the first that the file gives; None if there is none."""
        if self.space.comparison or not self.space.start_points:
            return None
        first = key_of({**self.space.fixed, **self.space.start_points[0]})
        return next((trial for trial in self.trials.values() if key_of(trial.values) == first), None)

    def stopped(self) -> list[TrialRecord]:
        """Trials that ended before their last epoch, which have no rank."""
        return [trial for trial in self.trials.values() if trial.state is TrialState.STOPPED]

    def finalists(self, count: int) -> list[TrialRecord]:
        """The trials to score on the test set: the best `count` that finished.

        In a comparison, all that finished, since nothing is selected.
        """
        if self.space.comparison:
            return [trial for trial in self.trials.values() if trial.state is TrialState.FINISHED]
        return self.ranked()[:count]


def key_of(values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """A key that is equal for configurations of equal values."""
    return frozenset((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items())
