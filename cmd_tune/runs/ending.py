"""The last steps of a run, each attempted by itself: a failure is reported in one line and stops no other step."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console

from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.full_disk import as_disk_full
from cmd_tune.out_of_memory import ADVICE, is_out_of_memory
from cmd_tune.redact import redact

ERRORS = "errors.log"  # in a run's folder: tracebacks of what was reported in one line
T = TypeVar("T")


class Attempt(Protocol):
    """Runs one step, which messages call `what`. Returns None if it failed."""

    def __call__(self, what: str, step: Callable[[], T]) -> T | None: ...


def outright(what: str, step: Callable[[], T]) -> T | None:
    """An attempt that raises what the step raises."""
    return step()


def written(attempt: Attempt, path: Path, write: Callable[[Path], object]) -> list[Path]:
    """A list of the file after `write` made it; an empty one if that failed."""

    def step() -> Path:
        write(path)
        return path

    done = attempt(path.name, step)
    return [done] if done else []


class Ending:
    """Attempts the last steps of a run. `troubles` has one line for each that failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.troubles: list[str] = []

    def attempt(self, what: str, step: Callable[[], T]) -> T | None:
        """What the step returns, or None if it raised; KeyboardInterrupt passes, and a full disk, as DiskFull."""
        try:
            return step()
        except Exception as error:  # the other steps do not depend on it
            if full := as_disk_full(error, self.folder):
                raise full from error
            why = ADVICE if is_out_of_memory(error) else one_line(error)
            self.troubles.append(f"{what}: {why}")
            keep_traceback(self.folder, error)
            return None

    def show(self, console: Console) -> None:
        """Print one line per failed step."""
        for trouble in self.troubles:
            console.print(trouble, style="red", soft_wrap=True, highlight=False, markup=False)

    def check(self, resume: str) -> None:
        """Raise CmdTuneError if a step failed. resume: the command that tries again."""
        if self.troubles:
            failed = ", ".join(trouble.partition(":")[0] for trouble in self.troubles)
            raise CmdTuneError(f"{failed}: failed, the rest is done; see {self.folder / ERRORS}; go on with: {resume}")


def keep_traceback(folder: Path, error: BaseException) -> None:
    """Append an exception's traceback to the folder's errors.log, without passwords, if that can be written."""
    with suppress(OSError), (folder / ERRORS).open("a", encoding="utf-8") as file:
        file.write(redact("".join(traceback.format_exception(error))) + "\n")
