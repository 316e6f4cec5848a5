"""The search's book behind Ray Tune's own interfaces: what to run next, when to stop, what happened.

Tune pickles these objects into its experiment folder; nothing is ever read back from there, so they pickle as empty.
"""

import re
from pathlib import Path
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.search.trial import FAILURE

ERROR = "error.txt"  # in a trial's folder
_DEAD = "its worker process has died"  # Ray's words, before a hundred others


class Conductor(Protocol):
    """Who decides. `trial` is Tune's name of a trial."""

    def suggest(self, trial: str) -> dict[str, Any] | None: ...
    def exhausted(self) -> bool: ...
    def started(self, trial: str) -> None: ...
    def reported(self, trial: str, record: dict[str, Any]) -> bool: ...
    def ended(self, trial: str, failure: str) -> None: ...


class _Unpickled:
    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self.conductor = conductor

    def __getstate__(self) -> dict[str, Any]:
        return {}


class BookSearcher(_Unpickled, Searcher):
    """Hands out trials; at most as many at once as the conductor allows."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        config = self.conductor.suggest(trial_id)
        return Searcher.FINISHED if config is None and self.conductor.exhausted() else config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The callback keeps the book."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the book is on disk."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the book is on disk."""


class BookScheduler(_Unpickled, FIFOScheduler):
    """Enters each result, and stops the trials that the book gives up."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stop = self.conductor.reported(trial.trial_id, result)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE


class BookCallback(_Unpickled, Callback):
    """Enters the start and the end of each trial."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.conductor.started(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.conductor.ended(trial.trial_id, (trial.last_result or {}).get(FAILURE, ""))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.conductor.ended(trial.trial_id, _last_line(trial))


def _last_line(trial: Any) -> str:
    """Why a trial's process ended, in one line; all that Ray says of it is in the trial's folder, where that can be."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(trial.get_error() or "its process died")).strip()
    line = "its process died: killed, out of memory or crashed" if _DEAD in text else text.splitlines()[-1]
    path = Path(trial.config["folder"]) / ERROR
    try:
        write_text(path, f"{text}\n")
    except CmdTuneError:
        return line
    return f"{line} (in full: {path})"
