"""All trials of a search: their values, scores and states, on disk, so that any process may be killed.

Optuna's study in SQLite is the truth about trials; each trial's folder holds its history, one line per epoch. After a
restart, finished trials stay finished. Unfinished trials run first, with the same values. A suggestion depends on the
seed, the trial's number and what is known by then, so that a restart changes none.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import isfinite
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any

import optuna
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.clock import CLOCK, Clock
from cmd_tune.search.study.earlier_trials import best_of, read_earlier
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.known_trials import KnownTrials, key_of
from cmd_tune.search.study.methods import method_of, method_title
from cmd_tune.search.study.optuna_trials import INDEX, OptunaTrials, describe, in_memory, number_of, reopen
from cmd_tune.search.study.optuna_values import END_STATES, TRIAL_STATES, directions
from cmd_tune.search.study.sampler_view import FAILURE, REJECTED, VALUES
from cmd_tune.search.study.study_file import NAME, TRIALS, as_damaged, check_study, snapshot, trial_folders
from cmd_tune.search.study.suggestions import Suggestion, Suggestions, waiting
from cmd_tune.search.study.trial_record import HISTORY, TrialRecord, TrialState
from cmd_tune.settings import Settings
from cmd_tune.sqlite_url import sqlite_url

STUDY = "study.db"  # in a search's folder
MANY = 40  # trials assumed of a search that its time ends
REASON = "reason"  # a user attribute of a trial
FINALISTS = 3  # trials that are scored on the test set
AGAIN = "again"  # an attribute of earlier releases: a later session goes on with this trial
TIME_UP = "the time is up"
_BUSY_S = 30  # how long a write waits for another program that reads or writes the study


class SearchStudy(KnownTrials):
    """All trials of one search. Only the process that runs the search opens it to write."""

    def __init__(
        self,
        folder: Path,
        space: Space,
        base: Settings,
        preset: str,
        trials: int | None,
        *,
        retry_failed: bool = False,
        data: Mapping[str, str] | None = None,
        read_only: bool = False,
    ) -> None:
        """Read what there is; the first `next` is the first to write a trial.

        base: settings that every trial starts from. trials: how many the search may start in all; None: any.
        retry_failed: whether trials that failed for their own values run again as well. data: what to keep of the data
        in the study's attributes, by name. read_only: a copy in memory is opened, and the folder stays as it is, also
        while another process runs the search; trials that failed for a passing reason are shown as failed.
        Raises CmdTuneError, in one line, if a file of the study or of a trial is damaged.
        """
        super().__init__(space, base, preset)
        self.folder, self.budget = folder, trials
        self.clock = Clock(folder / CLOCK)
        self.deadline = monotonic() + space.seconds - self.clock.seconds if space.seconds is not None else None
        self.shortfall = ""  # why there are no more trials to start, if not for the budget
        self.remarks: list[str] = []  # what is missing on disk, a line each
        self._retry_failed, self._data, self._read_only = retry_failed, data or {}, read_only
        self._names = [metric.name for metric in space.metrics]
        self._described = False  # whether the study's attributes are written
        self._startup = min(10, max(3, (trials or MANY) // 4))  # trials with a score before TPE learns from them
        self._method = method_of(space, trials)
        rule = stopping_rule(space)
        self._over_seeds = rule is not None and rule.over_seeds
        self.earlier = read_earlier(folder)
        # First: a trial that another process begins meanwhile is in the study before it is here.
        run = [index for index in trial_folders(folder) if (self._folder_of(index) / HISTORY).exists()]
        path = folder / STUDY
        with snapshot(path) if read_only else nullcontext(path) as self._file, as_damaged(path):
            check_study(path, self._file)
            known = self._attach()
            self._live: dict[int, Trial] = {}
            self._reopened = False  # whether what Optuna takes for ended has been opened again
            self._pruned: set[int] = set()  # trials that early stopping ends
            self._listed = self._list()
            # The best of the earlier search runs again, so that it is among the trials.
            self._tried = {key_of({**space.fixed, **trial.values}) for trial in self.earlier} - set(
                map(key_of, self._listed)
            )
            self._given = iter(self._listed[:trials])
            # Of a trial that ran again in an earlier release, Optuna has several: the last is the one that counts.
            numbered = ((number_of(frozen), frozen) for frozen in known)
            self._last = dict(sorted((number, frozen) for number, frozen in numbered if number is not None))
            if lost := [index for index in run if index not in self._last]:
                raise ValueError(f"it has nothing of trial {lost[0]}, which has run")
            for index, frozen in self._last.items():
                self._recall(index, frozen)
            self._cut_short = [
                frozen
                for frozen in known
                if frozen.state is OptunaState.RUNNING
                and self._last.get(frozen.user_attrs.get(INDEX, frozen.number)) is not frozen
            ]
            self._unfinished = [trial for trial in self.trials.values() if trial.state is TrialState.UNFINISHED]
            self._to_reopen = {
                trial.index: self._last[trial.index] for trial in self._unfinished if self._has_ended(trial)
            }

    def next(self) -> TrialRecord | None:
        """The next trial to run, or None when there are no more. Unfinished trials of an earlier session come first."""
        self._describe()
        self._settle_cut_short()
        listed = self.space.lists_trials
        given = None
        if not self._unfinished:
            if not listed and self.budget is not None and len(self.trials) >= self.budget:
                return None
            given = next((values for values in self._given if not self._has(values)), None)
            if listed and given is None:
                self._say_all_listed()
                return None
        if self.timed_out:
            self.shortfall = TIME_UP
            return None
        if self._unfinished:
            return self._take_up(self._unfinished.pop(0))
        known = self._study.get_trials(deepcopy=False)  # once: it takes longer than all else here
        if not self.space.comparison and (queued := self._queued(known)):
            return queued
        suggestion = Suggestion(given) if given is not None else self._suggestions.next(len(self.trials), known)
        self.shortfall = self._suggestions.shortfall
        if suggestion is None:
            return None
        return self._enter(*self._optuna_trials.begin(suggestion, len(self.trials)), suggestion.values)

    def learns(self) -> bool:
        """Whether the next trial is one that the sampler chooses by the results it has."""
        if self._unfinished or not self._method.learns or not all(map(self._has, self._listed)):
            return False
        return not waiting(self._study.get_trials(deepcopy=False))

    def record(self, run: TrialRecord, record: Mapping[str, float]) -> bool:
        """Record one epoch's metrics of a run. Returns False if the epoch is already recorded, as after a resume."""
        if not run.take(record):
            return False
        value, step = record.get(self.space.metric), self._step_of(run)
        if not self.space.more_metrics and value is not None and isfinite(value) and step is not None:
            self._live[run.index].report(value, step)
        return True

    def _step_of(self, run: TrialRecord) -> int | None:
        """The step of Optuna's that the latest value of a run belongs to; None if Optuna is not told of it."""
        trial = self.trials[run.index]
        if self._over_seeds:
            return 1 + self.runs_of(trial).index(run) if self.at_end(run) else None
        return run.epoch if run is trial else None

    def should_stop(self, run: TrialRecord) -> bool:
        """Whether to end a run before its last epoch: by early stopping, or because the time is up."""
        reports = self.at_end(run) if self._over_seeds else run is self.trials[run.index] and not self.at_end(run)
        validated = bool(run.history) and self.space.metric in run.history[-1]
        if not self.space.more_metrics and reports and validated and self._live[run.index].should_prune():
            self._pruned.add(run.index)
        return not self.at_end(run) and (run.index in self._pruned or self.timed_out)

    def goes_on(self, run: TrialRecord) -> bool:
        """Whether a run that has ended without a failure is followed by one of another seed."""
        trial = self.trials[run.index]
        stopped = trial.index in self._pruned or self.timed_out
        return self.at_end(run) and not stopped and self.next_run(trial) is not None

    def _steps(self, trial: TrialRecord) -> dict[int, float]:
        """What Optuna is told before a trial ends: the first seed's values by epoch, or whole seeds' by number.

        Nothing if trials are judged by several metrics, since Optuna then takes final values alone.
        """
        metric = self.space.metric
        if self.space.more_metrics:
            return {}
        if not self._over_seeds:
            return {int(record["epoch"]): record[metric] for record in trial.history if metric in record}
        finals = ((step, self.final(run)) for step, run in enumerate(self.runs_of(trial), 1))
        return {step: value for step, value in finals if value is not None}

    def end(self, trial: TrialRecord, *, failure: str = "", tag: FailureTag = FailureTag.VALUES) -> None:
        """Close a trial: failed with a reason; else finished, stopped early or unfinished, by the epochs it has.

        tag: of the failure. An unfinished trial, which the time has cut, goes on in a later session; so does one that
        failed for a passing reason.
        """
        ends = [{**run.history[-1], **run.test_scores} if run.history else {} for run in trial.runs]
        absent = next((name for name in self._names if any(name not in end for end in ends)), None)
        complete = not failure and self.next_run(trial) is None
        if complete and absent is not None:
            when = " at its last epoch" if trial.last(absent) is not None else ""
            failure, complete, tag = f"it never reported {absent}{when}", False, FailureTag.VALUES
        trial.reason, trial.failure = failure, tag if failure else None
        trial.state = TrialState.FAILED if failure else TrialState.FINISHED
        if not failure and not complete:
            cut = self.timed_out and trial.index not in self._pruned
            trial.state = TrialState.UNFINISHED if cut else TrialState.STOPPED
            trial.reason = (
                f"after epoch {trial.epochs_run} of {self.epochs_in_all(trial)}{f', {TIME_UP}' if cut else ''}"
            )
        optuna_trial = self._live.pop(trial.index)
        optuna_trial.set_user_attr(REASON, trial.reason)
        if trial.state is TrialState.UNFINISHED:  # Optuna has no such state; it stays running
            self.shortfall = TIME_UP
            return
        if trial.failure:
            optuna_trial.set_user_attr(FAILURE, str(trial.failure))
        values = [mean(end[name] for end in ends) for name in self._names] if complete else None
        self._study.tell(optuna_trial, values, state=END_STATES[trial.state])

    def leave(self) -> None:
        """Say of the trials that run that they are unfinished, since this session ends."""
        for trial in self.trials.values():
            if trial.state is TrialState.RUNNING:
                trial.state = TrialState.UNFINISHED

    @property
    def complete(self) -> bool:
        """Whether every trial that the search may start has been run, in this session or an earlier one."""
        if any(trial.state in (TrialState.RUNNING, TrialState.UNFINISHED) for trial in self.trials.values()):
            return False
        if self.space.lists_trials:
            self._say_all_listed()
            return all(map(self._has, self._listed[: self.budget]))
        if self.budget is not None and len(self.trials) >= self.budget:
            return True
        drawn = self._suggestions.draw(len(self.trials))
        self.shortfall = self._suggestions.shortfall
        return drawn is None

    @property
    def timed_out(self) -> bool:
        return self.deadline is not None and monotonic() > self.deadline

    def record_test(self, trial: TrialRecord, scores: Mapping[str, float]) -> None:
        """Record a finalist's test scores."""
        trial.record_test(scores)

    def _attach(self) -> list[optuna.trial.FrozenTrial]:
        """Open the study, with all that writes to it. Returns the trials it has."""
        self._study = self._open_study()
        known = self._study.get_trials(deepcopy=False)
        self._optuna_trials = OptunaTrials(self._study, self.space, known)
        self._suggestions = Suggestions(
            self._study, self.space, self.base, self._method, self._startup, self._has, self.earlier
        )
        return known

    def _open_study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        rule = stopping_rule(self.space)
        try:
            storage = optuna.storages.RDBStorage(
                sqlite_url(self._file), engine_kwargs={"connect_args": {"timeout": _BUSY_S}}
            )
            return optuna.create_study(
                study_name=NAME,
                storage=in_memory(storage) if self._read_only else storage,
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(seed=self.base.seed),  # never asked: suggestions have a view
                directions=directions(self.space),
                pruner=rule.pruner(self.base.epochs) if rule else optuna.pruners.NopPruner(),
            )
        except RuntimeError as error:  # of a file that another release of Optuna made
            raise CmdTuneError(f"{self.folder / STUDY}: {first_line(error)}") from error

    def _describe(self) -> None:
        """Write what the study is of, once in a session."""
        if self._described:
            return
        self._described = True
        text = self.space.path.read_text(encoding="utf-8") if self.space.path.exists() else ""
        attributes = {"method": method_title(self.space, self.budget), "preset": self.preset, "space": text}
        describe(self._study, self._names, {**attributes, **self._data})

    def _list(self) -> list[dict[str, Any]]:
        """The trials that the space file lists: a table's, a grid's, or start points."""
        points = self._method.listed(self.space, self.base.model_dump())
        if self.earlier:
            points = [*points, best_of(self.earlier, maximize=self.space.maximize).values]
        return [{**self.space.fixed, **point} for point in points]

    def _say_all_listed(self) -> None:
        whole = self.budget is None or self.budget >= len(self._listed)
        self.shortfall = "every cell has been run" if whole else ""

    def _has(self, values: Mapping[str, Any]) -> bool:
        return key_of(values) in self._tried

    def _queued(self, known: Sequence[optuna.trial.FrozenTrial]) -> TrialRecord | None:
        """The first point of Optuna's queue that may run, as a trial; None if there is none."""
        number = len(self.trials)
        for point in waiting(known):
            given = {**point.params, **point.system_attrs.get("fixed_params", {})}
            try:
                suggestion = self._suggestions.complete(number, given, sampled=self._optuna_trials.earlier)
            except ValueError as error:
                self._optuna_trials.refuse_waiting(point, first_line(error))
                continue
            return self._enter(*self._optuna_trials.begin_waiting(point, suggestion, number), suggestion.values)
        return None

    def _enter(self, index: int, optuna_trial: Trial, values: dict[str, Any]) -> TrialRecord:
        trial = TrialRecord(index, values, self._folder_of(index))
        trial.folder.mkdir(parents=True, exist_ok=True)
        self.trials = {**self.trials, index: trial}  # another thread may be going through the old one
        self._live[index] = optuna_trial
        self._tried.add(key_of(values))
        return trial

    def _folder_of(self, index: int) -> Path:
        return self.folder / TRIALS / f"{index:03d}"

    def _recall(self, index: int, frozen: optuna.trial.FrozenTrial) -> None:
        """Take over a trial of an earlier session, with what its folder has."""
        kept = frozen.user_attrs
        trial = TrialRecord(
            index, kept[VALUES], self._folder_of(index), TRIAL_STATES[frozen.state], kept.get(REASON, "")
        )
        self.remarks += trial.read_files()
        for run in trial.ablations if self._retry_failed else ():  # those of other kinds run again anyway
            run.reason, run.failure = "", None
        self.trials[index] = trial
        self._tried.add(key_of(trial.values))
        again = bool(kept.get(AGAIN))
        if trial.state is TrialState.FAILED:
            trial.failure = FailureTag(kept.get(FAILURE, FailureTag.DEFECT if again else FailureTag.VALUES))
            again = self._retry_failed or (trial.failure.passing and not self._read_only)
        if again and trial.state in (TrialState.FAILED, TrialState.STOPPED):
            trial.state, trial.failure = TrialState.UNFINISHED, None
        if not trial.history and (frozen.intermediate_values or (self.space.more_metrics and frozen.values)):
            where = trial.folder if not trial.folder.exists() else f"{trial.folder}: its history"
            starts = trial.state is TrialState.UNFINISHED
            what = "the trial begins anew, unless its checkpoint is there" if starts else "its scores are the study's"
            self.remarks.append(f"{where} is gone; {what}")
            if not starts:
                trial.history = self._kept_by_optuna(trial, frozen)

    def _kept_by_optuna(self, trial: TrialRecord, frozen: optuna.trial.FrozenTrial) -> list[dict[str, float]]:
        """What Optuna has of a trial whose own history is gone."""
        if not self.space.more_metrics and self.space.seeds == 1:
            steps = sorted(frozen.intermediate_values.items())
            return [{"epoch": step, self.space.metric: value} for step, value in steps]
        # There are no steps, or they are of one seed, or none is an epoch.
        ended = dict(zip(self._names, frozen.values or (), strict=False))
        return [{"epoch": self.epochs_of(trial), **ended}] if ended else []

    def _has_ended(self, trial: TrialRecord) -> bool:
        """Whether Optuna takes a trial that goes on for one that has ended, or has values that are gone from disk."""
        frozen = self._last[trial.index]
        known = self._steps(trial).keys()
        return frozen.state is not OptunaState.RUNNING or not frozen.intermediate_values.keys() <= known

    def _take_up(self, trial: TrialRecord) -> TrialRecord:
        """Go on with an unfinished trial. The first of a session has all that Optuna takes for ended opened again."""
        if self._to_reopen and not self._reopened:
            reopen(self.folder / STUDY, list(self._to_reopen.values()))
            self._attach()
            self._reopened = True
        frozen = self._last[trial.index]
        optuna_trial = Trial(self._study, frozen._trial_id)
        reported = {} if trial.index in self._to_reopen else frozen.intermediate_values
        for step, value in self._steps(trial).items():
            if step not in reported:
                optuna_trial.report(value, step)
        if frozen.user_attrs.get(REASON) and trial.index not in self._to_reopen:
            optuna_trial.set_user_attr(REASON, "")
        self._live[trial.index] = optuna_trial
        trial.state, trial.reason, trial.failure = TrialState.RUNNING, "", None
        trial.folder.mkdir(parents=True, exist_ok=True)
        return trial

    def _settle_cut_short(self) -> None:
        """End what an earlier release had begun in Optuna when a kill came. A given point is queued again."""
        for frozen in self._cut_short:
            given = frozen.system_attrs.get("fixed_params")
            if given is not None and not frozen.user_attrs.keys() & {REJECTED, INDEX}:
                self._study.enqueue_trial(given)
            self._study.tell(frozen.number, state=OptunaState.FAIL)
        self._cut_short = []
