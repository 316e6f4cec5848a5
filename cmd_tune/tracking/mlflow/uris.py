"""The URI of the MLflow server or database that a run is recorded in."""

import os
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cmd_tune.errors import UsageError
from cmd_tune.files import home_path
from cmd_tune.sqlite_url import sqlite_url

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
    return sqlite_url(storage / "mlflow.db")


def resolve_tracking_uri(given: str | None, storage: Path) -> str:
    """The URI of a new run: the given one, else that of MLFLOW_TRACKING_URI, else a database in the storage.

    Raises UsageError for what is no URI.
    """
    if given is not None:
        return _absolute(given, "--tracking-uri")
    by_variable = os.environ.get(_VARIABLE, "").strip()
    return _absolute(by_variable, _VARIABLE) if by_variable else default_uri(storage)


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
