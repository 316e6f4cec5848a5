"""Files appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cmd_tune.errors import CmdTuneError, UsageError

DEFAULT_STORAGE = Path("runs")  # all runs, made-up data and mlflow.db, in the folder a command is started from


def remove_leftovers(path: Path) -> None:
    """Delete what killed writers of `path` left behind. Only for a file that has one writer at a time."""
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        leftover.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to it at the end, removed on any failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise CmdTuneError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def keep_apart(out: Path, source: Path) -> None:
    """Raises UsageError where a command's output would take the place of what it reads."""
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"--out {out}: is what is read; give the output another name")


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text)
