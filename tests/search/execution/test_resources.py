"""Trials laid over CPUs and GPUs."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.execution.resources import Node, ResourcePlan, ResourceRequest, TrialResources, plan_resources


def plan(*nodes, workers=1, gpus=0.0, trials=12, given=1, concurrent=None):
    nodes = [Node(*node) for node in nodes]
    return plan_resources(nodes, ResourceRequest(concurrent, workers, gpus), trials=trials, given=given)


def layout(workers, cpus, gpus, threads, concurrent, learning):
    return ResourcePlan(TrialResources(workers, cpus, gpus, threads), concurrent, learning)


@pytest.mark.parametrize(
    ("nodes", "options", "expected"),
    [
        ([(2, 0)], {}, layout(1, 1.0, 0.0, 1, 2, 2)),  # a laptop
        ([(16, 0)], {}, layout(1, 5.33, 0.0, 5, 3, 3)),  # a quarter of 12 trials at once, all CPUs used
        ([(16, 0)], {"trials": 100}, layout(1, 1.0, 0.0, 1, 16, 16)),
        ([(16, 0)], {"concurrent": 4}, layout(1, 4.0, 0.0, 4, 4, 4)),
        ([(2, 0)], {"concurrent": 4}, layout(1, 0.5, 0.0, 1, 4, 4)),  # asked for: shares of a CPU
        ([(2, 0)], {"workers": 2}, layout(2, 0.99, 0.0, 1, 1, 1)),  # the driver's hundredth is left free
        ([(2, 0)], {"workers": 4}, layout(4, 0.49, 0.0, 1, 1, 1)),
        ([(1, 0)], {"trials": 1}, layout(1, 1.0, 0.0, 1, 1, 1)),
        ([(16, 1)], {"gpus": 0.5, "trials": 24}, layout(1, 8.0, 0.5, 8, 2, 2)),
        ([(32, 4), (32, 4)], {"gpus": 1.0, "workers": 4, "trials": 24}, layout(4, 7.99, 1.0, 8, 2, 2)),
        ([(16, 1)], {"gpus": None}, layout(1, 16.0, 1.0, 16, 1, 1)),
        ([(16, 1)], {"gpus": None, "workers": 2}, layout(2, 7.99, 0.5, 8, 1, 1)),
        ([(16, 2)], {"gpus": None, "workers": 5, "trials": 100}, layout(5, 3.19, 0.3333, 3, 1, 1)),
        ([(16, 2), (16, 2)], {"gpus": None, "workers": 2, "trials": 100}, layout(2, 7.99, 1.0, 8, 2, 2)),
        ([(16, 0)], {"gpus": None, "concurrent": 1}, layout(1, 16.0, 0.0, 16, 1, 1)),
        ([(4, 0), (2, 0)], {"concurrent": 3}, layout(1, 2.0, 0.0, 2, 3, 3)),  # a worker does not straddle nodes
        ([(16, 8)], {"gpus": 1.0, "trials": 9, "given": 9}, layout(1, 2.0, 1.0, 2, 8, 8)),  # a grid learns nothing
        ([(32, 36)], {"gpus": 1.0, "trials": 36, "given": 36}, layout(1, 0.88, 1.0, 1, 36, 36)),
        ([(16, 8)], {"gpus": 1.0, "trials": 9, "given": 6}, layout(1, 2.66, 1.0, 2, 6, 2)),  # six queued points
        ([(16, 8)], {"gpus": 1.0, "trials": 9, "given": 9, "concurrent": 2}, layout(1, 8.0, 1.0, 8, 2, 2)),
        ([(16, 0)], {"trials": 3, "given": 3}, layout(1, 5.33, 0.0, 5, 3, 3)),
        ([(48, 8)], {"gpus": 0.3, "trials": 36, "given": 36}, layout(1, 2.0, 0.3, 2, 24, 24)),  # three to a GPU
        ([(3, 0), (3, 0)], {"concurrent": 4}, layout(1, 1.5, 0.0, 1, 4, 4)),
    ],
)
def test_layout(nodes, options, expected):
    assert plan(*nodes, **options) == expected


@pytest.mark.parametrize(
    ("nodes", "options", "what"),
    [
        ([(16, 0)], {"gpus": 1.0}, "1 workers with 1 GPU each do not fit on 0 GPUs"),
        ([(16, 1)], {"gpus": 1.0, "workers": 2}, "2 workers with 1 GPU each do not fit on 1 GPUs"),
        ([(16, 2)], {"gpus": 0.6, "workers": 3}, "3 workers with 0.6 GPU each do not fit on 2 GPUs"),
        ([(16, 8)], {"gpus": 1.5}, "--gpus-per-worker 1.5: Ray takes parts of one GPU only; write a whole number"),
        ([(16, 1)], {"gpus": 0.6, "concurrent": 2}, "2 workers with 0.6 GPU each do not fit on 1 GPUs"),
    ],
)
def test_what_would_wait_for_ever_is_refused(nodes, options, what):
    with pytest.raises(UsageError, match=what):
        plan(*nodes, **options)


def test_every_layout_fits_its_nodes():
    for cpus in (1, 2, 3, 4, 7, 16):
        for workers in (1, 2, 3, 5):
            for concurrent in (1, 2, 3, 4):
                layout = plan((cpus, 0), workers=workers, concurrent=concurrent)
                driver = 0.01 if workers > 1 else 0
                assert concurrent * (workers * layout.per_trial.cpus + driver) <= cpus + 1e-9
                assert layout.per_trial.cpus > 0


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (layout(1, 1.0, 0.0, 1, 2, 2), "2 trials at once, 1 worker a trial, 1 CPU and no GPU a worker"),
        (
            layout(4, 7.99, 0.5, 8, 6, 2),
            "6 trials at once (2 once the sampler learns), 4 workers a trial, 7.99 CPUs and 0.5 GPU a worker",
        ),
    ],
)
def test_a_layout_in_words(made, words):
    assert str(made) == words


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"workers": 64}, "--workers 64: 64 processes for 2 CPUs; at most 20 a CPU"),
        ({"workers": 4, "concurrent": 11}, "--workers 4 --concurrent 11: 44 processes for 2 CPUs"),
    ],
)
def test_more_processes_than_could_start_are_refused(options, what):
    with pytest.raises(UsageError, match=what):
        plan((2, 0), **options)


def test_as_many_trials_as_the_time_allows_take_all_slots():
    assert plan((16, 0), trials=None) == layout(1, 1.0, 0.0, 1, 16, 16)


def test_what_a_resume_leaves_open_is_as_it_was():
    kept = ResourceRequest(concurrent=3, workers=2, gpus_per_worker=0.5)
    assert ResourceRequest(workers=4).or_else(kept) == ResourceRequest(3, 4, 0.5)
    assert ResourceRequest(gpus_per_worker=0.0).or_else(kept) == ResourceRequest(3, 2, 0.0)
