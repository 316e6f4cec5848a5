"""Shows runs on a tracking server, in the background: a run never waits for the server and never fails with it.

Not here: folders of runs, and what of a run is shown, which runs/ and search/ decide. MLflow's library and
its words are in mlflow/ alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmd_tune.tracking.background import BackgroundTracker, say_nothing
from cmd_tune.tracking.base import DataInput, Model, Page, RunKey, RunSnapshot, RunStatus, Tracker
from cmd_tune.tracking.identity import Identity, earlier_identity, new_identity
from cmd_tune.tracking.mlflow import uris
from cmd_tune.tracking.mlflow.tracker import MlflowTracker
from cmd_tune.tracking.mlflow.uris import relative_uri

__all__ = [
    "TRACKERS",
    "BackgroundTracker",
    "DataInput",
    "Identity",
    "Model",
    "Page",
    "RunKey",
    "RunSnapshot",
    "RunStatus",
    "Tracker",
    "earlier_identity",
    "new_identity",
    "open_tracker",
    "relative_uri",
    "resolve_tracking_uri",
    "resumed_tracking_uri",
]

# Word → class. A class imports its library when it is opened, not before.
TRACKERS: dict[str, type[Tracker[Any]]] = {"mlflow": MlflowTracker}


def resolve_tracking_uri(given: str | None, storage: Path) -> str:
    """The URI of a new run: the given one, else that of MLFLOW_TRACKING_URI, else a database in the storage.

    Raises UsageError for what no run can be recorded in.
    """
    return uris.resolve_tracking_uri(given, storage, TRACKERS.keys() - {"mlflow"})


def resumed_tracking_uri(given: str | None, kept: str, storage: Path) -> str:
    """The URI of a resumed run: the given one, else that of its plan file, with its password, which is not kept there.

    Raises UsageError for what no run can be recorded in, or if the password is in no variable.
    """
    return uris.resumed_tracking_uri(given, kept, storage, TRACKERS.keys() - {"mlflow"})


def open_tracker(
    uri: str,
    experiment: str,
    search: str,
    storage: Path,
    say: Callable[[str, str], None] = say_nothing,
    tell: Callable[[str], None] = say_nothing,
    *,
    identity: str = "",
) -> BackgroundTracker:
    """The tracker of a run, started. Arguments as those of `Tracker` and `BackgroundTracker`."""
    return BackgroundTracker(TRACKERS["mlflow"](uri, experiment, search, storage, identity), say, tell)
