"""The process that has a run: written into the lock of the run's folder, for others to find it."""

import json
import os
import platform
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from cmd_tune.locks import is_locked

LOCK = "lock"  # in a run's folder


@dataclass(frozen=True)
class Holder:
    """A process, by its number on a host. machine: a text that two processes share if the one's number of a process
    means the same to the other; a container has numbers of its own.
    """

    host: str
    pid: int
    machine: str

    @property
    def is_here(self) -> bool:
        """Whether its number means the same to this process."""
        return self.machine == this_machine()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Use:
    """How a run's folder is used: by its holder.

    sure: False if its file system has no locks, so that the holder may have died.
    """

    holder: Holder
    sure: bool


def this_machine() -> str:
    try:
        return f"{platform.node()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def holder_text() -> str:
    """What the lock of a run holds while this process has it."""
    return json.dumps(asdict(Holder(socket.gethostname(), os.getpid(), this_machine())))


def use_of(folder: Path) -> Use | None:
    """The process of this host or of another that has a run; None if none has, or one of an earlier release.

    Writes nothing, and keeps nobody out.
    """
    path = folder / LOCK
    holder = _read(path)
    if holder is None or is_dead_here(holder.machine, holder.pid):
        return None
    locked = is_locked(path)
    return Use(holder, sure=locked is not None) if locked is not False else None


def is_dead_here(machine: object, pid: object) -> bool:
    """Whether a process was one of this machine, and is no more."""
    if machine != this_machine() or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _read(path: Path) -> Holder | None:
    """None of a lock that nobody has, which is empty."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Holder(str(kept["host"]), int(kept["pid"]), str(kept["machine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
