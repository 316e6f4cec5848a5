"""The home folder and that for temporary files, and replacements if there are none, as in a container."""

import getpass
import os
import stat
import sys
import tempfile
from pathlib import Path

from cmd_tune.errors import CmdTuneError


def ensure_home() -> None:
    """Give this process and its children a HOME and a user's name if they have none, or cannot write to it.

    Libraries read both, and Ray writes there.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/")
    usable = home.is_dir() and (os.access(home, os.W_OK) or (home / ".ray").is_dir())
    if home == Path("/") or not usable:  # "/" is a container's for users it does not know
        os.environ["HOME"] = str(_stand_in())


def ensure_temporary_folder() -> None:
    """Have TMPDIR name a folder that can be written to: libraries, Ray and the compiler take it as it is.

    Prints a line if it names another. Raises CmdTuneError if there is none on this machine.
    """
    named = os.environ.get("TMPDIR")
    try:
        folder = tempfile.gettempdir()
    except OSError:
        raise CmdTuneError(
            "there is no folder for temporary files; name one that can be written to in TMPDIR"
        ) from None
    if named is not None and os.path.abspath(named) != folder:
        os.environ["TMPDIR"] = folder
        line = f"TMPDIR: {named or 'an empty name'} is no folder that can be written to; {folder} takes its place"
        print(line, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """The user's folder for what this package can make again."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmd_tune"
    except RuntimeError:
        return _stand_in() / ".cache" / "cmd_tune"


def _stand_in() -> Path:
    """A folder that only this user can read; the same one each time, unless somebody else has taken its name."""
    folder = Path(tempfile.gettempdir()) / f"cmd_tune-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="cmd_tune-"))
