"""Between an engine and the study: hands out trials, records what they report, decides when the search must end."""

from collections.abc import Sequence
from typing import Literal

from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.full_disk import as_disk_full
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import keep_traceback
from cmd_tune.search.execution import WAIT, ResourcePlan, TrialEvents, TrialReport, TrialTask
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.study.failure_tags import FailureTag, failure_tag
from cmd_tune.search.study.study import STUDY, SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState
from cmd_tune.train.kept_checkpoints import keep_last, remove_checkpoints
from cmd_tune.train.loop import CHECKPOINT

MOST_ALIKE = 3  # trials in a row that may fail for one reason that is not their values'
LEAST_ENDED = 10  # trials that the largest share of failures is at least taken of


class SearchController(TrialEvents):
    """Answers an engine by the state of the study, and notifies listeners.

    trouble: why the search cannot go on; empty while it can. What runs then is left to be resumed. disk_full: whether
    that is the reason, so that nothing can be written.
    """

    def __init__(
        self, study: SearchStudy, source: DataSource, resources: ResourcePlan, listeners: Sequence[SearchListener] = ()
    ) -> None:
        self.study, self.source, self.resources, self.listeners = study, source, resources, listeners
        self.trouble, self.disk_full = "", False
        self._running: dict[int, TrialRecord] = {}  # the run of each trial that runs
        self._due: list[TrialRecord] = []  # trials that go on with their next seed
        self._ended = self._failed = 0  # trials of this session
        self._alike, self._kind = 0, ""  # trials in a row that failed for reasons of one kind

    def next_task(self) -> TrialTask | Literal["wait"] | None:
        while not self.trouble:
            if not self._due and not self._has_room():
                return WAIT
            trial = self._due.pop(0) if self._due else self.study.next()
            if trial is None:  # those that run may go on with another seed
                return WAIT if self._running and self.study.space.seeds > 1 else None
            try:
                run = self.study.next_run(trial) or trial
                settings = self.study.settings_of(run)
            except CmdTuneError as error:
                self._end(trial, one_line(error), FailureTag.VALUES)
                continue
            run.folder.mkdir(parents=True, exist_ok=True)
            self._running[run.index] = run
            test = self.study.space.comparison is not None  # which selects nothing
            return TrialTask(run.index, run.folder, settings, self.source, self.resources.per_trial, test)
        return None

    def _has_room(self) -> bool:
        """Whether one more trial may run: fewer do at once if the sampler learns for it."""
        running = len(self._running) + len(self._due)
        return running < self.resources.learning or (running < self.resources.concurrent and not self.study.learns())

    def started(self, index: int) -> None:
        run = self._running[index]
        for listener in self.listeners:
            listener.continued()
            listener.started(run)

    def reported(self, index: int, report: TrialReport) -> bool:
        run = self._running.get(index)
        if self.trouble or run is None:
            return bool(self.trouble)
        if report.slower:
            for listener in self.listeners:
                listener.noted(report.slower)
        new = [record for record in report.finite if self.study.record(run, record)]
        for listener in self.listeners:
            listener.reported(run, new)
        return self.study.should_stop(run)

    def ended(self, index: int, failure: str = "", kind: str = "") -> None:
        """Record the end of a trial. On a full disk the search ends, and the trial is left to be resumed."""
        run = self._running.pop(index, None)
        if run is None or self.trouble:
            return
        trial = self.study.trials[index]
        if not failure and self.study.goes_on(run):
            self._due.append(trial)
            return
        tag = failure_tag(kind)
        if failure and tag is FailureTag.DISK:
            self._give_up(failure, disk_full=True)
            return
        self._end(trial, failure, tag)
        # Too little memory may be due to the values as well, of which the next trial has others.
        alike = kind if failure and tag.passing and tag is not FailureTag.MEMORY else ""
        self._alike = self._alike + 1 if alike and alike == self._kind else int(bool(alike))
        self._kind = alike
        if self._alike == MOST_ALIKE:
            self._give_up(f"{MOST_ALIKE} trials in a row failed alike, the last since {failure}")

    def failed(self, error: Exception) -> None:
        folder = self.study.folder
        keep_traceback(folder, error)
        full = as_disk_full(error, folder / STUDY)
        why = one_line(full or error)
        self._give_up(why if str(folder) in why else f"{folder}: {why}", disk_full=full is not None)

    def relaid(self, plan: ResourcePlan) -> None:
        self.resources = plan

    def noted(self, text: str) -> None:
        for listener in self.listeners:
            listener.noted(text)

    def stop_all(self) -> bool:
        return bool(self.trouble)

    def _give_up(self, why: str, *, disk_full: bool = False) -> None:
        if not self.trouble:
            self.trouble, self.disk_full = why, disk_full

    def _end(self, trial: TrialRecord, failure: str, tag: FailureTag) -> None:
        self.study.end(trial, failure=failure, tag=tag)
        if trial.state in (TrialState.FINISHED, TrialState.STOPPED):
            keep_last(trial.folder / CHECKPOINT)
            for run in trial.runs[1:]:
                remove_checkpoints(run.folder / CHECKPOINT)
        for listener in self.listeners:
            listener.ended(trial)
        self._ended += 1
        self._failed += trial.state is TrialState.FAILED
        share = self.study.space.max_failure_rate
        if self._failed > share * max(LEAST_ENDED, self._ended):
            of = f"{self._failed} of {self._ended} trials have failed"
            self._give_up(
                f"{of}, more than budget.max_failure_rate {share:g} allows; the last, {trial.name}: {trial.reason}"
            )
