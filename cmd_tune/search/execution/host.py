"""What the processes of a host do: one piece of work after another from the desk, all of them together.

The first process speaks with the desk and tells the others what it said. Work is a trial or a call, and all processes
run it: features of clips, for one, are shared out to them. A process that fuses trials is several hosts to the desk,
each of them a thread.
"""

import gc
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from threading import Event
from traceback import format_exc
from typing import Any, Protocol

import torch.distributed as dist

from cmd_tune.search.execution.desk import CLOSED, NOTHING
from cmd_tune.search.execution.engine import TrialReport, TrialTask
from cmd_tune.search.execution.resources import TrialResources
from cmd_tune.search.execution.trial_process import run_task
from cmd_tune.train.distributed import world
from cmd_tune.train.fused import FusedPrograms

Agree = Callable[[Callable[[], Any]], Any]

_PATIENCE_S = 20.0  # of a question to the desk, which is then asked again
_FOR_GOOD = timedelta(days=365)  # processes without work wait for the first one


class RemoteDesk(Protocol):
    """The methods of `Desk` that a host calls, each of which waits for the answer."""

    def take(self, host: int, about: Any, patience_s: float) -> tuple[str, Any] | str: ...

    def put(self, host: int, key: str, report: Mapping[str, Any], patience_s: float) -> bool | str: ...

    def decide(self, host: int, key: str, patience_s: float) -> bool | str: ...

    def end(self, host: int, key: str, report: Mapping[str, Any]) -> None: ...

    def give_up(self, host: int, key: str, why: str) -> None: ...

    def dismiss(self, hosts: Sequence[int]) -> None: ...


class _Stopped(Exception):
    """Ends a trial from within its report."""


def serve(desk: RemoteDesk, host: int, resources: TrialResources, process: Any = None) -> None:
    """Do what the desk has to do, until it closes. Every process of the host calls it.

    resources: of this host, which may be others than those that a trial was planned with. process: names this process
    to whoever may have to end it; the desk gets the names of all.
    Raises what goes wrong in a trial if the other processes, or this one, may then no longer be fit to go on.
    """
    agree, processes = _meet(process)
    gc.freeze()  # what is there before the first piece of work stays, and need not be gone through after each
    if resources.fused > 1:
        _serve_fused(desk, host, resources, processes)
        return
    while (job := agree(lambda: desk.take(host, processes, _PATIENCE_S))) != CLOSED:
        if job != NOTHING:
            key, work = job
            _do(desk, host, key, work, resources, agree)


def _serve_fused(desk: RemoteDesk, first: int, resources: TrialResources, processes: list[Any]) -> None:
    """Serve as hosts `first` and so on, a thread each.

    What goes wrong in a trial is that trial's; but the process, which may no longer be fit, then takes no more.
    """
    programs, unfit, places = FusedPrograms(resources.fused), Event(), range(first, first + resources.fused)

    def work_at(host: int) -> None:
        job: Any
        while not unfit.is_set() and (job := desk.take(host, processes, _PATIENCE_S)) != CLOSED:
            if job == NOTHING:
                continue
            key, work = job
            try:
                _do(desk, host, key, work, resources, _by_itself, programs)
            except Exception:
                unfit.set()
                desk.dismiss(places)  # some of them may wait at the desk, which would give them more
                desk.give_up(host, key, format_exc())

    with closing(programs), ThreadPoolExecutor(resources.fused, "trial") as threads:
        for ended in [threads.submit(work_at, place) for place in places]:
            ended.result()


def _do(
    desk: RemoteDesk,
    host: int,
    key: str,
    work: Any,
    resources: TrialResources,
    agree: Agree,
    programs: FusedPrograms | None = None,
) -> None:
    """Do a piece of work, and tell the desk of its end."""
    if isinstance(work, bytes):
        result = _call(work)
        agree(partial(desk.end, host, key, {"pickle": result}))
    else:
        task = replace(TrialTask.from_plain(work), resources=resources)
        last = _run_trial(desk, host, key, task, agree, programs)
        agree(partial(desk.end, host, key, asdict(last)))
    gc.collect()


def _by_itself(ask: Callable[[], Any]) -> Any:
    """What a process without others agrees on."""
    return ask()


def _meet(process: Any) -> tuple[Agree, list[Any]]:
    """A function that asks a question in the first process and returns its answer in all; and what names them all."""
    rank, workers = world()
    if workers == 1:
        return _by_itself, [process]
    group = dist.new_group(backend="gloo", timeout=_FOR_GOOD)
    processes: list[Any] = [None] * workers
    dist.all_gather_object(processes, process, group=group)

    def agree(ask: Callable[[], Any]) -> Any:
        said: list[Any] = [ask() if rank == 0 else None]
        dist.broadcast_object_list(said, src=0, group=group)
        return said[0]

    return agree, processes


def _call(call: bytes) -> bytes:
    """What a pickled call returned, or what it raised: pickled (value, None) or (None, exception)."""
    try:
        return pickle.dumps((pickle.loads(call)(), None))  # noqa: S301  (of the process that searches)
    except Exception as error:  # whoever asked for it gets it
        return pickle.dumps((None, error))


def _run_trial(
    desk: RemoteDesk, host: int, key: str, task: TrialTask, agree: Agree, programs: FusedPrograms | None
) -> TrialReport:
    """Run a trial to its end, or until it is stopped. Returns its last report."""

    def report(said: TrialReport) -> None:
        stop = agree(lambda: desk.put(host, key, asdict(said), _PATIENCE_S))
        while stop == NOTHING:
            stop = agree(lambda: desk.decide(host, key, _PATIENCE_S))
        if stop:
            raise _Stopped

    try:
        return run_task(task, report, programs)
    except _Stopped:
        return TrialReport()
