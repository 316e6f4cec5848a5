"""The storage: folders of runs, made, found by name, locked by one process at a time."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from cmd_tune.errors import CmdTuneError, UsageError, did_you_mean
from cmd_tune.files import home_path, write_text
from cmd_tune.locks import lock_file
from cmd_tune.remote_files import beside
from cmd_tune.runs.lock_holder import LOCK, holder_text

DEFAULT_STORAGE = Path("runs")  # all runs, made-up data and mlflow.db, in the folder a command is started from
# What a command was asked for, in its run's folder.
SEARCH_FILE, PRETRAIN_FILE, EVALUATE_FILE = "search.yaml", "pretrain.yaml", "evaluate.yaml"
PLAN_FILES = (SEARCH_FILE, PRETRAIN_FILE, EVALUATE_FILE)
_URI = ".uri"  # in the working folder of a storage that lies at a URI
COMMANDS = {"search": SEARCH_FILE, "pretrain": PRETRAIN_FILE, "evaluate": EVALUATE_FILE}


def new_folder(storage: Path, name: str | None, kind: str) -> Path:
    """Make a run's folder, called `name`, or after its kind and the time. Raises UsageError if `name` is taken."""
    _check_name(name)
    made = f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    for tried in [name] if name is not None else chain([made], (f"{made}-{number}" for number in count(2))):
        folder = storage.absolute() / tried
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError as error:
            # The folder belongs to the run that made it: several may start in one second.
            if not os.path.lexists(folder):
                raise CmdTuneError(f"--storage {storage}: cannot be written: {error.strerror}") from error
        except OSError as error:
            raise CmdTuneError(f"--storage {storage}: cannot be written: {error.strerror}") from error
    raise _taken(folder)


def free_folder(storage: Path, name: str | None, kind: str) -> Path:
    """The folder that a run would have, which is not made. Raises UsageError as `new_folder`."""
    _check_name(name)
    folder = storage.absolute() / (name or kind)
    if name is not None and os.path.lexists(folder):
        raise _taken(folder)
    return folder


def _check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"--name {name}: use letters, digits, '-', '_' and '.', beginning with a letter or digit")


def _taken(folder: Path) -> UsageError:
    name = folder.name
    return UsageError(f"--name {name}: {folder} exists; take another name, or go on with --resume {name}")


@contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove a new run's folder if the run cannot be written down or started."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def earlier_run(storage: Path, name: str, plan: str, *, kept: Mapping[str, Any]) -> Path:
    """The path of an earlier run's plan file.

    name: of the run in the storage, or a path to its folder. plan: the file's name.
    kept: options that a resumed run keeps as they were → what was typed for them now.
    Raises UsageError with the nearest name if there is no such run, or for an option that was typed; CmdTuneError if
    the run is running.
    """
    if given := [option for option, value in kept.items() if not (value is None or value is False or value == [])]:
        raise UsageError(f"{given[0]}: a resumed run keeps its own; leave it out, or start a new one")
    places = _places(storage, name)
    path = next((path for place in places if (path := place / plan).is_file()), None)
    if path is None:
        for command, file in COMMANDS.items():
            if any((place / file).is_file() for place in places):
                raise UsageError(f"--resume {name}: is a run of {command}; resume it with: {command} --resume {name}")
        if lost := next((place for place in places if (place / LOCK).is_file()), None):
            raise CmdTuneError(
                f"{lost / plan}: is missing, and with it what the run was asked for; restore it from a copy"
            )
        known = [found.parent.name for found in storage.glob(f"*/{plan}")]
        hint = did_you_mean(name, known) if known else "there are none"
        raise UsageError(f"--resume {name}: {storage} has no such run; {hint}")
    with lock_folder(path.parent):  # before anything is written there: a run that goes on keeps its plan
        return path


def find_run(storage: Path, name: str) -> tuple[Path, str]:
    """The folder of a run, and the command that made it. name: as of `earlier_run`.

    Writes nothing. Raises UsageError, with the nearest name, if there is no such run.
    """
    for place in _places(storage, name):
        for command, file in COMMANDS.items():
            if (place / file).is_file():
                return place, command
    known = [found.parent.name for file in PLAN_FILES for found in storage.glob(f"*/{file}")]
    raise UsageError(f"{name}: {storage} has no such run; {did_you_mean(name, known) if known else 'there are none'}")


def _places(storage: Path, name: str) -> list[Path]:
    return [Path(os.path.abspath(place)) for place in (storage / name, home_path(name))]


def write_storage_uri(storage: Path, uri: str) -> None:
    """Note that a folder is the working folder of a storage at a URI."""
    if storage_uri(storage) != uri:
        write_text(storage / _URI, uri)


def storage_uri(storage: Path) -> str:
    """The URI of which a folder is the working folder; empty if it is a storage itself."""
    try:
        return (storage / _URI).read_text(encoding="utf-8")
    except OSError:
        return ""


def shown_place(folder: Path) -> str:
    """Where a run's files are, for a person."""
    uri = storage_uri(folder.parent)
    return f"{beside(uri, folder.name)}, from {folder}" if uri else str(folder)


def resume_line(command: str, folder: Path, address: str | None = None) -> str:
    """The command that resumes a run: works as printed, in the folder where the run was started.

    address: of the cluster that a search joined; all else that a resumed run needs is in its folder.
    """
    place = storage_uri(folder.parent) or str(folder.parent)
    storage = [] if folder.parent == DEFAULT_STORAGE.absolute() else ["--storage", place]
    joined = ["--address", address] if address else []
    return shlex.join([sys.executable, "-m", "cmd_tune", command, "--resume", folder.name, *storage, *joined])


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder. The lock ends with the process, however that ends.

    Raises CmdTuneError if another process has it.
    """
    with (folder / LOCK).open("a") as handle:
        if not lock_file(handle, wait=False):
            raise CmdTuneError(f"{folder}: is in use by another process; wait for it or stop it")
        try:
            _hold(handle, holder_text())
            yield
        finally:
            _hold(handle, "")


def _hold(handle: IO[str], text: str) -> None:
    """Write what the lock holds. On a full disk it holds nothing: the lock itself is what counts."""
    with suppress(OSError):
        handle.truncate(0)
        handle.write(text)
        handle.flush()
