"""Ends a run from outside, as Ctrl-C in its terminal does."""

import os
import signal
import time
from pathlib import Path

from rich.console import Console

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.formatting import time_span
from cmd_tune.runs.lock_holder import Holder, use_of
from cmd_tune.runs.messages import print_line
from cmd_tune.runs.run_folder import resume_line

_PATIENCE_S, _LOOK_S = 30.0, 0.1


def stop_run(folder: Path, command: str, console: Console, *, patience_s: float = _PATIENCE_S) -> None:
    """End the process that has a run, and wait until it has left the run. command: that made the run.

    Raises UsageError if no process has it; CmdTuneError if it runs on another host, belongs to another user, or has not
    ended in time.
    """
    name, use = folder.name, use_of(folder)
    if use is None:
        raise UsageError(f"{name}: is not running")
    holder = use.holder
    if not use.sure:
        raise CmdTuneError(
            f"{name}: its file system has no locks, so that {holder} may have ended; if it runs, type there: "
            f"{_by_hand(holder)}"
        )
    refuse_elsewhere(name, holder)
    _interrupt(name, holder)
    print_line(console, f"{name}: {holder} is told to end; waiting for it to leave {folder}")
    until = time.monotonic() + patience_s
    while use_of(folder) == use:
        if time.monotonic() > until:
            raise CmdTuneError(
                f"{name}: {holder} has not ended in {time_span(patience_s)}; to end it at once, which costs the work "
                f"since the last checkpoints: kill -KILL {holder.pid}"
            )
        time.sleep(_LOOK_S)
    print_line(console, f"{name}: has ended; go on with: {resume_line(command, folder)}")


def refuse_elsewhere(name: str, holder: Holder | None) -> None:
    """Raise CmdTuneError, with what ends a run there, if the process that has it is of another host or container."""
    if holder and not holder.is_here:
        raise CmdTuneError(f"{name}: runs as {holder}, and can be ended there alone; type there: {_by_hand(holder)}")


def _by_hand(holder: Holder) -> str:
    return f"kill -INT {holder.pid}"


def _interrupt(name: str, holder: Holder) -> None:
    try:
        os.kill(holder.pid, signal.SIGINT)
    except ProcessLookupError:
        pass  # it has ended by itself
    except PermissionError:
        raise CmdTuneError(f"{name}: {holder} belongs to another user, who can end it") from None
