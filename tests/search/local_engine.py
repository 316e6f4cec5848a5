"""An engine in this process: one trial after another, of what a test says that trials do."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from cmd_tune.errors import one_line
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Ending
from cmd_tune.search.execution import (
    WAIT,
    Engine,
    ResourcePlan,
    ResourceRequest,
    TrialEvents,
    TrialReport,
    TrialTask,
)
from cmd_tune.search.execution.engine import MAX_RESTARTS
from cmd_tune.search.execution.resources import Node, plan_resources
from cmd_tune.search.execution.trial_process import run_task
from cmd_tune.search.repeats import run_repeats

T = TypeVar("T")
Work = Callable[[TrialTask, Callable[[TrialReport], None]], TrialReport | None]


def run_due(study, due, folder, work, listeners=()):
    """Run repeats of a study by `work`; returns what went wrong."""
    source = DataSource(folder / "none.arrow", "xview")
    engine = LocalEngine(study.folder, ResourceRequest(), work=work)
    engine.open(trials=3, given=3)
    ending = Ending(study.folder)
    run_repeats(study, due, source, engine, engine.plan(source), listeners, ending.attempt)
    return ending.troubles


class _Stopped(Exception):
    """Ends the work of a trial from within its report."""


class LocalEngine(Engine):
    title = "this process"

    def __init__(
        self,
        folder: Path,
        request: ResourceRequest,
        address: str | None = None,
        *,
        work: Work = run_task,
    ) -> None:
        """work: what the process of a trial does; it trains unless a test says otherwise."""
        super().__init__(folder, request, address)
        self._work = work

    def open(self, *, trials: int | None, given: int) -> None:
        self._lay = partial(plan_resources, [Node(cpus=1, gpus=0)], self.request, trials=trials, given=given)

    def plan(self, source: DataSource) -> ResourcePlan:
        return self._lay()

    def call(self, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
        return partial(function, *arguments)

    def run(self, plan: ResourcePlan, events: TrialEvents) -> None:
        def ask(question: Callable[[], T], otherwise: T) -> T:
            try:
                return question()
            except Exception as error:
                events.failed(error)
                return otherwise

        while not events.stop_all():
            task = ask(events.next_task, None)
            if task is None:
                return
            assert task != WAIT, "no trial runs, so that none would ever end"
            failure, kind = self._run_trial(task, events, ask)
            ask(lambda task=task, failure=failure, kind=kind: events.ended(task.index, failure, kind), None)

    def _run_trial(self, task: TrialTask, events: TrialEvents, ask: Callable[..., bool]) -> tuple[str, str]:
        """Returns failure and kind: of what the work returns, else of what it reported last."""
        said_last = TrialReport()

        def report(said: TrialReport) -> None:
            nonlocal said_last
            said_last = said
            if said.records and ask(lambda: events.reported(task.index, said), True):
                raise _Stopped

        for _ in range(1 + MAX_RESTARTS):
            ask(lambda: events.started(task.index), None)
            try:
                last = self._work(task, report) or said_last
            except _Stopped:
                return "", ""
            except Exception as error:  # as when a process dies
                died = one_line(error), type(error).__name__
            else:
                return last.failure, last.kind
        return died

    def close(self) -> None: ...
