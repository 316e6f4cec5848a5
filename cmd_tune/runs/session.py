"""One sitting of a run that is no search: its folder held, Ctrl-C and MLflow seen to, however it ends."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.runs.environment import describe_environment, record_sitting
from cmd_tune.runs.run_folder import close_tracker, hold, print_line, resume_line
from cmd_tune.tracking import BackgroundTracker, RunStatus


@contextmanager
def sitting(
    command: str,
    folder: Path,
    tracker: BackgroundTracker,
    console: Console,
    show: Callable[[RunStatus], None],
    *,
    new: bool,
    finished: bool,
) -> Iterator[None]:
    """Bring MLflow to the run's end by `show`, with its status, and close the tracker.

    new: whether its folder goes where MLflow's address is one that can never be written to. finished: by an earlier
    sitting, so that this one leaves no record.
    Raises Interrupted, with the line that goes on with the run, on Ctrl-C or SIGTERM.
    """
    status = RunStatus.FAILED
    for line in tracker.remarks():
        print_line(console, line)
    with hold(folder), termination_as_interrupt():
        if not finished:
            record_sitting(folder, describe_environment())
        try:
            try:
                tracker.check()
            except CmdTuneError:
                if new:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            yield
            status = RunStatus.FINISHED
        except KeyboardInterrupt:
            status = RunStatus.STOPPED
            raise Interrupted(f"interrupted; go on with: {resume_line(command, folder)}") from None
        finally:
            show(status)
            close_tracker(tracker, console, command, folder)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM, as a cluster's queue sends it, ends a run the way Ctrl-C does; so does SIGINT in the background."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
