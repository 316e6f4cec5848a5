"""Runs pretrain or evaluate once: locks the folder, turns Ctrl-C into a resume message, closes the tracker."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from cmd_tune import interrupts
from cmd_tune.compute.threads import keep_to_usable_cpus
from cmd_tune.errors import CmdTuneError, Interrupted
from cmd_tune.runs.ending import Ending
from cmd_tune.runs.environment import describe_environment, record_session
from cmd_tune.runs.messages import close_tracker, print_places, start_tracker
from cmd_tune.runs.run_folder import lock_folder
from cmd_tune.runs.run_plan import RunPlan
from cmd_tune.tracking import BackgroundTracker, RunSnapshot, RunStatus


class RunSession:
    """An open session. Steps that may fail without ending the run are attempts of `ending`."""

    def __init__(
        self,
        plan: RunPlan,
        tracker: BackgroundTracker,
        console: Console,
        snapshot: Callable[[RunStatus], RunSnapshot],
        *,
        finished: bool,
    ) -> None:
        self.plan, self.tracker, self.console, self.finished = plan, tracker, console, finished
        self.ending = Ending(plan.folder)
        self._snapshot = snapshot

    def show(self, status: RunStatus = RunStatus.RUNNING) -> None:
        """Show the run as it is now; a finished one stays finished."""
        self.tracker.show(self._snapshot(RunStatus.FINISHED if self.finished else status))

    def end(self, contents: str, options: str = "") -> None:
        """Print where the run is, with `contents` of its folder, and the steps that failed.

        options: what is typed behind the resume command to try these again. Raises CmdTuneError if one failed.
        """
        print_places(self.console, self.plan.folder, contents, self.tracker)
        self.ending.show(self.console)
        self.ending.check(self.plan.resume + options)


@contextmanager
def run_session(
    plan: RunPlan, console: Console, snapshot: Callable[[RunStatus], RunSnapshot], *, finished: bool
) -> Iterator[RunSession]:
    """Keep to the CPUs there are. At the end, show the run with its final status and close the tracker.

    snapshot: the run as it is when called. finished: an earlier session came to the end, so that this one changes
    nothing.
    Raises Interrupted, with the resume command, on Ctrl-C or SIGTERM; CmdTuneError if the tracker can never be
    reached, in which case a new run's folder is removed.
    """
    keep_to_usable_cpus()
    status = RunStatus.FAILED
    tracker = start_tracker(plan, console)
    session = RunSession(plan, tracker, console, snapshot, finished=finished)
    with lock_folder(plan.folder), termination_as_interrupt(f"interrupted; go on with: {plan.resume}"):
        if not finished:
            record_session(plan.folder, describe_environment())
        try:
            try:
                tracker.check()
            except CmdTuneError:
                if plan.new:
                    shutil.rmtree(plan.folder, ignore_errors=True)
                raise
            if not plan.new:
                plan.keep_record()
            yield session
            status = RunStatus.FINISHED
        except KeyboardInterrupt:
            status = RunStatus.STOPPED
            raise Interrupted(f"interrupted; go on with: {plan.resume}") from None
        finally:
            session.show(status)
            close_tracker(tracker, console, plan.resume)


@contextmanager
def termination_as_interrupt(line: str) -> Iterator[None]:
    """SIGTERM, as a cluster's queue sends it, ends a run the way Ctrl-C does; so does SIGINT in the background.

    line: what is printed if the end takes too long, or if there is a second signal.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts.catch()
    said_before = interrupts.say_then(line)
    try:
        yield
        interrupts.say_then(said_before)  # not after an interrupt, which ends the command
    finally:
        interrupts.release(before)
