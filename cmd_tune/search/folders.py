"""The storage: folders of runs, made, found by name, held by one process at a time; and the data they start from."""

import fcntl
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from cmd_tune.data.ingest import store_clips
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import SCHEMA_VERSION, Store, open_store
from cmd_tune.data.synthetic import synthesize
from cmd_tune.errors import CmdTuneError, UsageError, nearest
from cmd_tune.files import DEFAULT_STORAGE
from cmd_tune.search.run import DataSource
from cmd_tune.search.tracking import ui_line

LOCK = "lock"
SYNTHETIC = "synthetic"  # the made-up data set
_SYNTHETIC = f"{SYNTHETIC}-{SCHEMA_VERSION}.arrow"


def new_folder(storage: Path, name: str | None, kind: str) -> Path:
    """A folder for a new run, named by `name` or by its kind and the time. Raises UsageError where it is taken."""
    name = name or f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"--name {name}: use letters, digits, '-', '_' and '.', beginning with a letter or digit")
    folder = storage.absolute() / name
    if folder.exists():
        raise UsageError(f"--name {name}: {folder} exists; take another name, or go on with --resume {name}")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise CmdTuneError(f"--storage {storage}: cannot be written: {error.strerror}") from error
    return folder


def earlier_run(storage: Path, name: str, plan: str, *, kept: Mapping[str, Any]) -> Path:
    """The plan file of an earlier run. Raises UsageError with the nearest name where there is none.

    kept: options that a resumed run keeps as they were, by what was typed for them now: nothing, or it is refused.
    """
    if given := [option for option, value in kept.items() if not (value is None or value is False or value == [])]:
        raise UsageError(f"{given[0]}: a resumed run keeps its own; leave it out, or start a new one")
    path = storage.absolute() / name / plan
    if not path.is_file():
        known = [found.parent.name for found in storage.glob(f"*/{plan}")]
        hint = nearest(name, known) if known else "there are none"
        raise UsageError(f"--resume {name}: {storage} has no such run; {hint}")
    return path


def check_same_data(plan: Path, kept: Mapping[str, Any]) -> None:
    """Raise UsageError where the store that an earlier run's plan names holds something else by now."""
    store = open_store(Path(kept["data"]))
    if (kept.get("fingerprint") or store.fingerprint) != store.fingerprint:
        raise UsageError(
            f"{plan}: data: {store.path} is no longer what this run began with; put it back, or start a new run"
        )


def resume_line(command: str, folder: Path) -> str:
    """What goes on with a run: works as printed, from where the run was started."""
    storage = [] if folder.parent == DEFAULT_STORAGE.absolute() else ["--storage", str(folder.parent)]
    return shlex.join([sys.executable, "-m", "cmd_tune", command, "--resume", folder.name, *storage])


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """One process at a time in a run's folder; let go when the process ends, however it does."""
    with (folder / LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CmdTuneError(f"{folder}: is in use by another process; wait for it or stop it") from None
        yield


def print_places(console: Console, folder: Path, contents: str, tracking_uri: str) -> None:
    """Where a run's files are, and how to see it in MLflow; as they are, so that they can be pasted."""
    what = f" ({contents})" if contents else ""
    for line in (f"\nFolder: {folder}{what}", f"MLflow: {ui_line(tracking_uri)}"):
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
