"""Tells a full disk from other failures, whatever library met it, and says so in one line."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from cmd_tune.errors import CmdTuneError, DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE = 2**20  # bytes


def cannot_write(path: Path | str, error: OSError) -> CmdTuneError:
    """What to raise for a file that could not be written: DiskFull, or the operating system's reason."""
    if error.errno in _FULL:
        return disk_full(path)
    return CmdTuneError(f"{path}: cannot be written: {error.strerror or error}")


def disk_full(path: Path | str) -> DiskFull:
    """The error of a file whose disk is full."""
    there = next((place for place in Path(path).absolute().parents if place.exists()), Path.cwd())
    free = "its free space is not known"
    with suppress(OSError):
        free = f"{shutil.disk_usage(there).free / 1e6:.1f} MB are free"
    return DiskFull(f"{path}: cannot be written: the disk is full ({free}, or a quota is used up); make room there")


def as_disk_full(error: BaseException, path: Path) -> DiskFull | None:
    """The error as DiskFull if a full disk is behind it, however libraries wrap it; None if it is not.

    path: the file that was written, if the error itself does not say.
    """
    for cause in _causes(error):
        if isinstance(cause, DiskFull):
            return cause
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return disk_full(cause.filename or path)
        if isinstance(cause, sqlite3.Error):
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind
            if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _full(path)):
                return disk_full(path)
    return None


def _full(path: Path) -> bool:
    probe = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with probe.open("wb", buffering=0) as file:
            for _ in range(16):
                file.write(os.urandom(_PROBE // 16))
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in _FULL
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised from, the outermost first; also across processes, where Ray keeps it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        here = waiting.pop(0)
        if here is None or id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        waiting += [
            part
            for part in (here.__cause__, here.__context__, getattr(here, "cause", None), getattr(here, "orig", None))
            if isinstance(part, BaseException)
        ]
