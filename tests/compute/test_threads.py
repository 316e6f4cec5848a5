"""Work shared out to threads: each piece done once, by callers as well, and nothing left behind when one fails."""

from collections import Counter
from functools import partial
from threading import get_ident
from time import sleep

import pytest
import torch

from cmd_tune.compute.threads import _pool, run_shared, shares, steady


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("tasks", [1, 2, 3, 20])
def test_each_task_runs_once_on_no_more_threads_than_there_are(threads, tasks):
    done, seen, inner = Counter(), set(), set()

    def task(index):
        done[index] += 1
        seen.add(get_ident())
        inner.add(torch.get_num_threads())
        sleep(0.01)

    run_shared([partial(task, index) for index in range(tasks)])
    assert done == Counter(range(tasks))
    assert get_ident() in seen
    assert len(seen) == min(threads, tasks)
    assert inner == {threads // min(threads, tasks)}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("failing", [0, 1, 5])
def test_a_task_that_fails_is_told_when_all_threads_have_ended(threads, failing):
    started, ended = [], []

    def task(index):
        started.append(index)
        sleep(0.02)
        ended.append(index)
        if index == failing:
            raise ValueError(f"task {index}")

    with pytest.raises(ValueError, match=f"task {failing}"):
        run_shared([partial(task, index) for index in range(6)])
    assert sorted(started) == sorted(ended)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (2, [1, 1]), (7, [2, 2, 3])])
def test_shares_are_alike_and_cover_all(count, expected):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    parts = shares(count)
    torch.set_num_threads(before)
    assert [last - first for first, last in parts] == expected
    assert [i for first, last in parts for i in range(first, last)] == list(range(count))


def test_a_thread_keeps_its_share_whatever_others_have_set_since(threads):
    """PyTorch lets a thread's first operation take over the count that another thread set last."""
    _pool.cache_clear()
    assert _pool(2, 1).submit(torch.get_num_threads).result() == 1
    assert torch.get_num_threads() == threads


def test_steady_work_is_the_same_pieces_each_on_one_thread(threads):
    seen, inner, pieces = set(), set(), []

    def task():
        seen.add(get_ident())
        inner.add((torch.get_num_threads(), len(shares(100))))
        sleep(0.01)

    with steady():
        pieces.append(len(shares(100)))
        assert torch.get_num_threads() == 1
        with steady():
            run_shared([task] * 6)
        pieces.append(len(shares(100)))
    assert (pieces, inner) == ([8, 8], {(1, 1)})
    assert len(seen) == threads
    assert torch.get_num_threads() == threads
    assert len(shares(100)) == threads


def test_no_tasks_are_none():
    run_shared([])
