"""Files appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from cmd_tune.errors import UsageError
from cmd_tune.full_disk import cannot_write


def home_path(path: Path | str) -> Path:
    """A path as it was typed or written, with ~ for the home folder. Raises UsageError if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        reason = str(error).rstrip(".").lower()
        raise UsageError(f"{path}: {reason}; write the folder in full, or ./~ for one of that name") from None


def remove_leftovers(path: Path) -> None:
    """Delete what killed writers of `path` left behind. Only for a file that has one writer at a time."""
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        leftover.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path, *, before: Path | None = None) -> Iterator[Path]:
    """A temporary name beside `path` to write to; synced and renamed to it at the end, removed on any failure.

    before: the name that the file gets which is there; a process killed at that moment leaves it under that name alone.
    """
    # Processes of several machines, which may have one id, write to a shared folder.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)  # else a machine that dies may have the new name and none of the content
        if before is not None:
            with suppress(FileNotFoundError):
                os.replace(path, before)
        os.replace(temporary, path)
        with suppress(OSError):  # not every file system can
            _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the system write a file or a folder to its disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_same_file(out: Path, source: Path) -> None:
    """Raise UsageError if the output of a command would replace its input."""
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"--out {out}: is what is read; give the output another name")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
