"""All trials of a search: their values, scores and states, on disk, so that any process may be killed.

Optuna's study in SQLite is the truth about trials; each trial's folder holds its history, one line per epoch. After a
restart, finished trials stay finished. Unfinished trials run first, with the same values.
"""

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.region import MOST_DRAWS
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.study.methods import METHODS
from cmd_tune.search.study.optuna_values import END_STATES, TRIAL_STATES, distributions, from_optuna, to_optuna
from cmd_tune.search.study.trial_record import TrialRecord, TrialState
from cmd_tune.settings import Settings, make_settings
from cmd_tune.sqlite_url import sqlite_url

STUDY = "study.db"  # in a search's folder
MANY = 40  # trials assumed of a search that its time ends
INDEX, VALUES, REJECTED, REASON = "index", "values", "rejected", "reason"  # user attributes of a trial
FINALISTS = 3  # trials that are scored on the test set
ATTEMPTS = 8  # suggestions in a row that may break a constraint or repeat a trial, before a draw takes their place
AGAIN = "again"  # of a trial whose values are not to blame for its end: a later session runs it once more


class SearchStudy:
    """All trials of one search. Only the process that runs the search opens it."""

    def __init__(self, folder: Path, space: Space, base: Settings, preset: str, trials: int | None) -> None:
        """base: settings that every trial starts from. trials: how many the search may start in all; None: any."""
        self.folder, self.space, self.base, self.preset, self.budget = folder, space, base, preset, trials
        self.deadline = monotonic() + space.seconds if space.seconds is not None else None
        self.shortfall = ""  # why there are no more trials to start, if not for the budget
        self._startup = min(10, max(3, (trials or MANY) // 4))  # trials with a score before TPE learns from them
        self._method = METHODS[space.method]
        self._study = self._open_study()
        self._live: dict[int, Trial] = {}
        self.trials: dict[int, TrialRecord] = {}
        self._infeasible = 0  # suggestions that Optuna was told not to be allowed
        self._tried: set[frozenset[tuple[str, Any]]] = set()
        self._listed = self._list()
        self._given = iter(self._listed[:trials])
        self._region = space.region(base.model_dump(), self._stream)
        self._reopen()
        for frozen in self._study.get_trials(deepcopy=False):
            if INDEX in frozen.user_attrs:
                self._recall(frozen)
            elif frozen.state is OptunaState.RUNNING:
                self._forget(frozen)
            else:
                self._infeasible += frozen.state is OptunaState.PRUNED
        self._unfinished = [trial for trial in self.trials.values() if trial.state is TrialState.RUNNING]

    def settings_of(self, trial: TrialRecord) -> Settings:
        """The whole configuration of a trial. Raises UsageError if its values do not fit together."""
        return make_settings(self.preset, ("settings", self.base.model_dump()), (trial.name, trial.values))

    def epochs_of(self, trial: TrialRecord) -> int:
        return int(trial.values.get("epochs", self.base.epochs))

    def next(self) -> TrialRecord | None:
        """The next trial to run, or None when there are no more. Unfinished trials of an earlier session come first."""
        if self._unfinished:
            return self._unfinished.pop(0)
        listed = self.space.lists_trials
        if not listed and self.budget is not None and len(self.trials) >= self.budget:
            return None
        given = next((values for values in self._given if not self._has(values)), None)
        if listed and given is None:
            self._say_all_listed()
            return None
        if self.timed_out:
            self.shortfall = "the time is up"
            return None
        if given is not None:
            return self._enter_given(given)
        for _ in range(ATTEMPTS):
            if trial := self._ask():
                return trial
        drawn = self._draw()
        return None if drawn is None else self._enter_given({**self.space.fixed, **drawn})

    def learns(self) -> bool:
        """Whether the next trial is one that the sampler chooses by the results it has."""
        if self._unfinished or not self._method.learns or not all(map(self._has, self._listed)):
            return False
        return not self._study.get_trials(deepcopy=False, states=(OptunaState.WAITING,))

    def record(self, trial: TrialRecord, record: Mapping[str, float]) -> bool:
        """Record one epoch's metrics. Returns False if the epoch is already recorded, as after a resume."""
        if not trial.take(record):
            return False
        value = record.get(self.space.metric)
        if value is not None and isfinite(value):
            self._live[trial.index].report(value, int(record["epoch"]))
        return True

    def should_stop(self, trial: TrialRecord) -> bool:
        """Whether to end a running trial before its last epoch: by early stopping, or because the time is up."""
        if trial.epoch >= self.epochs_of(trial):
            return False
        if self.timed_out:
            return True
        validated = bool(trial.history) and self.space.metric in trial.history[-1]
        return validated and self._live[trial.index].should_prune()

    def end(self, trial: TrialRecord, *, failure: str = "", again: bool = False) -> None:
        """Close a trial: failed with a reason; else finished or stopped early, by the epochs it has.

        again: whether a later session tries it once more, since its values are not to blame. A trial that was stopped
        because the time was up goes on in any later session.
        """
        last = {**trial.history[-1], **trial.test_scores} if trial.history else {}
        value = last.get(self.space.metric)
        complete = not failure and trial.epoch >= self.epochs_of(trial)
        if complete and value is None:
            when = " at its last epoch" if trial.last(self.space.metric) is not None else ""
            failure, complete = f"it never reported {self.space.metric}{when}", False
        trial.state = TrialState.FAILED if failure else TrialState.FINISHED if complete else TrialState.STOPPED
        stop = f"after epoch {trial.epoch} of {self.epochs_of(trial)}{', the time is up' if self.timed_out else ''}"
        trial.reason = stop if trial.state is TrialState.STOPPED else failure
        optuna_trial = self._live.pop(trial.index)
        optuna_trial.set_user_attr(REASON, trial.reason)
        if again or (trial.state is TrialState.STOPPED and self.timed_out):
            optuna_trial.set_user_attr(AGAIN, True)
        self._study.tell(optuna_trial, value if complete else None, state=END_STATES[trial.state])

    @property
    def complete(self) -> bool:
        """Whether every trial that the search may start has been run, in this session or an earlier one."""
        if any(trial.state is TrialState.RUNNING for trial in self.trials.values()):
            return False
        if self.space.lists_trials:
            self._say_all_listed()
            return all(map(self._has, self._listed[: self.budget]))
        return (self.budget is not None and len(self.trials) >= self.budget) or self._draw() is None

    @property
    def timed_out(self) -> bool:
        return self.deadline is not None and monotonic() > self.deadline

    def ranked(self) -> list[TrialRecord]:
        """Finished trials, best first. The last values of others are of an earlier epoch and cannot be compared."""
        sign = -1 if self.space.maximize else 1
        finished = [trial for trial in self.trials.values() if trial.state is TrialState.FINISHED]
        return sorted(finished, key=lambda trial: (sign * (trial.score(self.space.metric) or 0.0), trial.index))

    def stopped(self) -> list[TrialRecord]:
        """Trials that ended before their last epoch, which have no rank."""
        return [trial for trial in self.trials.values() if trial.state is TrialState.STOPPED]

    def record_test(self, trial: TrialRecord, scores: Mapping[str, float]) -> None:
        """Record a finalist's test scores."""
        trial.record_test(scores)

    def finalists(self, count: int) -> list[TrialRecord]:
        """The trials to score on the test set: the best `count` that finished.

        In a comparison, all that finished, since nothing is selected.
        """
        if self.space.comparison:
            return [trial for trial in self.trials.values() if trial.state is TrialState.FINISHED]
        return self.ranked()[:count]

    def _open_study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        rule = stopping_rule(self.space)
        study = optuna.create_study(
            study_name="search",
            storage=optuna.storages.RDBStorage(sqlite_url(self.folder / STUDY)),
            load_if_exists=True,
            direction="maximize" if self.space.maximize else "minimize",
            pruner=rule.pruner() if rule else optuna.pruners.NopPruner(),
        )
        # A sampler that starts again from its seed would repeat its first draws: after a resume it gets another stream.
        self._stream = f"{self.base.seed}/{len(study.get_trials(deepcopy=False))}"
        seed = int.from_bytes(blake2b(self._stream.encode(), digest_size=4).digest())
        study.sampler = self._method.sampler(seed, self._startup)
        return study

    def _list(self) -> list[dict[str, Any]]:
        """The trials that the space file lists: a table's, a grid's, or start points."""
        points = self._method.listed(self.space, self.base.model_dump())
        return [{**self.space.fixed, **point} for point in points]

    def _enter_given(self, values: dict[str, Any]) -> TrialRecord:
        """Have Optuna suggest these values, after what other programs may have put into its queue."""
        if self.space.comparison:
            # Optuna keeps the trial's state. Its categories cannot grow, so that the values are an attribute alone.
            return self._enter(self._study.ask(), values)
        point = {name: value for name, value in values.items() if name in self.space.parameters}
        self._study.enqueue_trial(to_optuna(self.space, point))
        for _ in self._study.get_trials(deepcopy=False, states=(OptunaState.WAITING,)):
            if trial := self._ask():
                return trial
        raise AssertionError(f"Optuna did not take {values}")

    def _ask(self) -> TrialRecord | None:
        """Optuna's next suggestion; None if it is not allowed or has been tried, which Optuna is then told."""
        optuna_trial = self._study.ask(distributions(self.space))
        values = {**self.space.fixed, **from_optuna(self.space, optuna_trial.params)}
        repeated = self._has(values)
        if not repeated and self.space.allows(values, self.base.model_dump()):
            return self._enter(optuna_trial, values)
        optuna_trial.set_user_attr(REJECTED, "repeated" if repeated else "constraint")
        # TPE learns what is not allowed from pruned trials, but counts them among the results: it needs true ones
        # first, and what it takes for good, the best tenth of all, should not become every one that was allowed.
        scored = sum(trial.state in (TrialState.FINISHED, TrialState.STOPPED) for trial in self.trials.values())
        learns = not repeated and scored >= self._startup and scored > self._infeasible
        if learns:
            optuna_trial.set_constraint("allowed", 1.0)
            self._infeasible += 1
        self._study.tell(optuna_trial, state=OptunaState.PRUNED if learns else OptunaState.FAIL)
        return None

    def _say_all_listed(self) -> None:
        whole = self.budget is None or self.budget >= len(self._listed)
        self.shortfall = "every cell has been run" if whole else ""

    def _draw(self) -> dict[str, Any] | None:
        """A new configuration of the space; None, with the reason as the shortfall, if none is left or found."""
        drawn = self._region.draw(lambda point: self._has({**self.space.fixed, **point}))
        if drawn is None:
            self.shortfall = (
                f"all {len(self.trials)} configurations that the space allows have been run"
                if self._region.exhausted
                else f"of {MOST_DRAWS} configurations drawn, none that the space allows is new"
            )
        return drawn

    def _has(self, values: Mapping[str, Any]) -> bool:
        return _key(values) in self._tried

    def _enter(self, optuna_trial: Trial, values: dict[str, Any]) -> TrialRecord:
        index = len(self.trials)
        trial = TrialRecord(index, values, self._folder_of(index))
        trial.folder.mkdir(parents=True, exist_ok=True)
        optuna_trial.set_user_attr(VALUES, values)
        optuna_trial.set_user_attr(INDEX, index)
        self.trials = {**self.trials, index: trial}  # another thread may be going through the old one
        self._live[index] = optuna_trial
        self._tried.add(_key(values))
        return trial

    def _folder_of(self, index: int) -> Path:
        return self.folder / "trials" / f"{index:03d}"

    def _reopen(self) -> None:
        """Put trials back among the unfinished that the time stopped, and once those whose values were not to blame.

        For Optuna, whose trials end once, it is another trial; the last of those with one index is the one that counts.
        """
        trials = [frozen for frozen in self._study.get_trials(deepcopy=False) if INDEX in frozen.user_attrs]
        failures = Counter(frozen.user_attrs[INDEX] for frozen in trials if frozen.state is OptunaState.FAIL)
        last = {frozen.user_attrs[INDEX]: frozen for frozen in trials}
        for index, frozen in last.items():
            stopped = frozen.state is OptunaState.PRUNED or (frozen.state is OptunaState.FAIL and failures[index] == 1)
            if stopped and frozen.user_attrs.get(AGAIN):
                self._study.add_trial(
                    optuna.trial.create_trial(
                        state=OptunaState.RUNNING,
                        params=frozen.params,
                        distributions=frozen.distributions,
                        user_attrs={VALUES: frozen.user_attrs[VALUES], INDEX: index},
                    )
                )

    def _recall(self, frozen: optuna.trial.FrozenTrial) -> None:
        index = frozen.user_attrs[INDEX]
        state, reason = TRIAL_STATES[frozen.state], frozen.user_attrs.get(REASON, "")
        trial = TrialRecord(index, frozen.user_attrs[VALUES], self._folder_of(index), state, reason)
        trial.read_files()
        self.trials[index] = trial
        self._tried.add(_key(trial.values))
        if trial.state is TrialState.RUNNING:
            optuna_trial = self._live[index] = Trial(self._study, frozen._trial_id)
            for record in trial.history:
                if self.space.metric in record and record["epoch"] not in frozen.intermediate_values:
                    optuna_trial.report(record[self.space.metric], int(record["epoch"]))

    def _forget(self, frozen: optuna.trial.FrozenTrial) -> None:
        """Optuna created this trial, but it never started: mark it failed, and queue a given point again."""
        self._study.tell(frozen.number, state=OptunaState.FAIL)
        given = frozen.system_attrs.get("fixed_params")
        if given is not None:
            self._study.enqueue_trial(given)


def _key(values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """A key that is equal for configurations of equal values."""
    return frozenset((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items())
