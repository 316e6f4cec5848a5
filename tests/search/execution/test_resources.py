"""Trials laid over CPUs and GPUs."""

from contextlib import suppress
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmd_tune.errors import UsageError
from cmd_tune.search.execution.resources import (
    Node,
    ResourcePlan,
    ResourceRequest,
    TrialResources,
    describe_lack,
    lay_anew,
    plan_resources,
    read_fuse,
)


def plan(*nodes, workers=1, gpus=0.0, trials=12, given=1, concurrent=None, fuse=None):
    nodes = [Node(*node) for node in nodes]
    return plan_resources(nodes, ResourceRequest(concurrent, workers, gpus, fuse=fuse), trials=trials, given=given)


def layout(workers, cpus, gpus, threads, concurrent, learning, fused=1):
    return ResourcePlan(TrialResources(workers, cpus, gpus, threads, fused), concurrent, learning)


@pytest.mark.parametrize(
    ("nodes", "options", "expected"),
    [
        ([(2, 0)], {}, layout(1, 1.0, 0.0, 1, 2, 2)),  # a laptop
        ([(16, 0)], {}, layout(1, 5.33, 0.0, 5, 3, 3)),  # a quarter of 12 trials at once, all CPUs used
        ([(16, 0)], {"trials": 100}, layout(1, 1.0, 0.0, 1, 16, 16)),
        ([(16, 0)], {"concurrent": 4}, layout(1, 4.0, 0.0, 4, 4, 4)),
        ([(2, 0)], {"concurrent": 4}, layout(1, 0.5, 0.0, 1, 4, 4)),  # asked for: shares of a CPU
        ([(2, 0)], {"workers": 2}, layout(2, 1.0, 0.0, 1, 1, 1)),
        ([(2, 0)], {"workers": 4}, layout(4, 0.5, 0.0, 1, 1, 1)),
        ([(1, 0)], {"trials": 1}, layout(1, 1.0, 0.0, 1, 1, 1)),
        ([(16, 1)], {"gpus": 0.5, "trials": 24}, layout(1, 8.0, 0.5, 8, 2, 2)),
        ([(32, 4), (32, 4)], {"gpus": 1.0, "workers": 4, "trials": 24}, layout(4, 8.0, 1.0, 8, 2, 2)),
        ([(16, 1)], {"gpus": None}, layout(1, 16.0, 1.0, 16, 1, 1)),
        ([(16, 1)], {"gpus": None, "workers": 2}, layout(2, 8.0, 0.5, 8, 1, 1)),
        ([(16, 2)], {"gpus": None, "workers": 5, "trials": 100}, layout(5, 3.2, 0.3333, 3, 1, 1)),
        ([(16, 2), (16, 2)], {"gpus": None, "workers": 2, "trials": 100}, layout(2, 8.0, 1.0, 8, 2, 2)),
        ([(16, 0)], {"gpus": None, "concurrent": 1}, layout(1, 16.0, 0.0, 16, 1, 1)),
        ([(4, 0), (2, 0)], {"concurrent": 3}, layout(1, 2.0, 0.0, 2, 3, 3)),  # a worker does not straddle nodes
        ([(16, 8)], {"gpus": 1.0, "trials": 9, "given": 9}, layout(1, 2.0, 1.0, 2, 8, 8)),  # a grid learns nothing
        ([(32, 36)], {"gpus": 1.0, "trials": 36, "given": 36}, layout(1, 0.88, 1.0, 1, 36, 36)),
        ([(16, 8)], {"gpus": 1.0, "trials": 9, "given": 6}, layout(1, 2.66, 1.0, 2, 6, 2)),  # six queued points
        ([(16, 8)], {"gpus": 1.0, "trials": 9, "given": 9, "concurrent": 2}, layout(1, 8.0, 1.0, 8, 2, 2)),
        ([(16, 0)], {"trials": 3, "given": 3}, layout(1, 5.33, 0.0, 5, 3, 3)),
        ([(48, 8)], {"gpus": 0.3, "trials": 36, "given": 36}, layout(1, 2.0, 0.3, 2, 24, 24)),  # three to a GPU
        ([(3, 0), (3, 0)], {"concurrent": 4}, layout(1, 1.5, 0.0, 1, 4, 4)),
        # The CPUs of a worker are on the node of its GPU.
        ([(32, 0), (8, 1)], {"gpus": None}, layout(1, 8.0, 1.0, 8, 1, 1)),
        ([(32, 0), (8, 8)], {"gpus": 1.0, "workers": 4, "concurrent": 1}, layout(4, 2.0, 1.0, 2, 1, 1)),
        ([(32, 0), (8, 8)], {"gpus": 1.0, "workers": 4}, layout(4, 1.0, 1.0, 1, 2, 2)),
        ([(4, 1), (16, 1)], {"gpus": 1.0, "concurrent": 2}, layout(1, 4.0, 1.0, 4, 2, 2)),
        ([(4, 1), (16, 1)], {"gpus": 0.5, "concurrent": 2}, layout(1, 8.0, 0.5, 8, 2, 2)),  # both on the second
        ([(4, 4), (0, 8)], {"gpus": None, "workers": 8}, layout(8, 0.5, 0.5, 1, 1, 1)),  # no CPU beside eight GPUs
        ([(16, 0), (0, 8)], {"gpus": None, "concurrent": 2}, layout(1, 8.0, 0.0, 8, 2, 2)),
        ([(16, 1)], {"gpus": None, "concurrent": 2}, layout(1, 8.0, 0.5, 8, 2, 2)),
        # Somebody else has a part of them.
        ([(3.5, 0), (0.75, 0)], {"concurrent": 5}, layout(1, 0.75, 0.0, 1, 5, 5)),
        ([(0.5, 0)], {}, layout(1, 0.5, 0.0, 1, 1, 1)),
        ([(8, 0.5)], {"gpus": 0.5}, layout(1, 8.0, 0.5, 8, 1, 1)),
        ([(8, 1.5)], {"gpus": 0.5, "trials": 24}, layout(1, 2.66, 0.5, 2, 3, 3)),
        ([(2.9999999999999996, 0)], {"concurrent": 3}, layout(1, 1.0, 0.0, 1, 3, 3)),  # as Ray's sums come out
        # Fused trials share a worker.
        ([(16, 1)], {"gpus": None, "trials": 64, "fuse": 16}, layout(1, 16.0, 1.0, 16, 16, 16, 16)),
        ([(16, 1)], {"gpus": 0.5, "trials": 64, "fuse": 8}, layout(1, 8.0, 0.5, 8, 16, 16, 8)),
        ([(16, 1)], {"gpus": None, "trials": 12, "fuse": 8}, layout(1, 16.0, 1.0, 16, 3, 3, 3)),  # three can learn
        ([(16, 2)], {"gpus": None, "trials": 9, "given": 9, "fuse": 8}, layout(1, 8.0, 1.0, 8, 9, 9, 5)),
        ([(16, 4)], {"gpus": None, "concurrent": 6, "fuse": 4}, layout(1, 8.0, 1.0, 8, 6, 6, 3)),
        ([(16, 1)], {"gpus": None, "concurrent": 6, "fuse": 2}, layout(1, 5.33, 0.3333, 5, 6, 6, 2)),
        ([(2, 0)], {"concurrent": 3, "fuse": 8}, layout(1, 2.0, 0.0, 2, 3, 3, 3)),
        ([(2, 0)], {"trials": 64, "fuse": 1}, layout(1, 1.0, 0.0, 1, 2, 2)),
    ],
)
def test_layout(nodes, options, expected):
    assert plan(*nodes, **options) == expected


@pytest.mark.parametrize(
    ("nodes", "options", "line"),
    [
        (
            [(2, 0)],
            {"workers": 100},
            "--workers 100: 100 workers do not fit on 2 CPUs: each takes at least 0.25 CPU; --workers 8 fits",
        ),
        (
            [(2, 0)],
            {"workers": 4, "concurrent": 11},
            "--workers 4 --concurrent 11: 44 workers do not fit on 2 CPUs: each takes at least 0.25 CPU; "
            "--concurrent 2 fits",
        ),
        (
            [(1, 0)],
            {"workers": 5, "concurrent": 5},
            "--workers 5 --concurrent 5: 25 workers do not fit on 1 CPU: each takes at least 0.25 CPU; "
            "--workers 1 --concurrent 4 fits",
        ),
        (
            [(16, 0)],
            {"gpus": 1.0},
            "--gpus-per-worker 1: 1 worker does not fit on 16 CPUs and 0 GPUs: each takes at least 0.25 CPU and 1 GPU; "
            "--gpus-per-worker 0 fits",
        ),
        (
            [(16, 2)],
            {"gpus": 0.6, "workers": 3},
            "--workers 3 --gpus-per-worker 0.6: 3 workers do not fit on 16 CPUs and 2 GPUs: each takes at least "
            "0.25 CPU and 0.6 GPU; --workers 2 fits",
        ),
        (
            [(16, 1)],
            {"gpus": 0.6, "concurrent": 2},
            "--concurrent 2 --gpus-per-worker 0.6: 2 workers do not fit on 16 CPUs and 1 GPU: each takes at least "
            "0.25 CPU and 0.6 GPU; --concurrent 1 fits",
        ),
        (
            [(32, 0), (1, 8)],
            {"gpus": None, "workers": 8},
            "--workers 8: 8 workers do not fit on 33 CPUs and 8 GPUs of 2 nodes: each takes at least 0.25 CPU and a "
            "share of a GPU, on one node; --workers 4 fits",
        ),
        (
            [(0.2, 0), (0.2, 0)],
            {},
            "1 worker does not fit on 0.4 CPU of 2 nodes: each takes at least 0.25 CPU, on one node; start Ray on "
            "nodes that have more",
        ),
        ([], {}, "1 worker does not fit on 0 CPUs: each takes at least 0.25 CPU; start Ray on nodes that have more"),
        (
            [(2, 0)],
            {"fuse": 4, "workers": 2},
            "--fuse 4: fused trials have one worker each, not 2; leave out one of the two",
        ),
        (
            [(1, 0)],
            {"fuse": 4, "concurrent": 17},
            "--fuse 4 --concurrent 17: 5 workers do not fit on 1 CPU: each takes at least 0.25 CPU; "
            "--concurrent 16 fits",
        ),
    ],
)
def test_what_would_wait_for_ever_is_refused_with_what_fits(nodes, options, line):
    with pytest.raises(UsageError) as caught:
        plan(*nodes, **options)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("gpus", "wrong"),
    [
        (1.5, "Ray takes parts of one GPU only"),
        (float("nan"), "Ray takes parts of one GPU only"),
        (float("inf"), "Ray takes parts of one GPU only"),
        (0.00004, "is less than Ray counts"),
    ],
)
def test_what_no_gpu_can_be_shared_into_is_refused(gpus, wrong):
    with pytest.raises(UsageError, match=f"--gpus-per-worker {gpus:g}: {wrong}; write a whole number, or a part of"):
        plan((16, 8), gpus=gpus)


def can_be_placed(nodes, workers, cpus, gpus):
    """Whether so many workers find place, one after another, each on the first node and the first GPU with room."""
    cpus, gpus = Fraction(str(cpus)), Fraction(str(gpus))
    free = []
    for node in nodes:
        there = Fraction(str(node.gpus))
        free.append([Fraction(str(node.cpus)), [Fraction(1)] * int(there) + [there - int(there)]])

    def place():
        for node in free:
            if node[0] < cpus:
                continue
            if gpus < 1:
                chosen = [card for card, left in enumerate(node[1]) if left >= gpus][:1]
            else:
                chosen = [card for card, left in enumerate(node[1]) if left == 1][: int(gpus)]
            if gpus and len(chosen) < max(1, gpus):
                continue
            node[0] -= cpus
            for card in chosen if gpus else ():
                node[1][card] -= min(gpus, 1)
            return True
        return False

    return all(place() for _ in range(workers))


NODES = st.lists(
    st.builds(
        Node,
        st.sampled_from([0, 0.2, 0.25, 0.99, 1, 1.5, 2, 2.75, 3.01, 4, 7, 8, 16, 31.37]),
        st.sampled_from([0, 0, 0.3, 0.5, 1, 1.5, 2, 4, 8]),
    ),
    max_size=4,
)
REQUESTS = st.builds(
    ResourceRequest,
    concurrent=st.one_of(st.none(), st.integers(1, 6)),
    workers=st.integers(1, 9),
    gpus_per_worker=st.sampled_from([None, 0.0, 0.1, 0.25, 0.3333, 0.5, 0.6, 1.0, 2.0, 3.0]),
)
REQUESTS |= st.builds(
    ResourceRequest,
    concurrent=st.one_of(st.none(), st.integers(1, 12)),
    workers=st.just(1),
    gpus_per_worker=st.sampled_from([None, 0.0, 0.25, 0.3333, 1.0]),
    fuse=st.integers(1, 5),
)


@settings(max_examples=500, deadline=None)
@given(nodes=NODES, request=REQUESTS, trials=st.one_of(st.none(), st.integers(1, 40)), data=st.data())
def test_what_is_planned_can_be_placed_and_no_larger_share_could(nodes, request, trials, data):
    listed = data.draw(st.integers(0, trials or 40))
    fuse = request.fuse or 1
    asked = request.workers * ceil((request.concurrent or 1) / fuse)
    shares = [request.gpus_per_worker]
    if request.gpus_per_worker is None:
        shares = [10_000 // sharers / 10_000 for sharers in range(1, asked + 1)]
        if not any(can_be_placed(nodes, 1, 0.25, share) for share in shares):
            shares = [0.0]
    possible = [share for share in shares if can_be_placed(nodes, asked, 0.25, share)]
    try:
        made = plan_resources(nodes, request, trials=trials, given=listed)
    except UsageError:
        assert not possible
        return
    each = made.per_trial
    workers = each.workers * ceil(made.concurrent / each.fused)
    assert each.fused <= fuse
    assert each.workers * ceil(made.concurrent / fuse) == workers  # no more of them than need be
    assert each.gpus == possible[0]  # the largest
    assert each.workers == request.workers
    assert can_be_placed(nodes, workers, each.cpus, each.gpus)
    assert not can_be_placed(nodes, workers, round(each.cpus + 0.01, 2), each.gpus)
    assert each.cpus >= 0.25
    assert each.threads == max(1, int(each.cpus))
    assert 1 <= made.learning <= made.concurrent
    if request.concurrent:
        assert made.concurrent == made.learning == request.concurrent


@pytest.mark.parametrize(
    ("first", "now", "options", "expected"),
    [
        # As few trials fit as nodes are left, each as before.
        ([(2, 0), (2, 0)], [(2, 0)], {"concurrent": 2}, layout(1, 2.0, 0.0, 2, 1, 1)),
        ([(16, 0), (16, 0)], [(16, 0)], {}, layout(1, 8.0, 0.0, 8, 2, 2)),
        # Not even one does.
        ([(1, 0), (1, 0)], [(1, 0)], {"workers": 2}, layout(2, 0.5, 0.0, 1, 1, 1)),
        # A node that joins is used, by more trials or by more for each.
        ([(2, 0)], [(2, 0), (2, 0)], {"trials": 100}, layout(1, 1.0, 0.0, 1, 4, 4)),
        ([(16, 0)], [(16, 0), (16, 0)], {}, layout(1, 8.0, 0.0, 8, 3, 3)),
        ([(1, 0)], [(1, 0), (1, 0)], {"workers": 2}, layout(2, 1.0, 0.0, 1, 1, 1)),
        # So is what the lost node's few CPUs had kept from being used.
        ([(8, 8), (32, 4)], [(32, 4)], {"gpus": 1.0, "trials": 100}, layout(1, 8.0, 1.0, 8, 4, 4)),
        # Of what was asked for, as much as is possible.
        ([(8, 2), (8, 2)], [(8, 2)], {"gpus": 1.0, "concurrent": 3}, layout(1, 4.0, 1.0, 4, 2, 2)),
        # All trials of a search run on one kind of device while that is possible.
        ([(16, 0)], [(16, 0), (8, 8)], {"gpus": None, "trials": None}, layout(1, 1.0, 0.0, 1, 24, 24)),
        ([(8, 1), (4, 0)], [(4, 0)], {"gpus": None, "concurrent": 1}, layout(1, 4.0, 0.0, 4, 1, 1)),
        ([(4, 0)], [(4, 0), (16, 1)], {"gpus": None, "concurrent": 1}, layout(1, 16.0, 0.0, 16, 1, 1)),
    ],
)
def test_layout_when_nodes_have_come_or_gone(first, now, options, expected):
    asked = ResourceRequest(options.get("concurrent"), options.get("workers", 1), options.get("gpus", 0.0))
    nodes = [Node(*node) for node in now]
    assert lay_anew(plan(*first, **options), nodes, asked, trials=options.get("trials", 12), given=1) == expected


@settings(max_examples=300, deadline=None)
@given(nodes=NODES, request=REQUESTS, trials=st.one_of(st.none(), st.integers(1, 40)), data=st.data())
def test_what_is_laid_anew_can_be_placed_and_is_the_first_plan_again_on_the_first_nodes(nodes, request, trials, data):
    listed = data.draw(st.integers(0, trials or 40))

    def laid(some):
        return lay_anew(first, some, request, trials=trials, given=listed)

    try:
        first = plan_resources(nodes, request, trials=trials, given=listed)
    except UsageError:
        return
    left = data.draw(st.lists(st.sampled_from(range(len(nodes))), unique=True)) if nodes else []
    less = [nodes[index] for index in left]
    each = first.per_trial
    with suppress(UsageError):  # not one trial fits: they wait
        now = laid(less)
        workers = now.per_trial.workers * ceil(now.concurrent / now.per_trial.fused)
        assert can_be_placed(less, workers, now.per_trial.cpus, now.per_trial.gpus)
        assert 1 <= now.learning <= now.concurrent
        if (now.per_trial.cpus, now.per_trial.gpus) < (each.cpus, each.gpus):
            assert not can_be_placed(less, each.workers, each.cpus, each.gpus)
    again = data.draw(st.permutations(nodes))  # lost nodes come back as others, in some order
    assert laid(again) == first
    grown = laid([*again, Node(8, 8)])
    assert grown.per_trial.cpus >= each.cpus
    assert grown.concurrent >= first.concurrent or grown.per_trial.cpus > each.cpus


@pytest.mark.parametrize(
    ("free", "each", "line"),
    [
        (
            [Node(3, 0, "a"), Node(1, 1, "b")],
            TrialResources(2, 4.0, 1.0, 4),
            "waiting for 2 workers of 4 CPUs and 1 GPU each; free are 1 CPU and 1 GPU on b, 3 CPUs and 0 GPUs on a",
        ),
        (
            [Node(0.5, 0)],
            TrialResources(1, 1.0, 0.0, 1),
            "waiting for 1 worker of 1 CPU; free are 0.5 CPU on this machine",
        ),
        ([], TrialResources(2, 0.5, 0.0, 1), "waiting for 2 workers of 0.5 CPU each; there is no node"),
        (
            [Node(index / 4, 0, f"n{index}") for index in range(9)],
            TrialResources(4, 8.0, 0.0, 8),
            "waiting for 4 workers of 8 CPUs each; free are 2 CPUs on n8, 1.75 CPUs on n7, 1.5 CPUs on n6, "
            "1.25 CPUs on n5, no more on 5 other nodes",
        ),
    ],
)
def test_what_a_trial_waits_for_and_what_is_free(free, each, line):
    assert describe_lack(free, ResourcePlan(each, 1, 1)) == line


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (layout(1, 1.0, 0.0, 1, 2, 2), "2 trials at once, 1 worker a trial, 1 CPU and no GPU a worker"),
        (layout(1, 8.0, 0.5, 8, 16, 16, 8), "16 trials at once, 8 fused in a worker, 8 CPUs and 0.5 GPU a worker"),
        (
            layout(4, 7.99, 0.5, 8, 6, 2),
            "6 trials at once (2 once the sampler learns), 4 workers a trial, 7.99 CPUs and 0.5 GPU a worker",
        ),
    ],
)
def test_a_layout_in_words(made, words):
    assert str(made) == words


def test_as_many_trials_as_the_time_allows_take_all_slots():
    assert plan((16, 0), trials=None) == layout(1, 1.0, 0.0, 1, 16, 16)


def test_what_a_resume_leaves_open_is_as_it_was():
    kept = ResourceRequest(concurrent=3, workers=2, gpus_per_worker=0.5)
    assert ResourceRequest(workers=4).or_else(kept) == ResourceRequest(3, 4, 0.5)
    assert ResourceRequest(cpus=8).or_else(kept) == ResourceRequest(3, 2, 0.5, 8)
    assert ResourceRequest(gpus_per_worker=0.0).or_else(kept) == ResourceRequest(3, 2, 0.0)


def test_fuse_is_a_number_of_trials_or_auto():
    assert [read_fuse(asked) for asked in (None, "auto", 1, "1", "12", 8)] == [
        (None, False), (None, True), (1, False), (1, False), (12, False), (8, False),
    ]  # fmt: skip


@pytest.mark.parametrize("asked", ["0", 0, -2, "-2", "1.5", 2.0, "many", "Auto", True])
def test_any_other_fuse_is_refused(asked):
    with pytest.raises(UsageError, match=f"^--fuse {asked}: is no number of trials; write a whole number from 1, or a"):
        read_fuse(asked)
