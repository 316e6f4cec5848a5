"""Between Ray Tune and the book: hands out trials, enters what they report, tells MLflow and the display."""

from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console

from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.evaluate.scores import Scores
from cmd_tune.runs.ending import keep_traceback
from cmd_tune.runs.environment import ENVIRONMENT, describe_software, git_commit
from cmd_tune.runs.run_records import cost
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.execution.trial_process import RECORDS, SLOWER, trial_config
from cmd_tune.search.plan import Plan
from cmd_tune.search.recorded import search_note, search_page, trial_note, trial_tags
from cmd_tune.search.report.live import Display
from cmd_tune.search.report.trials_table import trials_columns
from cmd_tune.search.study.study import Book, Entry, State
from cmd_tune.tracking import BackgroundTracker, RunSnapshot, RunStatus
from cmd_tune.train.loop import CHECKPOINT

MOST_ALIKE = 3  # trials in a row that may fail for one reason that is not their values'
_METRICS = ("loss/", "accuracy/", "val/")  # of the loop, among the many keys of a Tune result
_NUMBERS = ("epoch", "learning_rate", "seconds")
_STATUS = {
    State.RUNNING: RunStatus.RUNNING,
    State.FINISHED: RunStatus.FINISHED,
    State.STOPPED: RunStatus.STOPPED,
    State.FAILED: RunStatus.FAILED,
}


class Conductor:
    """Everything of a running search that is neither Ray's nor the trials'. `trial` is Tune's name of a trial."""

    def __init__(
        self, plan: Plan, book: Book, machine: Machine | None, tracker: BackgroundTracker, console: Console
    ) -> None:
        """machine: None where all trials have been run, and none is asked for."""
        self.plan, self.book, self.machine, self.tracker = plan, book, machine, tracker
        self.display = Display(self.book, console, concurrent=machine.concurrent if machine else 1)
        self._running: dict[str, Entry] = {}
        self._started: set[int] = set()  # trials that this sitting has run, by this code
        self._heard: set[int] = set()  # trials that have reported in this sitting, and so written down where they are
        self._exhausted = False
        self._alike, self._kind = 0, ""  # trials in a row that failed for reasons of one kind
        self.trouble = ""  # why the search cannot go on
        self._status: RunStatus | None = (
            None  # of a search that may turn out to be finished: its end is not to be moved
        )
        self.show_search(self._status)
        if not book.entries:
            self.goes_on()
        for entry in self.book.entries.values():
            self._show(entry)

    def goes_on(self) -> None:
        """Say in MLflow that there is something to do."""
        if self._status is not RunStatus.RUNNING:
            self._status = RunStatus.RUNNING
            self.show_search(self._status)

    def suggest(self, trial: str) -> dict[str, Any] | None:
        """The next trial's configuration, or None: for now, or for good where `exhausted`."""
        while not self.exhausted() and self._has_room():
            entry = self.book.next()
            if entry is None:
                self._exhausted = True
                break
            try:
                settings = self.book.settings_of(entry)
            except CmdTuneError as error:
                self._end(entry, str(error))
                continue
            self._running[trial] = entry
            assert self.machine is not None
            return trial_config(entry.index, entry.folder, settings, self.plan.source, self.machine)
        return None

    def _has_room(self) -> bool:
        """Whether one more trial may run: fewer at once where it is one that the sampler learns for."""
        running, machine = len(self._running), self.machine
        assert machine is not None
        return running < machine.learning or (running < machine.concurrent and not self.book.learns())

    def exhausted(self) -> bool:
        return self._exhausted or bool(self.trouble)

    def failed(self, error: Exception) -> None:
        """End the search in order, since something that it stands on failed. What runs is left to be resumed."""
        folder, why = self.plan.folder, one_line(error)
        keep_traceback(folder, error)
        self._give_up(why if str(folder) in why else f"{folder}: {why}")

    def started(self, trial: str) -> None:
        entry = self._running[trial]
        self._started.add(entry.index)
        self.goes_on()
        self.display.started(entry)
        self._show(entry)

    def reported(self, trial: str, result: dict[str, Any]) -> bool:
        """Enter an epoch, or a resumed trial's history; True where the trial is to be stopped."""
        entry = self._running.get(trial)
        if self.trouble or entry is None or "epoch" not in result:
            return bool(self.trouble)
        if slower := result.get(SLOWER):
            self.display.note(slower)
        self._heard.add(entry.index)
        new = False
        for record in result.get(RECORDS, [result]):
            ours = {name: float(x) for name, x in record.items() if name in _NUMBERS or name.startswith(_METRICS)}
            if self.book.record(entry, {name: value for name, value in ours.items() if isfinite(value)}):
                self.display.reported(entry)
                new = True
        if new:
            self._show(entry)
        return self.book.should_stop(entry)

    def ended(self, trial: str, failure: str, kind: str) -> None:
        """kind: of a failure that is not of the trial's values; three of one kind in a row end the search."""
        entry = self._running.pop(trial, None)
        if entry is None or self.trouble:
            return
        self._end(entry, failure, kind)
        self._alike = self._alike + 1 if kind and kind == self._kind else int(bool(kind))
        self._kind = kind
        if self._alike == MOST_ALIKE:
            self._give_up(f"{MOST_ALIKE} trials in a row failed alike, the last since {failure}")

    def tested(self, entry: Entry, scores: Scores) -> None:
        """Enter a finalist's test scores."""
        self.book.record_test(entry, scores)
        self.display.tested(entry)
        self._show(entry)

    def interrupted(self) -> None:
        """Say in MLflow that what runs has been stopped, until it is resumed."""
        for entry in self.book.entries.values():
            self._show(entry, interrupted=True)
        if self._status is RunStatus.RUNNING and not self.trouble:
            self.show_search(RunStatus.STOPPED)

    def show_winner(self, entry: Entry) -> None:
        checkpoint = entry.folder / CHECKPOINT
        self._show(entry, files=[checkpoint] if checkpoint.exists() else [])

    def show_search(
        self, status: RunStatus | None, scores: Scores | None = None, files: list[Path] | None = None
    ) -> None:
        """The parent run: best values, the table of trials, the search's files."""
        plan = self.plan
        self.tracker.show(
            RunSnapshot(
                key=None,
                name=plan.name,
                params={
                    "method": plan.space.method,
                    "metric": plan.space.metric,
                    "trials": plan.trials or "as many as the time allows",
                    "preset": plan.preset,
                    "dataset": plan.dataset,
                    "protocol": plan.source.protocol,
                    "workers": plan.workers,
                },
                documents={"settings.yaml": plan.settings.model_dump(mode="json"), ENVIRONMENT: describe_software()},
                note=search_note(plan, self.machine) if self.machine else "",
                commit=git_commit() or "" if self._status is RunStatus.RUNNING else None,
                scores={} if scores is None else scores | self._cost(*self.book.entries.values()),
                files=files or [],
                table={} if scores is None else trials_columns(self.book),
                status=status,
                reason=self.book.shortfall,
                page=search_page(plan),
            )
        )

    def _give_up(self, why: str) -> None:
        self.trouble = self.trouble or why

    def _end(self, entry: Entry, failure: str, kind: str = "") -> None:
        self.book.end(entry, failure=failure, again=bool(kind))
        self.display.ended(entry)
        self._show(entry)

    def _show(self, entry: Entry, *, interrupted: bool = False, files: list[Path] | None = None) -> None:
        try:
            settings = self.book.settings_of(entry)
        except CmdTuneError:
            settings = self.plan.settings
        stopped = interrupted and entry.state is State.RUNNING
        self.tracker.show(
            RunSnapshot(
                key=entry.index,
                name=entry.name,
                params=entry.values,
                documents={"settings.yaml": settings.model_dump(mode="json")},
                note=trial_note(entry),
                commit=git_commit() or "" if entry.index in self._started else None,
                tags=trial_tags(entry),
                epochs=list(entry.history),
                scores=entry.test_scores | ({} if entry.state is State.RUNNING else self._cost(entry)),
                files=[*([entry.folder / ENVIRONMENT] if entry.index in self._heard else []), *(files or [])],
                status=RunStatus.STOPPED if stopped else _STATUS[entry.state],
                reason=entry.reason,
            )
        )

    def _cost(self, *entries: Entry) -> Scores:
        machine = self.machine
        if machine is None:  # what it cost has been written
            return {}
        history = [record for entry in entries for record in entry.history]
        return cost(history, workers=machine.workers, cpus=machine.cpus, gpus=machine.gpus)
