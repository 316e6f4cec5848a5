"""Which MLflow a run goes to, as a URI."""

import os
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cmd_tune.errors import UsageError
from cmd_tune.files import home_path
from cmd_tune.sqlite_url import sqlite_url

_VARIABLE = "MLFLOW_TRACKING_URI"
_OTHERS = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")  # what a run chooses by itself


def default_uri(storage: Path) -> str:
    """A database in the storage folder."""
    return sqlite_url(storage / "mlflow.db")


def tracking_uri(given: str | None, storage: Path) -> str:
    """Where a new run's records go: what was given, else what MLFLOW_TRACKING_URI says, else a database in the storage.

    Raises UsageError for what is no URI.
    """
    if given is not None:
        return _absolute(given, "--tracking-uri")
    by_variable = os.environ.get(_VARIABLE, "").strip()
    return _absolute(by_variable, _VARIABLE) if by_variable else default_uri(storage)


def variables_not_taken(uri: str, experiment: str) -> list[str]:
    """A line for each of MLflow's variables that a run to this URI and experiment does not follow."""
    by_variable = os.environ.get(_VARIABLE, "").strip()
    lines = []
    if by_variable and _absolute(by_variable, _VARIABLE) != uri:
        lines.append(f"{_VARIABLE} is not taken: this run goes to {uri}")
    names = [name for name in _OTHERS if os.environ.get(name)]
    return lines + [f"{name} is not taken: runs are made in the experiment {experiment}" for name in names]


def _absolute(uri: str, where: str) -> str:
    """A database's file in full: a relative one would be another's in another folder."""
    if not uri.startswith("sqlite"):
        return uri
    try:
        path = make_url(uri).database
    except ArgumentError:
        raise UsageError(f"{where} {uri}: is no URI; write sqlite:///FILE or http://HOST:PORT") from None
    if not path or path.startswith((":", "file:", "/")):
        return uri
    return sqlite_url(home_path(path))
