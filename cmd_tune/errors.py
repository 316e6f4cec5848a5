"""Failures that a person can act on, in one line each: the place, what is wrong, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class CmdTuneError(Exception):
    """Something failed at run time; the command ends with exit code 1. Each argument is a line."""

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))

    @property
    def lines(self) -> list[str]:
        """One line per argument, whatever line breaks names and texts of others bring with them."""
        return [printable(" ".join(str(line).split())) for line in self.args]


def printable(text: str) -> str:
    """A text with escapes for what a terminal would act on, as names in files of others may hold: ESC is \\x1b."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class UsageError(CmdTuneError):
    """What was typed or written in a file is wrong, a line per mistake; the command ends with exit code 2."""

    exit_code = 2


class DataError(CmdTuneError):
    """A data file cannot be used."""


class Diverged(CmdTuneError):
    """The loss of a run is no longer finite."""


class OutOfMemory(CmdTuneError):
    """A run asks for more memory than there is."""


class DiskFull(CmdTuneError):
    """A file cannot be written, since its disk or a quota is full."""


class Interrupted(CmdTuneError):
    """Ctrl-C or SIGTERM; what was running can be resumed."""

    exit_code = 130


def one_line(error: BaseException) -> str:
    """What went wrong, in one line, whatever libraries wrap around it."""
    cause = getattr(error, "cause", None)  # of an exception in another process: the text of Ray's own is a traceback
    error = cause if isinstance(cause, BaseException) else error
    while not isinstance(error, CmdTuneError) and error.__cause__ is not None:
        error = error.__cause__
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, CmdTuneError):
        return "; ".join(error.lines)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return with_cure(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def with_cure(text: str) -> str:
    """What SQLite says of a database that it cannot lock, and what to do; any other text as it is."""
    if not any(words in text for words in ("database is locked", "locking protocol", "disk I/O error")):
        return text
    return f"{text}: close what else has the database open; if its file system has no locks, take a --storage that has"


def usage_error(where: str, message: str) -> UsageError:
    """A UsageError in one line, whatever line breaks a user's own names and texts bring with them."""
    return UsageError(" ".join(f"{where}: {message}".split()))


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the most similar known one, or all of them."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5) or get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
