"""The search's book behind Ray Tune's own interfaces: what to run next, when to stop, what happened.

Tune pickles these objects into its experiment folder; nothing is ever read back from there, so they pickle as empty.
None of them raises: an exception here would end Tune's loop wherever it stands. The conductor is told of it instead.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.search.execution.trial_process import FAILURE, KIND

T = TypeVar("T")

ERROR = "error.txt"  # in a trial's folder
_DEAD = "its worker process has died"  # Ray's words, before a hundred others


class Conductor(Protocol):
    """Who decides. `trial` is Tune's name of a trial. `trouble`: why the search cannot go on, once it cannot."""

    trouble: str

    def suggest(self, trial: str) -> dict[str, Any] | None: ...
    def exhausted(self) -> bool: ...
    def started(self, trial: str) -> None: ...
    def reported(self, trial: str, record: dict[str, Any]) -> bool: ...
    def ended(self, trial: str, failure: str, kind: str) -> None: ...
    def failed(self, error: Exception) -> None: ...


class _Unpickled:
    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self.conductor = conductor

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        """The conductor's answer, or `otherwise` where it raised; then the search is over."""
        try:
            return question()
        except Exception as error:
            self.conductor.failed(error)
            return otherwise


class BookSearcher(_Unpickled, Searcher):
    """Hands out trials; at most as many at once as the conductor allows."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        config = self._ask(lambda: self.conductor.suggest(trial_id), None)
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
        stop = self._ask(lambda: self.conductor.reported(trial.trial_id, result), True)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE


class BookCallback(_Unpickled, Callback):
    """Enters the start and the end of each trial."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ask(lambda: self.conductor.started(trial.trial_id), None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result or {}
        self._ask(lambda: self.conductor.ended(trial.trial_id, last.get(FAILURE, ""), last.get(KIND, "")), None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        def ended() -> None:
            failure = _last_line(trial)
            self.conductor.ended(trial.trial_id, failure, failure.partition(":")[0])

        self._ask(ended, None)


class BookStopper(_Unpickled, Stopper):
    """Stops all trials at once where the search cannot go on."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self.conductor.trouble)


def _last_line(trial: Any) -> str:
    """Why a trial's process ended, in one line; all that Ray says of it is in the trial's folder, where that can be."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(trial.get_error() or "its process died")).strip()
    line = "its process died: killed, out of memory or crashed" if _DEAD in text else _said(text)
    path = Path(trial.config["folder"]) / ERROR
    try:
        write_text(path, f"{text}\n")
    except CmdTuneError:
        return line
    return f"{line} (in full: {path})"


def _said(text: str) -> str:
    """The first line of what an exception says, which stands under its stack; without a stack, the last line."""
    lines = text.splitlines()
    stack = max((index for index, line in enumerate(lines) if line.startswith('  File "')), default=len(lines))
    return next((line for line in lines[stack + 1 :] if line and not line.startswith(" ")), lines[-1])
