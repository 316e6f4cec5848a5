"""Shows runs on a tracking server, in the background: a run never waits for the server and never fails with it.

Not here: folders of runs, and what of a run is shown, which runs/ and search/ decide. MLflow's library and
its words are in mlflow/ alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmd_tune.tracking.background import BackgroundTracker, say_nothing
from cmd_tune.tracking.base import Page, RunSnapshot, RunStatus, Tracker
from cmd_tune.tracking.mlflow.tracker import MlflowTracker
from cmd_tune.tracking.mlflow.uris import relative_uri, resolve_kept_uri, resolve_tracking_uri

__all__ = [
    "TRACKERS",
    "BackgroundTracker",
    "Page",
    "RunSnapshot",
    "RunStatus",
    "Tracker",
    "open_tracker",
    "relative_uri",
    "resolve_kept_uri",
    "resolve_tracking_uri",
]

# Word → class. A class imports its library when it is opened, not before.
TRACKERS: dict[str, type[Tracker[Any]]] = {"mlflow": MlflowTracker}


def open_tracker(
    uri: str, experiment: str, search: str, storage: Path, say: Callable[[str, str], None] = say_nothing
) -> BackgroundTracker:
    """The tracker of a run, started. Arguments as those of `Tracker` and `BackgroundTracker`."""
    return BackgroundTracker(TRACKERS["mlflow"](uri, experiment, search, storage), say)
