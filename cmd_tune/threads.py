"""Work shared out to threads in large pieces, so that they meet at its end rather than in every operation."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from threading import Barrier

import torch


def run_shared(tasks: Sequence[Callable[[], None]]) -> None:
    """Run the tasks on as many threads as PyTorch has here; each splits its own operations over what is left.

    The tasks must not meet in what they write; grad mode is a thread's own. Raises what a task raises.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(tasks))
    if workers == 1:
        for task in tasks:
            task()
    else:
        for done in [_pool(workers, threads // workers).submit(task) for task in tasks]:
            done.result()


def shares(count: int) -> list[tuple[int, int]]:
    """The range 0 … count − 1 in as many like pieces as there are threads, as (first, last + 1)."""
    pieces = min(torch.get_num_threads(), count)
    bounds = [count * i // pieces for i in range(pieces + 1)]
    return list(pairwise(bounds))


@cache
def _pool(workers: int, threads: int) -> ThreadPoolExecutor:
    callers = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "cmd_tune", initializer=torch.set_num_threads, initargs=(threads,))
    all_started = Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(all_started.wait)
    all_started.wait()
    torch.set_num_threads(callers)  # the initializer also sets what threads of others start with
    return pool
