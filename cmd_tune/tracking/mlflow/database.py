"""A database that MLflow opens by itself: made whole or not at all, and the cures of one that cannot be used."""

import shlex
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cmd_tune.files import atomic_file, remove_leftovers
from cmd_tune.locks import lock_file
from cmd_tune.redact import redact
from cmd_tune.sqlite_url import sqlite_url
from cmd_tune.tracking.mlflow.uris import sqlite_file

_OWN = {"alembic_version": 1, "workspaces": 1, "experiments": 1}  # rows that MLflow makes by itself


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others who lock a path out, where the file system can."""
    with path.open("w", encoding="utf-8") as handle:
        lock_file(handle, wait=True)
        yield


def ensure_database(uri: str, files: Path) -> str:
    """Make a SQLite database that is not there, and make anew one that was left half made and has nothing in it.

    A database of a server is only connected to, since MLflow itself would go on trying for minutes. files: the folder
    of artifacts. Returns a line if one was made anew. Raises if it cannot be used.
    """
    file = sqlite_file(uri)
    if file is None:
        _connect(uri)
        return ""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        half_made = _is_half_made(file) if file.exists() else False
        if file.exists() and not half_made:
            return ""
        remove_leftovers(file)
        _make(file, files)
        return f"{file}: was left half made, with no run in it, and is made anew" if half_made else ""


def _make(file: Path, files: Path) -> None:
    """Make a whole database under another name, then give it its own."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with atomic_file(file) as temporary, _unsynced(temporary.name):
        journal = temporary.with_name(f"{temporary.name}-journal")
        try:
            SqlAlchemyStore(sqlite_url(temporary), files.absolute().as_uri()).engine.dispose()
        finally:
            with suppress(OSError):
                journal.unlink(missing_ok=True)
        for old in (f"{file.name}-journal", f"{file.name}-wal", f"{file.name}-shm"):  # of a half-made one
            file.with_name(old).unlink(missing_ok=True)


@contextmanager
def _unsynced(name: str) -> Iterator[None]:
    """Within it, connections to SQLite files of this name do not wait for the disk after each change.

    MLflow makes some hundred, which takes most of the seconds that a database takes.
    """
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    def hasten(connection: object, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        if any(Path(file).name == name for _, _, file in connection.execute("PRAGMA database_list")):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Pool, "connect", hasten)
    try:
        yield
    finally:
        event.remove(Pool, "connect", hasten)


def _is_half_made(file: Path) -> bool:
    """Whether a database is not complete, and has nothing that anybody recorded."""
    if file.stat().st_size == 0:
        return True
    with closing(sqlite3.connect(file, timeout=60)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: _count(database, name) for name in names if not name.startswith("sqlite_")}
        if any(count > _OWN.get(name, 0) for name, count in rows.items()):
            return False
        if names and not {"experiments", "alembic_version"} & set(names):
            return False  # somebody else's
        if not rows.get("experiments"):  # the first is what MLflow makes last
            return True
        revisions = [revision for (revision,) in database.execute("SELECT version_num FROM alembic_version")]
        return revisions != [_latest_revision()]


def _count(database: sqlite3.Connection, table: str) -> int:
    """Rows of a table, up to two."""
    quoted = table.replace('"', '""')
    return len(database.execute(f'SELECT 1 FROM "{quoted}" LIMIT 2').fetchall())  # noqa: S608


def _latest_revision() -> str:
    from mlflow.store.db.utils import _get_latest_schema_revision

    return str(_get_latest_schema_revision())


def _connect(uri: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def cure(uri: str, message: str) -> str:
    """What to do about an exception's message; empty if that is not known."""
    if "mlflow-artifacts URI" in message:
        return "the files of this experiment go through its server; give the server's address by --tracking-uri"
    file = sqlite_file(uri)
    away = f"move {file} away, and --resume NAME writes the records of a search again" if file else ""
    if "out-of-date database schema" in message:
        if _is_newer(message):
            return "a newer release of MLflow made it; install that: pip install --upgrade mlflow"
        upgrade = shlex.join([sys.executable, "-m", "mlflow", "db", "upgrade", redact(uri)])
        return f"take a copy{f' of {file}' if file else ''}, then run: {upgrade}"
    if "Can't locate revision" in message:
        return "a newer release of MLflow made it; install that: pip install --upgrade mlflow"
    if file and any(words in message for words in ("already exists", "no such table", "no such column")):
        return f"its tables are incomplete, as an upgrade that was cut off leaves them: put a copy back, or {away}"
    if file and any(words in message for words in ("malformed", "is not a database")):
        return f"it is damaged: put a copy back, or {away}"
    if file and ("is full" in message or "No space left" in message):
        return f"make room for {file}"
    return ""


def _is_newer(message: str) -> bool:
    """Whether the version that was found is none that this release of MLflow knows."""
    import mlflow.store.db_migrations as migrations

    found = message.partition("found version ")[2].partition(",")[0]
    (folder,) = map(Path, migrations.__path__)
    return found not in ("", "None") and not any((folder / "versions").glob(f"{found}*"))


def replaced(file: Path, inode: int) -> bool:
    """Whether a database's file is no longer the one that was opened: what is written would be lost."""
    try:
        return file.stat().st_ino != inode
    except FileNotFoundError:
        return True
