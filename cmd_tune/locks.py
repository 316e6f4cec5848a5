"""Locks on files, between processes; on a file system that has none, a warning, and the run goes on without."""

import errno
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from cmd_tune.errors import CmdTuneError

# What file systems without locks answer: Lustre and NFS as they are often mounted, and FUSE.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
_told: set[int] = set()  # file systems that a line was printed about


def check_platform() -> None:
    """Raise CmdTuneError on a system without the locks of POSIX."""
    if find_spec("fcntl") is None:
        raise CmdTuneError(f"{sys.platform}: cmd_tune runs on Linux and macOS alone; on Windows, take WSL")


def lock_file(handle: IO[Any], *, wait: bool) -> bool:
    """Lock an open file until it is closed or the process ends. wait: for a process that has it.

    Returns False if another process has it; True with the lock, and also where the file system has no locks, of which
    a line is printed once.
    """
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _tell(handle, error)
    return True


def is_locked(path: Path) -> bool | None:
    """Whether a process has the lock of a file; None where the file system has no locks. Nobody is kept waiting."""
    import fcntl

    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        if isinstance(error, FileNotFoundError):
            return False
        raise
    return False


def _tell(handle: IO[Any], error: OSError) -> None:
    device = os.fstat(handle.fileno()).st_dev
    if device not in _told:
        _told.add(device)
        folder = Path(os.path.abspath(handle.name)).parent
        line = f"{folder}: its file system has no locks ({error.strerror}); use each run from one process at a time"
        print(line, file=sys.stderr, flush=True)
