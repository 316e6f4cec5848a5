"""Checks the study's file before anything is written to it, and names what is wrong with it in one line."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.full_disk import as_disk_full

NAME = "search"  # of the study in its file
TRIALS = "trials"  # folder beside the file
# Tables of Optuna that hold what is known of trials.
_TABLES = {"trials", *(f"trial_{part}" for part in ("user_attributes", "params", "values", "intermediate_values"))}
_PATIENCE_S = 5.0  # for another program that has locked the file
_CURE = "restore it from a copy, or start a new search; the trials' checkpoints stay where they are"


def trial_folders(folder: Path) -> list[int]:
    """The numbers of the trials that have a folder in that of a search."""
    trials = folder / TRIALS
    found = trials.iterdir() if trials.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdecimal() and path.is_dir())


@contextmanager
def snapshot(path: Path) -> Iterator[Path]:
    """A copy of a study's file as it is at this moment, also while a process writes to it. It is gone after the block.

    Writes nothing beside the file. Raises CmdTuneError if another program has locked it for seconds.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.exists():
            with _named(path):
                _copy(path, copy)
        yield copy


def _copy(path: Path, copy: Path) -> None:
    try:
        with closing(_connect(path, "ro")) as source, closing(sqlite3.connect(copy)) as to:
            source.execute("select count(*) from sqlite_master").fetchone()  # raises if it is locked
            source.backup(to)
    except sqlite3.DatabaseError as error:
        if _is_busy(error):
            raise
        # What a kill has left half written, which SQLite undoes in the copy; or what is damaged, which the copy shows.
        copy.unlink(missing_ok=True)
        for end in ("", "-journal"):
            if (part := path.with_name(path.name + end)).exists():
                shutil.copyfile(part, copy.with_name(copy.name + end))


def check_study(path: Path, copy: Path | None = None) -> None:
    """Raise CmdTuneError if a study's file is damaged, locked, of another program, or missing though there are trials.

    Writes nothing. copy: what is looked at in its place, while messages name the path.
    """
    if not path.exists() or path.stat().st_size == 0:
        if trials := len(trial_folders(path.parent)):
            raise CmdTuneError(
                f"{path}: is {_missing(path)}, and with it what {trials} trials were and scored; {_CURE}"
            )
        return
    with _named(path), closing(_connect(copy or path)) as study:
        study.execute("begin immediate").connection.rollback()  # raises if it is locked or cannot be written
        ((verdict,), *_) = study.execute("pragma quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(verdict.split()))
        tables = {name for (name,) in study.execute("select name from sqlite_master where type = 'table'")}
        names = {name for (name,) in study.execute("select study_name from studies")} if "studies" in tables else set()
    if (gone := _TABLES - tables) and "studies" in tables and trial_folders(path.parent):  # Optuna would make them anew
        raise CmdTuneError(f"{path}: is damaged (no table {sorted(gone)[0]}); {_CURE}")
    if (tables and "studies" not in tables) or (names and NAME not in names):
        what = f"studies {', '.join(sorted(names))}" if names else f"tables {', '.join(sorted(tables))}"
        raise CmdTuneError(f"{path}: is not the study of this search but holds {what}; {_CURE}")


@contextmanager
def as_damaged(path: Path) -> Iterator[None]:
    """Raise CmdTuneError, with the study's file, in place of whatever rows lead to that no search has written."""
    try:
        yield
    except CmdTuneError:
        raise
    except Exception as error:
        if full := as_disk_full(error, path):
            raise full from error
        what = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise CmdTuneError(f"{path}: is damaged ({what}); {_CURE}") from error


def _missing(path: Path) -> str:
    return "empty" if path.exists() else "missing"


def _connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S, isolation_level=None)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raise CmdTuneError in place of SQLite's own errors."""
    try:
        with path.open("rb"):
            yield
    except OSError as error:
        raise CmdTuneError(f"{path}: cannot be read: {error.strerror}") from error
    except sqlite3.Error as error:
        if full := as_disk_full(error, path):
            raise full from error
        if _is_busy(error):
            raise CmdTuneError(f"{path}: another program has locked it; end that program, and try again") from error
        raise CmdTuneError(f"{path}: is damaged ({error}); {_CURE}") from error
