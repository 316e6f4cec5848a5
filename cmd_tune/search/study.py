"""The book of a search: which trials there are, what they scored, what comes next. It survives the death of anyone.

Optuna's study in SQLite is the truth about trials; each trial's folder holds its history, one line an epoch.
Whoever opens the book again finds finished trials finished, and is handed the unfinished ones first, as they were.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import islice
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from cmd_tune.config import Settings, make_settings
from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.search.space import Space
from cmd_tune.search.table import Table

HISTORY, TEST_SCORES = "history.jsonl", "test.json"  # in a trial's folder
INDEX, VALUES, REJECTED, REASON = "index", "values", "rejected", "reason"  # user attributes of a trial
FINALISTS = 3  # trials that the test set is opened for
ATTEMPTS = 200  # suggestions in a row that may break a constraint or repeat a trial


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

    def __init__(self, folder: Path, space: Space, base: Settings, preset: str, trials: int) -> None:
        """base: settings that every trial starts from. trials: how many the search may start in all."""
        self.folder, self.space, self.base, self.preset, self.budget = folder, space, base, preset, trials
        self.deadline = monotonic() + space.seconds if space.seconds is not None else None
        self._study = _open_study(folder, space, base, trials)
        self._live: dict[int, Trial] = {}
        self.entries: dict[int, Entry] = {}
        for frozen in self._study.get_trials(deepcopy=False):
            if INDEX in frozen.user_attrs:
                self._recall(frozen)
            elif frozen.state is TrialState.RUNNING:
                self._forget(frozen)
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
        if self.timed_out:
            return None
        if self.space.table:
            return self._next_of(self.space.table)
        if len(self.entries) >= self.budget:
            return None
        repeats = 0
        for _ in range(ATTEMPTS):
            trial = self._study.ask(self.space.distributions())
            values = {**self.space.fixed, **self.space.decode(trial.params)}
            repeated = self._has(values)
            if not repeated and self.space.allows(values, self.base.model_dump()):
                return self._enter(trial, values)
            repeats += repeated
            trial.set_user_attr(REJECTED, "repeated" if repeated else "constraint")
            self._study.tell(trial, state=TrialState.FAIL)
        if repeats:
            return None  # every configuration of the space that the sampler finds has been run
        raise CmdTuneError(
            f"{self.space.path}: constraints: {ATTEMPTS} suggestions in a row broke them; loosen them or the ranges"
        )

    def record(self, entry: Entry, record: Mapping[str, float]) -> bool:
        """Enter one epoch's metrics; False where the book has that epoch already (a resumed trial tells them again)."""
        if record["epoch"] <= entry.epoch:
            return False
        entry.history.append(dict(record))
        with (entry.folder / HISTORY).open("a") as file:
            file.write(json.dumps(entry.history[-1]) + "\n")
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

    def end(self, entry: Entry, *, failure: str = "") -> None:
        """Close a trial: failed with a reason; else finished or stopped early, by the epochs it has."""
        value = entry.last(self.space.metric)
        complete = not failure and entry.epoch >= self.epochs_of(entry)
        if complete and value is None:
            failure, complete = f"it never reported {self.space.metric}", False
        entry.state = State.FAILED if failure else State.FINISHED if complete else State.STOPPED
        entry.reason = failure
        trial = self._live.pop(entry.index)
        trial.set_user_attr(REASON, failure)
        self._study.tell(trial, value if complete else None, state=_ENDS[entry.state])

    @property
    def complete(self) -> bool:
        """Whether every trial that the search may start has been run, in this sitting or an earlier one."""
        if any(entry.state is State.RUNNING for entry in self.entries.values()):
            return False
        if self.space.table:
            return all(self._has(values) for values in islice(self.space.table.trials(), self.budget))
        return len(self.entries) >= self.budget

    @property
    def timed_out(self) -> bool:
        return self.deadline is not None and monotonic() > self.deadline

    def ranked(self) -> list[Entry]:
        """Trials with a value of the metric, best first; early-stopped ones stand where their last value puts them."""
        scored = [entry for entry in self.entries.values() if entry.last(self.space.metric) is not None]
        scored = [entry for entry in scored if entry.state is not State.FAILED]
        sign = -1 if self.space.maximize else 1
        return sorted(scored, key=lambda entry: (sign * (entry.last(self.space.metric) or 0.0), entry.index))

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
        return [entry for entry in self.ranked() if entry.state is State.FINISHED][:count]

    def _next_of(self, table: Table) -> Entry | None:
        """The first trial of a table that has not been run: also of one that has got more cells or seeds since."""
        values = next((v for v in islice(table.trials(), self.budget) if not self._has(v)), None)
        # Optuna keeps the trial's state. Its categories cannot grow, so that the values are an attribute alone.
        return None if values is None else self._enter(self._study.ask(), values)

    def _has(self, values: Mapping[str, Any]) -> bool:
        return any(entry.values == values for entry in self.entries.values())

    def _enter(self, trial: Trial, values: dict[str, Any]) -> Entry:
        index = len(self.entries)
        entry = Entry(index, values, self.folder / "trials" / f"{index:03d}")
        entry.folder.mkdir(parents=True, exist_ok=True)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(INDEX, index)
        self.entries[index], self._live[index] = entry, trial
        return entry

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
            entry.test_scores = json.loads((entry.folder / TEST_SCORES).read_text())
        self.entries[index] = entry
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


def _open_study(folder: Path, space: Space, base: Settings, trials: int) -> optuna.Study:
    """The study of a search; a new one has its start points or grid cells queued."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    study = optuna.create_study(
        study_name="search",
        storage=storage,
        load_if_exists=True,
        direction="maximize" if space.maximize else "minimize",
        pruner=_pruner(space),
    )
    before = len(study.get_trials(deepcopy=False))
    # A sampler that starts again from its seed would repeat its first draws: after a resume it gets another stream.
    stream = int.from_bytes(blake2b(f"{base.seed}/{before}".encode(), digest_size=4).digest())
    if space.method == "tpe":
        study.sampler = optuna.samplers.TPESampler(seed=stream, n_startup_trials=min(10, max(3, trials // 4)))
    else:
        study.sampler = optuna.samplers.RandomSampler(seed=stream)
    if before == 0:
        for point in space.cells(base.model_dump()) if space.method == "grid" else space.start_points:
            study.enqueue_trial(space.encode(point))
    return study


def _pruner(space: Space) -> optuna.pruners.BasePruner:
    if space.early_terminate is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=space.early_terminate.grace_period, reduction_factor=space.early_terminate.reduction_factor
    )


def _read_history(path: Path) -> list[dict[str, float]]:
    """Whole lines of a history; a last line that a kill cut short is left out, and cut from the file."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        path.write_text("".join(lines))
    return [json.loads(line) for line in lines]
