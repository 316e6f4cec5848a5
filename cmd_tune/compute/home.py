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


def private_cache() -> Path:
    """The same folder, made, if no other user can change what is in it; else one in the folder of temporary files.

    For what is run, as compiled code is. Raises OSError if it cannot be made, or if neither is private.
    """
    folder = _made(cache_folder())
    if _is_private(folder):
        return folder
    other = _made(_stand_in() / ".cache" / "cmd_tune")
    if _is_private(other):
        return other
    raise PermissionError(f"other users can write to {folder} and to {other}; name a folder of your own in TMPDIR")


def is_ours_alone(path: Path) -> bool:
    """Whether a path is a file, and no link, that no other user has written or can write to."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid in _trusted() and not status.st_mode & _OF_OTHERS


_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def _made(folder: Path) -> Path:
    """A folder without links in its path, made with all above it for this user alone where it is not there."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True)  # raises FileExistsError for a file
    return folder.resolve()


def _is_private(folder: Path) -> bool:
    """Whether only this user and root can write to a folder, or put another in its place or in that of one above it."""
    for path in (folder, *folder.parents):
        status = path.stat()
        # In a sticky folder, as /tmp is, only the owner of what is in it can rename that.
        open_to_others = status.st_mode & _OF_OTHERS and (path == folder or not status.st_mode & stat.S_ISVTX)
        if open_to_others or status.st_uid not in _trusted():
            return False
    return True


def _trusted() -> set[int]:
    """Users who could do anything anyway: this one, root, and whom / belongs to, if root is unknown in a container."""
    return {os.getuid(), 0, os.stat("/").st_uid}


def _stand_in() -> Path:
    """A folder that only this user can read; the same one each time, unless somebody else has taken its name."""
    folder = Path(tempfile.gettempdir()) / f"cmd_tune-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="cmd_tune-"))
