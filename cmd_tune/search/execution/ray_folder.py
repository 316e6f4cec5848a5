"""The folder for Ray's own files: sockets among them, whose paths a system limits to a hundred bytes."""

import os
import sys
from pathlib import Path

from cmd_tune.errors import CmdTuneError

_SOCKET = "ray/session_2026-11-28_08-12-51_123456_1234567/sockets/plasma_store"  # the longest of its paths
_MOST = (104 if sys.platform == "darwin" else 108) - 1  # bytes, as Ray counts
_OTHERS = ("/tmp", "/var/tmp")  # noqa: S108  (Ray's own default)


def ensure_ray_folder() -> None:
    """Have RAY_TMPDIR name a folder that Ray can start in, if RAY_TMPDIR, TMPDIR or /tmp, which Ray takes, is none.

    Prints a line if another one takes its place. Raises CmdTuneError if there is none.
    """
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    asked = os.environ[name] if name else _OTHERS[0]
    trouble = _trouble(asked)
    if not trouble:
        return
    where = f"{name} {asked}" if name else asked
    found = next((folder for folder in _OTHERS if not _trouble(folder)), None)
    if found is None:
        cure = "name a folder in RAY_TMPDIR that has a short path and can be written to"
        raise CmdTuneError(f"{where}: {trouble}; {cure}")
    os.environ["RAY_TMPDIR"] = found
    print(f"{where}: {trouble}; Ray's files go to {found}/ray", file=sys.stderr, flush=True)


def _trouble(folder: str) -> str:
    """Why Ray cannot start in a folder; empty if it can."""
    if not os.path.isabs(folder):
        return "is no absolute path, as Ray needs"
    length = len(os.path.join(folder, _SOCKET).encode(errors="surrogateescape"))
    if length > _MOST:
        return f"is too long by {length - _MOST} bytes for the paths of Ray's sockets"
    there = next(place for place in (Path(folder, "ray"), *Path(folder, "ray").parents) if os.path.lexists(place))
    return "" if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else "cannot be written to"
