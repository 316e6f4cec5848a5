"""The URI of the MLflow server or database that a run is recorded in."""

import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cmd_tune.errors import UsageError
from cmd_tune.files import home_path
from cmd_tune.sqlite_url import sqlite_url

_DATABASE = "mlflow.db"  # in the storage
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_VARIABLE = "MLFLOW_TRACKING_URI"
_OTHERS = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")  # which a run chooses by itself


def is_server(uri: str) -> bool:
    """Whether a URI is a server's address, and not a database."""
    return uri.startswith("http")


def is_database(uri: str) -> bool:
    """Whether MLflow opens a database at a URI by itself."""
    return uri.startswith(_DATABASES)


def default_uri(storage: Path) -> str:
    """The URI of a database in the storage folder."""
    return sqlite_url(storage / _DATABASE)


def resolve_tracking_uri(given: str | None, storage: Path) -> str:
    """The URI of a new run: the given one, else that of MLFLOW_TRACKING_URI, else a database in the storage.

    Raises UsageError for what is no URI.
    """
    if given is not None:
        return _absolute(given, "--tracking-uri")
    by_variable = os.environ.get(_VARIABLE, "").strip()
    return _absolute(by_variable, _VARIABLE) if by_variable else default_uri(storage)


def relative_uri(uri: str, storage: Path) -> str:
    """A URI as a plan file has it: a database in the storage by a path relative to that, so that it can be moved."""
    path = _file(uri)
    if path is None or not path.is_relative_to(root := Path(os.path.abspath(storage))):
        return uri
    relative = path.relative_to(root).as_posix()
    plain = quote(relative) == relative and make_url(uri).query.keys() <= {"uri"}
    return f"sqlite:///{relative}" if plain else uri


def resolve_kept_uri(kept: str, storage: Path) -> str:
    """The URI of a resumed run. kept: what its plan file has. storage: where the run lies now.

    A database of the storage is found where the storage has moved to. Raises UsageError if a database's folder is gone.
    """
    path = _file(kept, storage)
    if path is None:
        return kept
    moved = storage / path.name
    if not path.is_file() and (moved.is_file() or (path.name == _DATABASE and not path.parent.is_dir())):
        return sqlite_url(moved)
    if not path.parent.is_dir():
        raise UsageError(f"tracking_uri: {path.parent}, the folder of its database, is not there; put it back")
    return kept if path == _file(kept, Path("/nowhere")) else sqlite_url(path)


def database_file(uri: str) -> Path | None:
    """The file of a database in SQLite; None if the URI names no such file."""
    return _file(uri)


def variables_not_taken(uri: str, experiment: str) -> list[str]:
    """One line for each of MLflow's variables that a run with this URI and experiment does not follow."""
    by_variable = os.environ.get(_VARIABLE, "").strip()
    lines = []
    if by_variable and _absolute(by_variable, _VARIABLE) != uri:
        lines.append(f"{_VARIABLE} is not taken: this run goes to {uri}")
    names = [name for name in _OTHERS if os.environ.get(name)]
    return lines + [f"{name} is not taken: runs are made in the experiment {experiment}" for name in names]


def _absolute(uri: str, where: str) -> str:
    """The URI with the absolute path of a database's file: a resumed run may start in another folder."""
    if not uri.startswith("sqlite"):
        return uri
    try:
        path = make_url(uri).database
    except ArgumentError:
        raise UsageError(f"{where} {uri}: is no URI; write sqlite:///FILE or http://HOST:PORT") from None
    if not path or path.startswith((":", "file:", "/")):
        return uri
    return sqlite_url(home_path(path))


def _file(uri: str, place: Path | None = None) -> Path | None:
    """The absolute path of the file that a SQLite URI names; a relative one is in `place`."""
    if not uri.startswith("sqlite"):
        return None
    try:
        name = make_url(uri).database or ""
    except ArgumentError:
        return None
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    if not name or name.startswith(":"):
        return None
    return Path(os.path.abspath((place or Path()) / name))
