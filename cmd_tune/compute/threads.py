"""Shares work out to threads in large pieces, which wait for each other once rather than in every operation.

An operation's last digits depend on the number of its threads. Within `steady` they do not.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, wraps
from itertools import pairwise
from threading import Barrier, local
from typing import ParamSpec, TypeVar

import torch

from cmd_tune.compute.cpus import usable_cpus

P = ParamSpec("P")
T = TypeVar("T")

_STEADY_PIECES = 8  # of a range, for any number of threads


class _Here(local):
    """Per thread: within `steady`, the number of threads that its tasks may use; otherwise None."""

    threads: int | None = None


_here = _Here()


def keep_to_usable_cpus() -> None:
    """Have PyTorch use no more threads than this process may use CPUs: it knows neither quotas nor Slurm."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))


@contextmanager
def steady() -> Iterator[None]:
    """Within it, results on a CPU do not depend on the number of threads.

    Every operation runs on one thread; only the tasks of `run_shared` are spread over those that PyTorch has here, and
    `shares` makes as many pieces whatever their number.
    """
    if _here.threads is not None:
        yield
        return
    threads = _here.threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _here.threads = None


def steadily(function: Callable[P, T]) -> Callable[P, T]:
    """Make every call of a function run within `steady`."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with steady():
            return function(*args, **kwargs)

    return call


def run_shared(tasks: Sequence[Callable[[], None]]) -> None:
    """Run the tasks on as many threads as PyTorch has here, this one included; each thread takes the next task.

    A task splits its own operations over the threads that remain for it; within `steady`, it has one. Tasks must not
    meet in what they write; grad mode is a thread's own. Raises what a task raises, when all have ended.
    """
    before, spread = torch.get_num_threads(), _here.threads
    threads = spread or before
    workers = max(1, min(threads, len(tasks)))
    each = 1 if spread else threads // workers
    remaining = deque(tasks)

    def work() -> None:
        while True:
            try:
                task = remaining.popleft()
            except IndexError:
                return
            task()

    others = [_pool(workers - 1, each).submit(work) for _ in range(workers - 1)]
    torch.set_num_threads(each)
    _here.threads = None
    try:
        work()
    finally:
        torch.set_num_threads(before)
        _here.threads = spread
        wait(others)
    for other in others:
        other.result()


def shares(count: int) -> list[tuple[int, int]]:
    """0 … count − 1 in equal pieces (first, last + 1): one per thread, or within `steady` always the same number."""
    pieces = min(_STEADY_PIECES if _here.threads else torch.get_num_threads(), count)
    bounds = [count * i // pieces for i in range(pieces + 1)]
    return list(pairwise(bounds))


@cache
def _pool(workers: int, threads: int) -> ThreadPoolExecutor:
    callers = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "cmd_tune", initializer=keep_to, initargs=(threads,))
    all_started = Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(all_started.wait)
    all_started.wait()
    torch.set_num_threads(callers)  # the initializer also sets what threads of others start with
    return pool


def keep_to(threads: int) -> None:
    """Set the number of threads of this thread's operations.

    A new thread has what any thread has set last, such as 1 within `steady`.
    """
    torch.get_num_threads()  # the first call in a thread resets the process-wide number, so make it before setting ours
    torch.set_num_threads(threads)
