"""The book of a search: which trials there are, what they scored, what comes next. It survives the death of anyone.

Optuna's study in SQLite is the truth about trials; each trial's folder holds its history, one line an epoch.
Whoever opens the book again finds finished trials finished, and is handed the unfinished ones first, as they were.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from cmd_tune.config import Settings, make_settings
from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.runs.pretrain_and_score import TEST_SCORES
from cmd_tune.search.spaces.region import MOST_DRAWS
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.study.early_stopping import stopping_rule
from cmd_tune.search.study.methods import METHODS
from cmd_tune.search.study.optuna_values import distributions, from_optuna, to_optuna
from cmd_tune.sqlite_url import sqlite_url

STUDY = "study.db"  # in a search's folder
MANY = 40  # trials that a search is taken to have which is ended by its time
HISTORY = "history.jsonl"  # in a trial's folder
INDEX, VALUES, REJECTED, REASON = "index", "values", "rejected", "reason"  # user attributes of a trial
FINALISTS = 3  # trials that the test set is opened for
ATTEMPTS = 8  # suggestions in a row that may break a constraint or repeat a trial, before a draw takes their place
AGAIN = "again"  # of a trial that ended for no reason of its values: a later sitting takes it up


class State(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped early"
    FAILED = "failed"


_ENDS = {State.FINISHED: TrialState.COMPLETE, State.STOPPED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}
_STATES = {end: state for state, end in _ENDS.items()} | {TrialState.RUNNING: State.RUNNING}


@dataclass
class Entry:
    """One trial as the book has it. `history` holds its records in order; `test_scores` only a finalist has."""

    index: int
    values: dict[str, Any]
    folder: Path
    state: State = State.RUNNING
    reason: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    test_scores: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"trial-{self.index:03d}"

    @property
    def epoch(self) -> int:
        return int(self.history[-1]["epoch"]) if self.history else 0

    def last(self, metric: str) -> float | None:
        """The latest recorded value of a metric."""
        return next((record[metric] for record in reversed(self.history) if metric in record), None)


class Book:
    """All trials of one search. Only the driver process holds it."""

    def __init__(self, folder: Path, space: Space, base: Settings, preset: str, trials: int | None) -> None:
        """base: settings that every trial starts from. trials: how many the search may start in all; None: any."""
        self.folder, self.space, self.base, self.preset, self.budget = folder, space, base, preset, trials
        self.deadline = monotonic() + space.seconds if space.seconds is not None else None
        self.shortfall = ""  # why there are no more trials to start, where the budget is not the reason
        self._startup = min(10, max(3, (trials or MANY) // 4))  # trials with a score before TPE learns from them
        self._method = METHODS[space.method]
        self._study = self._open_study()
        self._live: dict[int, Trial] = {}
        self.entries: dict[int, Entry] = {}
        self._infeasible = 0  # suggestions that Optuna was told not to be allowed
        self._tried: set[frozenset[tuple[str, Any]]] = set()
        self._listed = self._list()
        self._given = iter(self._listed[:trials])
        self._region = space.region(base.model_dump(), self._stream)
        self._reopen()
        for frozen in self._study.get_trials(deepcopy=False):
            if INDEX in frozen.user_attrs:
                self._recall(frozen)
            elif frozen.state is TrialState.RUNNING:
                self._forget(frozen)
            else:
                self._infeasible += frozen.state is TrialState.PRUNED
        self._unfinished = [entry for entry in self.entries.values() if entry.state is State.RUNNING]

    def settings_of(self, entry: Entry) -> Settings:
        """The whole configuration of a trial. Raises UsageError where its values do not fit together."""
        return make_settings(self.preset, ("settings", self.base.model_dump()), (entry.name, entry.values))

    def epochs_of(self, entry: Entry) -> int:
        return int(entry.values.get("epochs", self.base.epochs))

    def next(self) -> Entry | None:
        """The next trial to run, or None when there are no more. Unfinished trials of an earlier sitting come first."""
        if self._unfinished:
            return self._unfinished.pop(0)
        listed = self.space.lists_trials
        if not listed and self.budget is not None and len(self.entries) >= self.budget:
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
            if entry := self._ask():
                return entry
        drawn = self._draw()
        return None if drawn is None else self._enter_given({**self.space.fixed, **drawn})

    def learns(self) -> bool:
        """Whether the next trial is one that the sampler chooses by the results it has."""
        if self._unfinished or not self._method.learns or not all(map(self._has, self._listed)):
            return False
        return not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def record(self, entry: Entry, record: Mapping[str, float]) -> bool:
        """Enter one epoch's metrics; False where the book has that epoch already (a resumed trial tells them again)."""
        if record["epoch"] <= entry.epoch:
            return False
        path = entry.folder / HISTORY
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(record)) + "\n")
        except OSError as error:
            raise CmdTuneError(f"{path}: cannot be written: {error.strerror}") from error
        entry.history.append(dict(record))
        value = record.get(self.space.metric)
        if value is not None and isfinite(value):
            self._live[entry.index].report(value, int(record["epoch"]))
        return True

    def should_stop(self, entry: Entry) -> bool:
        """Whether a running trial is to be ended before its last epoch: by ASHA, or since the time is up."""
        if entry.epoch >= self.epochs_of(entry):
            return False
        if self.timed_out:
            return True
        validated = bool(entry.history) and self.space.metric in entry.history[-1]
        return validated and self._live[entry.index].should_prune()

    def end(self, entry: Entry, *, failure: str = "", again: bool = False) -> None:
        """Close a trial: failed with a reason; else finished or stopped early, by the epochs it has.

        again: whether a later sitting tries it once more, since its values are not to blame. What the time stopped goes
        on in any later sitting.
        """
        value = entry.history[-1].get(self.space.metric) if entry.history else None
        complete = not failure and entry.epoch >= self.epochs_of(entry)
        if complete and value is None:
            when = " at its last epoch" if entry.last(self.space.metric) is not None else ""
            failure, complete = f"it never reported {self.space.metric}{when}", False
        entry.state = State.FAILED if failure else State.FINISHED if complete else State.STOPPED
        stop = f"after epoch {entry.epoch} of {self.epochs_of(entry)}{', the time is up' if self.timed_out else ''}"
        entry.reason = stop if entry.state is State.STOPPED else failure
        trial = self._live.pop(entry.index)
        trial.set_user_attr(REASON, entry.reason)
        if again or (entry.state is State.STOPPED and self.timed_out):
            trial.set_user_attr(AGAIN, True)
        self._study.tell(trial, value if complete else None, state=_ENDS[entry.state])

    @property
    def complete(self) -> bool:
        """Whether every trial that the search may start has been run, in this sitting or an earlier one."""
        if any(entry.state is State.RUNNING for entry in self.entries.values()):
            return False
        if self.space.lists_trials:
            self._say_all_listed()
            return all(map(self._has, self._listed[: self.budget]))
        return (self.budget is not None and len(self.entries) >= self.budget) or self._draw() is None

    @property
    def timed_out(self) -> bool:
        return self.deadline is not None and monotonic() > self.deadline

    def ranked(self) -> list[Entry]:
        """Finished trials, best first. Others' last values are of an earlier epoch, which says another thing."""
        sign = -1 if self.space.maximize else 1
        finished = [entry for entry in self.entries.values() if entry.state is State.FINISHED]
        return sorted(finished, key=lambda entry: (sign * (entry.last(self.space.metric) or 0.0), entry.index))

    def stopped(self) -> list[Entry]:
        """Trials that ended before their last epoch, which have no rank."""
        return [entry for entry in self.entries.values() if entry.state is State.STOPPED]

    def record_test(self, entry: Entry, scores: Mapping[str, float]) -> None:
        """Enter a finalist's test scores."""
        entry.test_scores = dict(scores)
        write_text(entry.folder / TEST_SCORES, json.dumps(entry.test_scores))

    def finalists(self, count: int) -> list[Entry]:
        """What the test set is opened for, once, at the last epoch: the best trials that reached it.

        A table selects nothing, by no score: all its trials are tested alike, and its report names no best one.
        """
        if self.space.table:
            return [entry for entry in self.entries.values() if entry.state is State.FINISHED]
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

    def _enter_given(self, values: dict[str, Any]) -> Entry:
        """Have Optuna suggest these values: after what waits in its queue already, as another may have put there."""
        if self.space.table:
            # Optuna keeps the trial's state. Its categories cannot grow, so that the values are an attribute alone.
            return self._enter(self._study.ask(), values)
        point = {name: value for name, value in values.items() if name in self.space.parameters}
        self._study.enqueue_trial(to_optuna(self.space, point))
        for _ in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if entry := self._ask():
                return entry
        raise AssertionError(f"Optuna did not take {values}")

    def _ask(self) -> Entry | None:
        """Optuna's next suggestion; None where it is not allowed or has been tried, which Optuna is then told."""
        trial = self._study.ask(distributions(self.space))
        values = {**self.space.fixed, **from_optuna(self.space, trial.params)}
        repeated = self._has(values)
        if not repeated and self.space.allows(values, self.base.model_dump()):
            return self._enter(trial, values)
        trial.set_user_attr(REJECTED, "repeated" if repeated else "constraint")
        # TPE learns what is not allowed from pruned trials, but counts them among the results: it needs true ones
        # first, and what it takes for good, the best tenth of all, should not become every one that was allowed.
        scored = sum(entry.state in (State.FINISHED, State.STOPPED) for entry in self.entries.values())
        learns = not repeated and scored >= self._startup and scored > self._infeasible
        if learns:
            trial.set_constraint("allowed", 1.0)
            self._infeasible += 1
        self._study.tell(trial, state=TrialState.PRUNED if learns else TrialState.FAIL)
        return None

    def _say_all_listed(self) -> None:
        whole = self.budget is None or self.budget >= len(self._listed)
        self.shortfall = "every cell has been run" if whole else ""

    def _draw(self) -> dict[str, Any] | None:
        """A new configuration of the space; None, with the reason as the shortfall, where none is left or found."""
        drawn = self._region.draw(self._is_tried)
        if drawn is None:
            self.shortfall = (
                f"all {len(self.entries)} configurations that the space allows have been run"
                if self._region.exhausted
                else f"of {MOST_DRAWS} configurations drawn, none that the space allows is new"
            )
        return drawn

    def _is_tried(self, point: Mapping[str, Any]) -> bool:
        return self._has({**self.space.fixed, **point})

    def _has(self, values: Mapping[str, Any]) -> bool:
        return _key(values) in self._tried

    def _enter(self, trial: Trial, values: dict[str, Any]) -> Entry:
        index = len(self.entries)
        entry = Entry(index, values, self.folder / "trials" / f"{index:03d}")
        entry.folder.mkdir(parents=True, exist_ok=True)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(INDEX, index)
        self.entries = {**self.entries, index: entry}  # another thread may be going through the old one
        self._live[index] = trial
        self._tried.add(_key(values))
        return entry

    def _reopen(self) -> None:
        """Put trials back among the unfinished that the time stopped, and once those that failed by no fault of theirs.

        For Optuna, whose trials end once, it is another trial; the last of those with one index is the one that counts.
        """
        trials = [frozen for frozen in self._study.get_trials(deepcopy=False) if INDEX in frozen.user_attrs]
        failures = Counter(frozen.user_attrs[INDEX] for frozen in trials if frozen.state is TrialState.FAIL)
        last = {frozen.user_attrs[INDEX]: frozen for frozen in trials}
        for index, frozen in last.items():
            stopped = frozen.state is TrialState.PRUNED or (frozen.state is TrialState.FAIL and failures[index] == 1)
            if stopped and frozen.user_attrs.get(AGAIN):
                self._study.add_trial(
                    optuna.trial.create_trial(
                        state=TrialState.RUNNING,
                        params=frozen.params,
                        distributions=frozen.distributions,
                        user_attrs={VALUES: frozen.user_attrs[VALUES], INDEX: index},
                    )
                )

    def _recall(self, frozen: optuna.trial.FrozenTrial) -> None:
        index = frozen.user_attrs[INDEX]
        entry = Entry(
            index,
            frozen.user_attrs[VALUES],
            self.folder / "trials" / f"{index:03d}",
            _STATES[frozen.state],
            frozen.user_attrs.get(REASON, ""),
        )
        entry.history = _read_history(entry.folder / HISTORY)
        if (entry.folder / TEST_SCORES).exists():
            entry.test_scores = json.loads((entry.folder / TEST_SCORES).read_text(encoding="utf-8"))
        self.entries[index] = entry
        self._tried.add(_key(entry.values))
        if entry.state is State.RUNNING:
            trial = self._live[index] = Trial(self._study, frozen._trial_id)
            for record in entry.history:
                if self.space.metric in record and record["epoch"] not in frozen.intermediate_values:
                    trial.report(record[self.space.metric], int(record["epoch"]))

    def _forget(self, frozen: optuna.trial.FrozenTrial) -> None:
        """A trial that died between Optuna's book and ours, before it ran: a given point waits again."""
        self._study.tell(frozen.number, state=TrialState.FAIL)
        given = frozen.system_attrs.get("fixed_params")
        if given is not None:
            self._study.enqueue_trial(given)


def _key(values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """What two configurations of the same values have in common."""
    return frozenset((name, tuple(value) if isinstance(value, list) else value) for name, value in values.items())


def _read_history(path: Path) -> list[dict[str, float]]:
    """Whole lines of a history; a last line that a kill cut short is left out, and cut from the file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        write_text(path, "".join(lines))
    return [json.loads(line) for line in lines]
