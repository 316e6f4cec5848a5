"""Work shared out to threads in large pieces, so that they meet at its end rather than in every operation."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from threading import Barrier

import torch


def run_shared(tasks: Sequence[Callable[[], None]]) -> None:
    """Run the tasks on as many threads as PyTorch has here, this one among them; each takes the next that is left.

    A task splits its own operations over the threads that remain for it. Tasks must not meet in what they write; grad
    mode is a thread's own. Raises what a task raises, when all have ended.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(tasks))
    remaining = deque(tasks)

    def work() -> None:
        while True:
            try:
                task = remaining.popleft()
            except IndexError:
                return
            task()

    others = [_pool(workers - 1, threads // workers).submit(work) for _ in range(workers - 1)]
    torch.set_num_threads(threads // workers)
    try:
        work()
    finally:
        torch.set_num_threads(threads)
        wait(others)
    for other in others:
        other.result()


def shares(count: int) -> list[tuple[int, int]]:
    """The range 0 … count − 1 in as many like pieces as there are threads, as (first, last + 1)."""
    pieces = min(torch.get_num_threads(), count)
    bounds = [count * i // pieces for i in range(pieces + 1)]
    return list(pairwise(bounds))


@cache
def _pool(workers: int, threads: int) -> ThreadPoolExecutor:
    callers = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "cmd_tune", initializer=_keep_to, initargs=(threads,))
    all_started = Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(all_started.wait)
    all_started.wait()
    torch.set_num_threads(callers)  # the initializer also sets what threads of others start with
    return pool


def _keep_to(threads: int) -> None:
    """Let this thread's operations have so many threads."""
    torch.get_num_threads()  # the first question in a thread sets what others have, and would else come after
    torch.set_num_threads(threads)
