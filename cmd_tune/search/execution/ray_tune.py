"""Trials by Ray Tune: its Searcher, Scheduler, Callback and Stopper, each of which passes Tune's calls to the events.

Nothing is sampled or decided here. Tune pickles these objects into its experiment folder; nothing is ever read back
from there, so they pickle as empty. None of them raises, since an exception here would end Tune's loop wherever it
stands: the events are told of it instead.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import write_text
from cmd_tune.search.execution.engine import WAIT, TrialEvents, TrialReport
from cmd_tune.search.execution.ray_trial import run_trial
from cmd_tune.search.execution.resources import ResourcePlan, TrialResources
from cmd_tune.search.execution.trial_process import MAX_RESTARTS

T = TypeVar("T")

DRIVER_CPU = 0.01  # of a trial that only starts workers; Ray Tune refuses 0
ERROR = "error.txt"  # in a trial's folder
_DEAD = "its worker process has died"  # Ray's words, before a hundred others


def run_tune(folder: Path, resources: TrialResources, events: TrialEvents) -> None:
    """Run trials until the events say that none is left; Tune's own files go to `folder`/ray."""
    alone = {"CPU": resources.cpus, "GPU": resources.gpus}
    tune.Tuner(
        tune.with_resources(run_trial, alone if resources.workers == 1 else {"CPU": DRIVER_CPU}),
        tune_config=tune.TuneConfig(
            search_alg=TuneSearcher(events),
            scheduler=TuneScheduler(events),
            num_samples=-1,  # the events say when it is enough
            reuse_actors=resources.workers == 1,
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder),
            verbose=0,
            callbacks=[TuneCallback(events)],
            stop=TuneStopper(events),
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
        ),
    ).fit()


def with_room_for_drivers(plan: ResourcePlan) -> ResourcePlan:
    """A plan whose workers leave a trial's DRIVER_CPU free on every node, for all trials, if these need one."""
    each = plan.per_trial
    if each.workers == 1:
        return plan
    cpus = round(max(each.cpus - DRIVER_CPU * plan.concurrent, each.cpus / 2), 4)
    return replace(plan, per_trial=replace(each, cpus=cpus))


class _Passing:
    """Passes calls to the events."""

    def __init__(self, events: TrialEvents) -> None:
        super().__init__()
        self.events = events

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        """The events' answer, or `otherwise` if they raised; then the search is over."""
        try:
            return question()
        except Exception as error:
            self.events.failed(error)
            return otherwise


class TuneSearcher(_Passing, Searcher):
    """Hands out tasks."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self._ask(self.events.next_task, None)
        if task == WAIT:
            return None
        return Searcher.FINISHED if task is None else task.to_plain()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: the callback reports the end."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the search keeps its own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: the search keeps its own state."""


class TuneScheduler(_Passing, FIFOScheduler):
    """Passes on each report, and stops the trial if the answer is yes."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = _report(result)

        def stops() -> bool:
            return self.events.reported(_index(trial), report) if report.records else self.events.stop_all()

        return TrialScheduler.STOP if self._ask(stops, True) else TrialScheduler.CONTINUE


class TuneCallback(_Passing, Callback):
    """Reports the start and the end of each trial."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ask(lambda: self.events.started(_index(trial)), None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = _report(trial.last_result or {})
        self._ask(lambda: self.events.ended(_index(trial), last.failure, last.kind), None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        def ended() -> None:
            failure = _last_line(trial)
            self.events.ended(_index(trial), failure, failure.partition(":")[0])

        self._ask(ended, None)


class TuneStopper(_Passing, Stopper):
    """Stops all trials at once if the search cannot go on."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.events.stop_all()


def _index(trial: Any) -> int:
    return int(trial.config["trial"])


def _dirname(trial: Any) -> str:
    """Tune's own folder of a trial has the trial's number."""
    return f"{_index(trial):03d}"


def _report(result: dict[str, Any]) -> TrialReport:
    """A report as the trial's process made it, without the keys that Tune adds."""
    return TrialReport(**{name: result[name] for name in TrialReport.__dataclass_fields__ if name in result})


def _last_line(trial: Any) -> str:
    """Why a trial's process ended, in one line; if possible, all that Ray says of it goes into the trial's folder."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(trial.get_error() or "its process died")).strip()
    line = "its process died: killed, out of memory or crashed" if _DEAD in text else _said(text)
    path = Path(trial.config["folder"]) / ERROR
    try:
        write_text(path, f"{text}\n")
    except CmdTuneError:
        return line
    return f"{line} (in full: {path})"


def _said(text: str) -> str:
    """The first line of an exception's message, which follows its stack; without a stack, the last line."""
    lines = text.splitlines()
    stack = max((index for index, line in enumerate(lines) if line.startswith('  File "')), default=len(lines))
    return next((line for line in lines[stack + 1 :] if line and not line.startswith(" ")), lines[-1])
