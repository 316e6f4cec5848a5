"""Trials by Ray Tune: its Searcher, Scheduler, Callback and Stopper, each of which passes Tune's calls to the events.

Nothing is sampled or decided here. Tune pickles these objects into its experiment folder; nothing is ever read back
from there, so they pickle as empty. None of them raises, since an exception here would end Tune's loop wherever it
stands: the events are told of it instead.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cmd_tune.errors import CmdTuneError, OutOfMemory
from cmd_tune.files import write_text
from cmd_tune.search.execution.engine import DIED, MAX_RESTARTS, NODE_LOST, WAIT, TrialEvents, TrialReport
from cmd_tune.search.execution.ray_client import HostLost, TrialClient, key_of
from cmd_tune.search.execution.ray_hosts import MEMORY_FULL, NODE_GONE, PROCESS_DIED, Hosts

T = TypeVar("T")

ERROR = "error.txt"  # in a trial's folder
_DEAD = "its worker process has died"  # Ray's words, before a hundred others
# What tells a kind of failure: our words, and those of Ray on one of several workers.
_KINDS = (
    (MEMORY_FULL, OutOfMemory.__name__),
    (f"{NODE_GONE}|node died", NODE_LOST),
    (f"{PROCESS_DIED}|actor died|worker died", DIED),
)
_SOME = 0.0001  # of a resource that every node has once: Tune wants one, and a client takes no CPU


def run_tune(folder: Path, hosts: Hosts, events: TrialEvents) -> None:
    """Run trials until the events say that none is left; Tune's own files go to `folder`/ray."""
    here = f"node:{ray.util.get_node_ip_address()}"
    _keep_keys()
    tune.Tuner(
        tune.with_resources(TrialClient, {here: _SOME}),
        tune_config=tune.TuneConfig(
            search_alg=TuneSearcher(events, hosts),
            scheduler=TuneScheduler(events),
            num_samples=-1,  # the events say when it is enough
            reuse_actors=True,
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder),
            verbose=0,
            callbacks=[TuneCallback(events, hosts)],
            stop=TuneStopper(events),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a trial writes its own
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
        ),
    ).fit()


def _keep_keys() -> None:
    """Have Tune leave the keys of AWS where they are: it would hand them to its trials by a way that Ray logs.

    Trials are clients, which store nothing. A host's workers have the variables of their node.
    """
    keys = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(keys)


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
    """Hands out tasks, to Tune and to the hosts, which need not wait for the trial's client."""

    def __init__(self, events: TrialEvents, hosts: Hosts) -> None:
        super().__init__(events)
        self.hosts = hosts

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self._ask(self.events.next_task, None)
        if task == WAIT:
            return None
        if task is None:
            return Searcher.FINISHED
        config = task.to_plain()
        self.hosts.submit(key_of(config), config)
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: the callback reports the end."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the search keeps its own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: the search keeps its own state."""


class TuneScheduler(_Passing, FIFOScheduler):
    """Passes on each report, and stops the trial if the answer is yes."""

    def __init__(self, events: TrialEvents) -> None:
        super().__init__(events)
        self._reached: dict[str, float] = {}  # epoch, by Tune's name of a trial

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Leaves it to Tune, which gives a client that is free to the trial that has none yet.

        A trial whose own client is about to start would otherwise take it, and its own be thrown away: with trials
        that are shorter than a client's start, there would never be more than one.
        """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = _report(result)
        reached = max((record["epoch"] for record in report.records), default=0)
        if reached > self._reached.get(trial.trial_id, 0):
            self._reached[trial.trial_id] = reached
            trial.run_metadata.num_failures = 0  # those without an epoch in between count

        def stops() -> bool:
            return self.events.reported(_index(trial), report) if report.records else self.events.stop_all()

        return TrialScheduler.STOP if self._ask(stops, True) else TrialScheduler.CONTINUE


class TuneCallback(_Passing, Callback):
    """Reports the start and the end of each trial, and has the hosts seen to."""

    def __init__(self, events: TrialEvents, hosts: Hosts) -> None:
        super().__init__(events)
        self.hosts = hosts

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._ask(lambda: self.hosts.look(self.events.noted, self.events.relaid), None)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ask(lambda: self.events.started(_index(trial)), None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.hosts.leave(key_of(trial.config))
        last = _report(trial.last_result or {})
        self._ask(lambda: self.events.ended(_index(trial), last.failure, last.kind), None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.hosts.leave(key_of(trial.config))

        def ended() -> None:
            failure = _last_line(trial)
            self.events.ended(_index(trial), failure, _kind(failure))

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


def _kind(failure: str) -> str:
    """The kind of a failure, by what is said of it; else the name of an exception."""
    return next((kind for words, kind in _KINDS if re.search(words, failure)), failure.partition(":")[0])


def _last_line(trial: Any) -> str:
    """Why a trial's process ended, in one line; if possible, all that Ray says of it goes into the trial's folder."""
    text = re.sub(r"\x1b\[[\d;]*m", "", str(trial.get_error() or PROCESS_DIED)).strip()
    lost = text.rpartition(f"{HostLost.__name__}: ")[2]
    line = PROCESS_DIED if _DEAD in text else _said(lost)
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
