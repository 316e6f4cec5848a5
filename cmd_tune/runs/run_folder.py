"""The storage: folders of runs, made, found by name, held by one process at a time; and the data they start from."""

import fcntl
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from rich.console import Console

from cmd_tune.data.ingest.ingest import store_clips
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import SCHEMA_VERSION, Store, open_store
from cmd_tune.data.synthetic import synthesize
from cmd_tune.errors import CmdTuneError, UsageError, nearest
from cmd_tune.files import DEFAULT_STORAGE, home_path
from cmd_tune.runs.pretrain_and_score import DataSource
from cmd_tune.tracking import BackgroundTracker

LOCK = "lock"
SEARCH_PLAN = "search.yaml"  # what a search was asked for, in its folder; other commands' are beside their code
_COMMANDS = ("search", "pretrain", "evaluate")  # whose plans are named after them
SYNTHETIC = "synthetic"  # the made-up data set
_SYNTHETIC = f"{SYNTHETIC}-{SCHEMA_VERSION}.arrow"


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
        for command in _COMMANDS:
            if any((place / f"{command}.yaml").is_file() for place in places):
                raise UsageError(f"--resume {name}: is of {command}; go on with it by: {command} --resume {name}")
        known = [found.parent.name for found in storage.glob(f"*/{plan}")]
        hint = nearest(name, known) if known else "there are none"
        raise UsageError(f"--resume {name}: {storage} has no such run; {hint}")
    with hold(path.parent):  # before anything is written there: a run that goes on keeps its plan
        return path


def check_same_data(plan: Path, kept: Mapping[str, Any]) -> None:
    """Raise UsageError where the store that an earlier run's plan names holds something else by now."""
    store = open_store(home_path(kept["data"]))
    if (kept.get("fingerprint") or store.fingerprint) != store.fingerprint:
        raise UsageError(
            f"{plan}: data: {store.path} is no longer what this run began with; put it back, or start a new run"
        )


def resume_line(command: str, folder: Path) -> str:
    """What goes on with a run: works as printed, from where the run was started."""
    storage = [] if folder.parent == DEFAULT_STORAGE.absolute() else ["--storage", str(folder.parent)]
    return shlex.join([sys.executable, "-m", "cmd_tune", command, "--resume", folder.name, *storage])


def tell_outage(console: Console, command: str, folder: Path) -> Callable[[str, str], None]:
    """What a tracker calls: prints one line if the server does not answer, and one when it does again."""

    def tell(server: str, trouble: str) -> None:
        text = f"{server} answers again; what it missed is written now"
        if trouble:
            kept = f"the run goes on, its records are kept in {folder} and go to {server} when it answers"
            text = f"{trouble}; {kept}, or afterwards by: {resume_line(command, folder)}"
        print_line(console, text)

    return tell


def close_tracker(tracker: BackgroundTracker, console: Console, command: str, folder: Path) -> None:
    """Write what is left; if that cannot be done, say so, and which command writes the rest."""
    try:
        trouble = tracker.close()
    except KeyboardInterrupt:
        trouble = "interrupted"
    if trouble:
        print_line(console, f"Not everything is recorded. {trouble}")
        print_line(console, f"Write the rest with: {resume_line(command, folder)}")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """One process at a time in a run's folder; let go when the process ends, however it does."""
    with (folder / LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CmdTuneError(f"{folder}: is in use by another process; wait for it or stop it") from None
        yield


def print_line(console: Console, text: str) -> None:
    """A line about the run, not of its results: paths and commands as they are, so that they can be pasted."""
    console.print(text, style="yellow", soft_wrap=True, highlight=False, markup=False, emoji=False)


def print_places(console: Console, folder: Path, contents: str, tracker: BackgroundTracker) -> None:
    """Print where a run's files are, and what opens the tracker's UI; unwrapped, so that both can be pasted."""
    what = f" ({contents})" if contents else ""
    first, *then = tracker.links()
    for line in (f"\nFolder: {folder}{what}", f"{tracker.title}: {first}", *(f"  then: {link}" for link in then)):
        console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)


def open_data(storage: Path, data: Path | None, protocol: str | None) -> tuple[DataSource, Store]:
    """The named store, or the made-up one, written on first use."""
    if data is not None:
        store = open_store(data)
    else:
        path = storage.absolute() / "data" / _SYNTHETIC
        if not path.exists():
            store_clips(synthesize(), path, dataset=SYNTHETIC, layout=LAYOUTS["ntu-25"], source="synthetic")
        store = open_store(path)
    name, _ = split_store(store, protocol)
    return DataSource(store.path, name), store
