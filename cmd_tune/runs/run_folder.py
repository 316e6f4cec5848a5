"""The storage: folders of runs, made, found by name, locked by one process at a time."""

import fcntl
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from cmd_tune.errors import CmdTuneError, UsageError, nearest
from cmd_tune.files import DEFAULT_STORAGE, home_path

LOCK = "lock"
# What a command was asked for, in its run's folder.
SEARCH_FILE, PRETRAIN_FILE, EVALUATE_FILE = "search.yaml", "pretrain.yaml", "evaluate.yaml"
_COMMANDS = {"search": SEARCH_FILE, "pretrain": PRETRAIN_FILE, "evaluate": EVALUATE_FILE}


def new_folder(storage: Path, name: str | None, kind: str) -> Path:
    """A new folder for a run, named by `name`, or by its kind and the time. Raises UsageError where `name` is taken."""
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"--name {name}: use letters, digits, '-', '_' and '.', beginning with a letter or digit")
    made = f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    for tried in [name] if name is not None else chain([made], (f"{made}-{number}" for number in count(2))):
        folder = storage.absolute() / tried
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError as error:
            # Whoever makes a folder has it: several runs may start in one second.
            if not os.path.lexists(folder):
                raise CmdTuneError(f"--storage {storage}: cannot be written: {error.strerror}") from error
        except OSError as error:
            raise CmdTuneError(f"--storage {storage}: cannot be written: {error.strerror}") from error
    raise UsageError(f"--name {name}: {folder} exists; take another name, or go on with --resume {name}")


@contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    """Take a new run's folder away where the run cannot be written down or started."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def earlier_run(storage: Path, name: str, plan: str, *, kept: Mapping[str, Any]) -> Path:
    """The plan file of an earlier run. Raises UsageError with the nearest name where there is none, CmdTuneError
    where it is running.

    name: of the run in the storage, or a path to its folder.
    kept: options that a resumed run keeps as they were, by what was typed for them now: nothing, or it is refused.
    """
    if given := [option for option, value in kept.items() if not (value is None or value is False or value == [])]:
        raise UsageError(f"{given[0]}: a resumed run keeps its own; leave it out, or start a new one")
    places = [Path(os.path.abspath(place)) for place in (storage / name, home_path(name))]
    path = next((path for place in places if (path := place / plan).is_file()), None)
    if path is None:
        for command, file in _COMMANDS.items():
            if any((place / file).is_file() for place in places):
                raise UsageError(f"--resume {name}: is of {command}; go on with it by: {command} --resume {name}")
        known = [found.parent.name for found in storage.glob(f"*/{plan}")]
        hint = nearest(name, known) if known else "there are none"
        raise UsageError(f"--resume {name}: {storage} has no such run; {hint}")
    with lock_folder(path.parent):  # before anything is written there: a run that goes on keeps its plan
        return path


def resume_line(command: str, folder: Path) -> str:
    """What goes on with a run: works as printed, from where the run was started."""
    storage = [] if folder.parent == DEFAULT_STORAGE.absolute() else ["--storage", str(folder.parent)]
    return shlex.join([sys.executable, "-m", "cmd_tune", command, "--resume", folder.name, *storage])


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder. The lock ends with the process, however that ends.

    Raises CmdTuneError if another process has it.
    """
    with (folder / LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CmdTuneError(f"{folder}: is in use by another process; wait for it or stop it") from None
        yield
