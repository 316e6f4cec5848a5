"""A file that lies at a URI, such as a store: its copy on this machine, fetched once, whoever asks for it."""

import sys
from hashlib import blake2b
from pathlib import Path

from cmd_tune.compute.home import cache_folder
from cmd_tune.errors import CmdTuneError, DataError
from cmd_tune.files import atomic_file
from cmd_tune.locks import lock_file
from cmd_tune.remote_files import RemoteFolder, split_uri


def fetch(uri: str) -> Path:
    """The copy of the file at a URI, in the user's cache, in a folder of this content: it is fetched if it is absent.

    Raises DataError if there is none, CmdTuneError if it cannot be fetched.
    """
    folder, name = split_uri(uri)
    remote = RemoteFolder(folder)
    mark = remote.mark(name)
    if mark is None:
        raise DataError(f"{uri}: there is no such file")
    key = blake2b(f"{uri}\0{mark.size}\0{mark.time}".encode(), digest_size=8).hexdigest()
    path = cache_folder() / "data" / key / name
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (path.parent / "lock").open("w") as handle:
            lock_file(handle, wait=True)
            if not path.exists():
                print(f"{uri}: fetching {mark.size / 1e6:.1f} MB to {path.parent}", file=sys.stderr, flush=True)
                with atomic_file(path) as temporary:
                    remote.download(name, temporary)
    except OSError as error:
        raise CmdTuneError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def fetched_before(uri: str, path: Path) -> Path:
    """The copy here of what another process, perhaps on another node, fetched to `path`.

    Raises DataError if the file at the URI has changed since.
    """
    if path.exists():
        return path
    found = fetch(uri)
    if found.parent.name != path.parent.name:
        raise DataError(f"{uri}: has changed since the run began; put it back, or start a new run")
    return found
