"""Pretrains the finalists of a search again, on the whole training set, and scores these refits on the test set."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from cmd_tune.data.splits import Split
from cmd_tune.errors import CmdTuneError, DiskFull, one_line
from cmd_tune.formatting import count
from cmd_tune.full_disk import as_disk_full
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Attempt
from cmd_tune.search.execution import WAIT, Engine, ResourcePlan, TrialEvents, TrialReport, TrialTask
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.plan import Plan
from cmd_tune.search.spaces.refit import Refit
from cmd_tune.search.study.failure_tags import FailureTag, failure_tag
from cmd_tune.search.study.study import FINALISTS, SearchStudy
from cmd_tune.search.study.trial_record import RefitRecord


def planned_refits(study: SearchStudy, refit: Refit | None) -> list[RefitRecord]:
    """The refits of the finalists, the best trial's first. A trial that held nothing out needs none."""
    if refit is None or study.space.comparison:
        return []
    found = []
    for trial in study.finalists(FINALISTS):
        settings = study.settings_of(trial)
        if settings.holdout != "none":
            found += [trial.refit(seed) for seed in refit.seeds or (settings.seed,)]
    return found


def all_tested(study: SearchStudy, refit: Refit | None) -> bool:
    """Whether every finalist, and each of its refits, has its test scores, as far as they can be had."""
    finalists = [trial for trial in study.finalists(FINALISTS) if trial.testable]
    return all(trial.test_scores for trial in (*finalists, *planned_refits(study, refit)))


def refit_count(plan: Plan) -> int:
    """How many refits a search will run at most."""
    if plan.refit is None or plan.space.comparison or plan.settings.holdout == "none":
        return 0
    return min(FINALISTS, plan.trials or FINALISTS) * max(1, len(plan.refit.seeds))


def describe_refits(plan: Plan, split: Split) -> str:
    """What the refits of a search cost beside its trials, in words; empty if there will be none."""
    runs = refit_count(plan)
    if not runs:
        return ""
    pretrained, given = len(split.pretrain_N), len(split.test[0].gallery_N)
    best = min(FINALISTS, plan.trials or FINALISTS)
    text = f"refit: then the best {best} again on all {given:,}, {count(runs, 'run')}"
    if plan.trials is None:
        return text
    share = runs * given / (plan.trials * pretrained)
    return f"{text}: {100 * share:.0f} % as much work as {count(plan.trials, 'whole trial')}"


def run_refits(
    study: SearchStudy,
    refit: Refit | None,
    source: DataSource,
    engine: Engine,
    resources: ResourcePlan,
    listeners: Sequence[SearchListener],
    attempt: Attempt,
) -> None:
    """Run the refits that have no test scores yet, from their checkpoints if there are any.

    `attempt` takes each that fails, so that it stops no other. Raises DiskFull if nothing more can be written.
    """
    due = [record for record in planned_refits(study, refit) if not record.test_scores]
    if not due:
        return
    for listener in listeners:
        listener.continued()
        listener.refits_opened(due)
    controller = RefitController(study, due, source, resources, listeners)
    try:
        engine.run(resources, controller)
    except Exception as error:  # an engine may raise anything
        controller.failed(error)
    finally:
        for listener in listeners:
            listener.refits_closed()
    if controller.disk_full:
        raise DiskFull(controller.trouble)
    for record in due:
        attempt(record.name, partial(_check, record, controller.trouble))


def _check(record: RefitRecord, trouble: str) -> None:
    if not record.test_scores:
        raise CmdTuneError(record.reason or trouble or "it did not come to its end")


class RefitController(TrialEvents):
    """Hands out refits to an engine as it does trials, and records what they report.

    trouble: why they cannot go on; empty while they can. disk_full: whether that is the reason.
    """

    def __init__(
        self,
        study: SearchStudy,
        due: Sequence[RefitRecord],
        source: DataSource,
        resources: ResourcePlan,
        listeners: Sequence[SearchListener] = (),
    ) -> None:
        self.study, self.due, self.source, self.resources, self.listeners = study, due, source, resources, listeners
        self.trouble, self.disk_full = "", False
        self._next = 0
        self._running: set[int] = set()

    def next_task(self) -> TrialTask | Literal["wait"] | None:
        if self.trouble or self._next == len(self.due):
            return None
        if len(self._running) >= self.resources.concurrent:
            return WAIT
        index, self._next = self._next, self._next + 1
        record = self.due[index]
        record.folder.mkdir(parents=True, exist_ok=True)
        record.reason = ""
        self._running.add(index)
        settings = self.study.settings_of(record)
        return TrialTask(index, record.folder, settings, self.source, self.resources.per_trial, test=True)

    def started(self, index: int) -> None:
        for listener in self.listeners:
            listener.refit_started(self.due[index])

    def reported(self, index: int, report: TrialReport) -> bool:
        record = self.due[index]
        for epoch in report.finite:
            record.take(epoch)
        for listener in self.listeners:
            if report.slower:
                listener.noted(report.slower)
            listener.refit_reported(record)
        return bool(self.trouble)

    def ended(self, index: int, failure: str = "", kind: str = "") -> None:
        record = self.due[index]
        self._running.discard(index)
        record.reason = failure
        if failure and failure_tag(kind) is FailureTag.DISK:
            self.trouble, self.disk_full = self.trouble or failure, True
        for listener in self.listeners:
            listener.refit_ended(record)

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
