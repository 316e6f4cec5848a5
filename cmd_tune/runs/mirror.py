"""Copies a run's folder to an object store while the run goes on: every few seconds, the files that have changed.

A copy can be resumed at any moment: objects are whole, and the study in a copy is never newer than the trials' files.
"""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.files import write_text
from cmd_tune.remote_files import RemoteFolder
from cmd_tune.runs.lock_holder import LOCK

PERIOD_S = 3.0  # between two passes
_HASTE_S = 5.0  # for a file that is on its way when nothing more is to be copied
_GRACE_S, _PATIENCE_S = 30.0, 60.0  # until an outage, or a long last copy, is said; until the end gives up
_DATABASE = "study.db"
_KNOWN = "cmd_tune_copied"  # table of the copy's study
_SENT = ".{name}.sent.json"  # beside the run's folder: what of it has been copied
_FOLDERS = {"ray", "train"}  # that are left out, and so are files with these ends
_ENDS = (".part", "-journal", "-wal", "-shm")

Seen = tuple[int, int, int]  # of a file: bytes, time in ns, inode


def is_copied(name: str) -> bool:
    """Whether a file, by its path in the run's folder, is part of the copy: not what an engine keeps for itself."""
    *folders, last = name.split("/")
    return not last.endswith(_ENDS) and not _FOLDERS & set(folders) and name != LOCK


class Mirror:
    """Copies a folder until it is closed. say: prints a line about an outage, or about a long last copy."""

    def __init__(self, remote: RemoteFolder, folder: Path, say: Callable[[str], None]) -> None:
        """remote: of the run. Starts a thread."""
        self.remote, self.folder, self._say = remote, folder, say
        self.trouble = ""  # what went wrong last, while it lasts
        self._sent = read_sent(folder)
        self._known: set[str] = set()  # trials that the copy's study lists
        self._left = 0  # bytes that the pass has still to copy
        self._closing, self._abandoned = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    def abandon(self) -> None:
        """Copy nothing more: the copy is another driver's."""
        self._abandoned.set()
        self._closing.set()
        self._thread.join(_HASTE_S)

    def close(self) -> str:
        """Copy what is left, and wait for it. Returns what is wrong if that could not be done, else an empty text."""
        self._closing.set()
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            self._say(f"copying the rest to {self.remote.uri}: {self._left / 1e6:.0f} MB are left")
            self._thread.join()
        return self.trouble

    def _work(self) -> None:
        failing_since, told = 0.0, False
        while not self._abandoned.is_set():
            last = self._closing.is_set()
            try:
                self._pass()
            except Exception as error:  # whatever a server or a disk may answer: the next pass tries again
                failing_since = failing_since or time.monotonic()
                failing = time.monotonic() - failing_since
                self.trouble = one_line(error)
                if not told and failing >= _GRACE_S:
                    told = True
                    self._say(f"{self.trouble}; the run goes on in {self.folder}, and is copied when that is mended")
                if last and failing >= _PATIENCE_S:
                    return
            else:
                if told:
                    self._say(f"{self.remote.uri}: answers again; what it missed is copied")
                failing_since, told, self.trouble = 0.0, False, ""
                if last:
                    return
            self._closing.wait(PERIOD_S) if not last else time.sleep(PERIOD_S)

    def _pass(self) -> None:
        """Copy what has changed since the last pass.

        The study comes last, in a state from before the files were read, and without trials that it does not know.
        """
        known = {_trial_of(name) for name, _ in self._files()}
        database = self._database(known)
        now = {name: seen for name, seen in self._files() if _trial_of(name) in known}
        due = {name: seen for name, seen in now.items() if self._sent.get(name) != seen and name != _DATABASE}
        self._left = sum(seen[0] for seen in due.values())
        for name, seen in due.items():
            if self._abandoned.is_set():
                return
            with suppress(FileNotFoundError):  # it was replaced or removed meanwhile
                self.remote.upload(self.folder / name, name)
                self._sent[name] = seen
            self._left -= seen[0]
        if database is not None and not self._abandoned.is_set():
            copy, seen = database
            self.remote.upload(copy, _DATABASE)
            copy.unlink()
            self._sent[_DATABASE], self._known = seen, known
        gone = self._sent.keys() - now.keys() - {_DATABASE}
        for name in gone:
            self.remote.delete(name)
            del self._sent[name]
        if due or gone or database is not None:
            write_text(sent_file(self.folder), json.dumps(self._sent))

    def _database(self, known: set[str]) -> tuple[Path, Seen] | None:
        """A consistent copy of the study, and what it is a copy of; None if the last one holds.

        It lists the trials whose files are in the copy before it is: a driver that is lost between the two leaves files
        of trials that the study does not know.
        """
        path = self.folder / _DATABASE
        if (seen := _seen(path)) is None or (self._sent.get(_DATABASE) == seen and known == self._known):
            return None
        copy = self.folder.with_name(f".{self.folder.name}.{_DATABASE}.part")
        copy.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as to,
        ):
            source.backup(to)
            to.execute(f"create table {_KNOWN} (trial text)")
            to.executemany(f"insert into {_KNOWN} values (?)", [(trial,) for trial in sorted(known - {""})])  # noqa: S608
            to.commit()
        return copy, seen

    def _files(self) -> Iterator[tuple[str, Seen]]:
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if is_copied(name) and path.is_file() and not path.is_symlink() and (seen := _seen(path)):
                yield name, seen


def sent_file(folder: Path) -> Path:
    """The file that says what of a run's folder has been copied."""
    return folder.with_name(_SENT.format(name=folder.name))


def read_sent(folder: Path) -> dict[str, Seen]:
    """What of a run's folder has been copied; nothing if that is not known."""
    try:
        content = json.loads(sent_file(folder).read_text(encoding="utf-8"))
        return {name: (seen[0], seen[1], seen[2]) for name, seen in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, IndexError):
        return {}


def download(remote: RemoteFolder, folder: Path) -> None:
    """Make a run's folder of its copy. Raises CmdTuneError if that fails; the folder is then not there."""
    for name in sorted(remote.files()):
        if not is_copied(name) or name.startswith("."):
            continue
        path = folder / name
        if ".." in path.relative_to(folder).parts:
            raise CmdTuneError(f"{remote.uri}: has a file {name}, which is no name in a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        remote.download(name, path)
    if (folder / _DATABASE).exists():
        _drop_unknown(folder)


def _drop_unknown(folder: Path) -> None:
    """Remove files of trials that the study of a copy does not list."""
    with closing(sqlite3.connect(folder / _DATABASE)) as study:
        try:
            known = {trial for (trial,) in study.execute(f"select trial from {_KNOWN}")}  # noqa: S608
            study.execute(f"drop table {_KNOWN}")
            study.commit()
        except sqlite3.DatabaseError as error:
            raise CmdTuneError(f"{folder / _DATABASE}: is damaged: {error}") from error
    for trial in (folder / "trials").glob("*"):
        if trial.name not in known:
            shutil.rmtree(trial)


def record_sent(folder: Path) -> None:
    """Note all files of a run's folder, which was downloaded, as copied."""
    sent = {path.relative_to(folder).as_posix(): _seen(path) for path in folder.rglob("*") if path.is_file()}
    write_text(sent_file(folder), json.dumps(sent))


def _seen(path: Path) -> Seen | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _trial_of(name: str) -> str:
    """The trial's folder that a file lies in; empty for the run's own files."""
    parts = name.split("/")
    return parts[1] if parts[0] == "trials" and len(parts) > 2 else ""
