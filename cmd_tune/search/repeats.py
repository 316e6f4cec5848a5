"""Runs configurations once the trials of a search have ended: to confirm finalists, refit them, or explain the best."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from cmd_tune.errors import CmdTuneError, DiskFull, one_line
from cmd_tune.full_disk import as_disk_full
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Attempt
from cmd_tune.search.execution import WAIT, Engine, ResourcePlan, TrialEvents, TrialReport, TrialTask
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.study.failure_tags import FailureTag, failure_tag
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import Repeat, RepeatRecord
from cmd_tune.train.kept_checkpoints import remove_checkpoints
from cmd_tune.train.loop import CHECKPOINT


def run_repeats(
    study: SearchStudy,
    due: Sequence[RepeatRecord],
    source: DataSource,
    engine: Engine,
    resources: ResourcePlan,
    listeners: Sequence[SearchListener],
    attempt: Attempt,
) -> None:
    """Run what is due, from checkpoints if there are any.

    `attempt` takes each that fails, so that it stops no other. Raises DiskFull if nothing more can be written.
    """
    if not due:
        return
    for listener in listeners:
        listener.continued()
        listener.repeats_opened(due)
    controller = RepeatController(study, due, source, resources, listeners)
    try:
        engine.run(resources, controller)
    except Exception as error:  # an engine may raise anything
        controller.failed(error)
    finally:
        for listener in listeners:
            listener.repeats_closed()
    if controller.disk_full:
        raise DiskFull(controller.trouble)
    for index, record in enumerate(due):
        if index not in controller.settled:
            attempt(record.name, partial(_fail, record.reason or controller.trouble or "it did not come to its end"))


def _fail(reason: str) -> None:
    raise CmdTuneError(reason)


class RepeatController(TrialEvents):
    """Hands out runs to an engine as it does trials, and records what they report.

    trouble: why they cannot go on; empty while they can. disk_full: whether that is the reason. settled: indices of
    what has come to its end, or is a result in itself: but for a refit, what failed for the values it has.
    """

    def __init__(
        self,
        study: SearchStudy,
        due: Sequence[RepeatRecord],
        source: DataSource,
        resources: ResourcePlan,
        listeners: Sequence[SearchListener] = (),
    ) -> None:
        self.study, self.due, self.source, self.resources, self.listeners = study, due, source, resources, listeners
        self.trouble, self.disk_full = "", False
        self.settled: set[int] = set()
        self._next = 0
        self._running: set[int] = set()

    def next_task(self) -> TrialTask | Literal["wait"] | None:
        if self.trouble or self._next == len(self.due):
            return None
        if len(self._running) >= self.resources.concurrent:
            return WAIT
        index, self._next = self._next, self._next + 1
        record = self.due[index]
        record.reason, record.failure = "", None
        record.keep()
        self._running.add(index)
        settings, test = self.study.settings_of(record), record.purpose is Repeat.REFIT
        return TrialTask(index, record.folder, settings, self.source, self.resources.per_trial, test)

    def started(self, index: int) -> None:
        for listener in self.listeners:
            listener.repeat_started(self.due[index])

    def reported(self, index: int, report: TrialReport) -> bool:
        record = self.due[index]
        for epoch in report.finite:
            record.take(epoch)
        for listener in self.listeners:
            if report.slower:
                listener.noted(report.slower)
            listener.repeat_reported(record)
        return bool(self.trouble)

    def ended(self, index: int, failure: str = "", kind: str = "") -> None:
        record, tag = self.due[index], failure_tag(kind)
        self._running.discard(index)
        record.reason, record.failure = failure, tag if failure else None
        if failure and tag is FailureTag.DISK:
            self.trouble, self.disk_full = self.trouble or failure, True
        if self.study.done(record):
            if record.purpose is not Repeat.REFIT:  # its score is what it was run for
                remove_checkpoints(record.folder / CHECKPOINT)
            self.settled.add(index)
        elif record.failed_by_values and record.purpose is not Repeat.REFIT:
            if record.purpose is Repeat.ABLATION:  # it does not run again
                record.keep()
                remove_checkpoints(record.folder / CHECKPOINT)
            self.settled.add(index)
        for listener in self.listeners:
            listener.repeat_ended(record)

    def failed(self, error: Exception) -> None:
        full = as_disk_full(error, self.study.folder)
        self.trouble, self.disk_full = self.trouble or one_line(full or error), full is not None

    def relaid(self, plan: ResourcePlan) -> None:
        self.resources = plan

    def noted(self, text: str) -> None:
        for listener in self.listeners:
            listener.noted(text)

    def stop_all(self) -> bool:
        return bool(self.trouble)
