"""The work of a trial's process, whatever engine started it: pretrain and validate, report, name what went wrong."""

import platform
from collections.abc import Callable

from cmd_tune.compute.slower import heard
from cmd_tune.compute.threads import keep_to
from cmd_tune.compute.usage import Usage
from cmd_tune.errors import CmdTuneError, Diverged, one_line
from cmd_tune.runs.environment import describe_environment, record_session
from cmd_tune.runs.failures import named_failures
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.search.execution.engine import TrialReport, TrialTask
from cmd_tune.train.distributed import world
from cmd_tune.train.fused import FusedPrograms


def run_task(
    task: TrialTask, report: Callable[[TrialReport], None], programs: FusedPrograms | None = None
) -> TrialReport:
    """Run one process's part of a trial, resumed from the checkpoint in its folder if there is one.

    programs: take the steps of this trial and of others that run in this process at the same time.

    Returns the last report, which says why if the trial cannot go on: it diverged, memory is full, a file cannot be
    read. If only this one of several processes cannot, it raises CmdTuneError with its rank, since the others wait for
    it in a collective. Any other exception is a defect, or what `report` raised.
    """
    try:
        _run(task, report, programs)
    except Diverged as error:  # in every process alike, since the loss is of all
        return failure_report(error)
    except CmdTuneError as error:
        if world()[1] > 1:
            raise type(error)(f"worker {world()[0]} on {platform.node()}: {error}") from error
        return failure_report(error)
    return TrialReport()


def _run(task: TrialTask, report: Callable[[TrialReport], None], programs: FusedPrograms | None) -> None:
    """The history of a resumed trial is one report. An epoch's also has what it took of this process's machine."""
    keep_to(task.resources.threads)

    def tell(*records: dict[str, float]) -> None:
        slower, said[:] = "; ".join(said), []
        report(TrialReport(list(records), slower))

    usage = Usage()

    def tell_epoch(record: dict[str, float]) -> None:
        tell({**record, **usage.since_last()})

    with named_failures():
        if world()[0] == 0:
            record_session(task.folder, describe_environment())
        with heard() as said:
            run(
                task.settings,
                task.source,
                task.folder,
                tell_epoch,
                recall=lambda records: tell(*records),
                test=task.test,
                programs=programs,
            )


def failure_report(error: CmdTuneError) -> TrialReport:
    """The last report of a trial that cannot go on."""
    return TrialReport(failure=one_line(error), kind=type(error).__name__)
