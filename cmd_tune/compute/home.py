"""The home folder, and a replacement if there is none, as for a container's user without a passwd entry."""

import getpass
import os
import stat
import tempfile
from pathlib import Path


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
