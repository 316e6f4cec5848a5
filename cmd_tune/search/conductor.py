"""Between Ray Tune and the book: hands out trials, enters what they report, tells MLflow and the display."""

from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console

from cmd_tune.config import Settings
from cmd_tune.errors import CmdTuneError
from cmd_tune.evaluate.scores import Scores
from cmd_tune.search.display import Display
from cmd_tune.search.environment import describe_environment, source_tags
from cmd_tune.search.machine import Machine
from cmd_tune.search.plan import Plan
from cmd_tune.search.report import trials_columns
from cmd_tune.search.study import Book, Entry, State
from cmd_tune.search.tracking import LEFT_AS_IT_IS, Run, Tracker
from cmd_tune.search.trial import trial_config
from cmd_tune.train.loop import CHECKPOINT

_METRICS = ("loss/", "accuracy/", "val/")  # of the loop, among the many keys of a Tune result
_NUMBERS = ("epoch", "learning_rate", "seconds")
_STATUS = {State.RUNNING: "RUNNING", State.FINISHED: "FINISHED", State.STOPPED: "KILLED", State.FAILED: "FAILED"}


class Conductor:
    """Everything of a running search that is neither Ray's nor the trials'. `trial` is Tune's name of a trial."""

    def __init__(self, plan: Plan, book: Book, machine: Machine | None, tracker: Tracker, console: Console) -> None:
        """machine: None where all trials have been run, and none is asked for."""
        self.plan, self.book, self.machine, self.tracker = plan, book, machine, tracker
        self.display = Display(self.book, console, concurrent=machine.concurrent if machine else 1)
        self._running: dict[str, Entry] = {}
        self._exhausted = False
        self._status = LEFT_AS_IT_IS  # of a search that may turn out to be finished: its end is not to be moved
        self.show_search(self._status)
        if not book.entries:
            self.goes_on()
        for entry in self.book.entries.values():
            self._show(entry)

    def goes_on(self) -> None:
        """Say in MLflow that there is something to do."""
        if self._status != "RUNNING":
            self._status = "RUNNING"
            self.show_search(self._status)

    def suggest(self, trial: str) -> dict[str, Any] | None:
        """The next trial's configuration, or None: for now, or for good where `exhausted`."""
        assert self.machine is not None
        while not self._exhausted and len(self._running) < self.machine.concurrent:
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
            return trial_config(entry.index, entry.folder, settings, self.plan.source, self.machine)
        return None

    def exhausted(self) -> bool:
        return self._exhausted

    def started(self, trial: str) -> None:
        entry = self._running[trial]
        self.goes_on()
        self.display.started(entry)
        self._show(entry)

    def reported(self, trial: str, result: dict[str, Any]) -> bool:
        """Enter an epoch; True where the trial is to be stopped."""
        entry = self._running.get(trial)
        if entry is None or "epoch" not in result:
            return False
        ours = {name: float(value) for name, value in result.items() if name in _NUMBERS or name.startswith(_METRICS)}
        if self.book.record(entry, {name: value for name, value in ours.items() if isfinite(value)}):
            self.display.reported(entry)
            self._show(entry)
        return self.book.should_stop(entry)

    def ended(self, trial: str, failure: str) -> None:
        entry = self._running.pop(trial, None)
        if entry is not None:
            self._end(entry, failure)

    def tested(self, entry: Entry, scores: Scores) -> None:
        """Enter a finalist's test scores."""
        self.book.record_test(entry, scores)
        self.display.tested(entry)
        self._show(entry)

    def interrupted(self) -> None:
        """Say in MLflow that what runs has been stopped, until it is resumed."""
        for entry in self.book.entries.values():
            self._show(entry, interrupted=True)
        if self._status == "RUNNING":
            self.show_search("KILLED")

    def show_winner(self, entry: Entry) -> None:
        self._show(entry, files=[entry.folder / CHECKPOINT])

    def show_search(self, status: str, scores: Scores | None = None, files: list[Path] | None = None) -> None:
        """The parent run: best values, the table of trials, the search's files."""
        plan = self.plan
        self.tracker.show(
            Run(
                key=None,
                name=plan.name,
                params={
                    "method": plan.space.method,
                    "metric": plan.space.metric,
                    "trials": plan.trials,
                    "preset": plan.preset,
                    "dataset": plan.dataset,
                    "protocol": plan.source.protocol,
                    "workers": plan.workers,
                },
                documents=self._documents(plan.settings),
                tags=source_tags(),
                scores=scores or {},
                files=files or [],
                table={} if scores is None else trials_columns(self.book),
                status=status,
            )
        )

    def _end(self, entry: Entry, failure: str) -> None:
        self.book.end(entry, failure=failure)
        self.display.ended(entry)
        self._show(entry)

    def _show(self, entry: Entry, *, interrupted: bool = False, files: list[Path] | None = None) -> None:
        try:
            settings = self.book.settings_of(entry)
        except CmdTuneError:
            settings = self.plan.settings
        stopped = interrupted and entry.state is State.RUNNING
        self.tracker.show(
            Run(
                key=entry.index,
                name=entry.name,
                params=entry.values,
                documents=self._documents(settings),
                tags=source_tags(),
                epochs=list(entry.history),
                scores=dict(entry.test_scores),
                files=files or [],
                status="KILLED" if stopped else _STATUS[entry.state],
                reason=entry.reason,
            )
        )

    @staticmethod
    def _documents(settings: Settings) -> dict[str, dict[str, Any]]:
        return {"settings.yaml": settings.model_dump(mode="json"), "environment.yaml": describe_environment()}
