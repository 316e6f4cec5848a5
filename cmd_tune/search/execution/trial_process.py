"""The work of a trial's process, whatever engine started it: pretrain and validate, report, name what went wrong."""

from collections.abc import Callable

import torch

from cmd_tune.compute.slower import heard
from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.runs.environment import describe_environment, record_session
from cmd_tune.runs.failures import named_failures
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.search.execution.engine import TrialReport, TrialTask
from cmd_tune.train.distributed import world

MAX_RESTARTS = 2  # of a trial whose process died


def run_task(task: TrialTask, report: Callable[[TrialReport], None]) -> None:
    """Run a trial of one process, resumed from the checkpoint in its folder if there is one.

    If the trial cannot go on (it diverged, memory is full, a file cannot be read), its last report says so. Any other
    exception is a defect, or the end of the process.
    """
    try:
        run_worker(task, report)
    except CmdTuneError as error:
        report(failure_report(error))


def run_worker(task: TrialTask, report: Callable[[TrialReport], None]) -> None:
    """One process's part of a trial. Raises CmdTuneError if the trial cannot go on.

    The history of a resumed trial is one report: Ray Train takes a fifth of a second for each.
    """
    torch.set_num_threads(task.resources.threads)

    def tell(*records: dict[str, float]) -> None:
        slower, said[:] = "; ".join(said), []
        report(TrialReport(list(records), slower))

    with named_failures():
        if world()[0] == 0:
            record_session(task.folder, describe_environment())
        with heard() as said:
            run(task.settings, task.source, task.folder, tell, recall=lambda records: tell(*records), test=task.test)


def failure_report(error: CmdTuneError) -> TrialReport:
    """The last report of a trial that cannot go on."""
    return TrialReport(failure=one_line(error), kind=type(error).__name__)
