"""A search under a limit of its CPUs."""

import os

import pytest

from tests.end_to_end.searches import GRID, finish, search, trials

pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture
def one_cpu():
    """What is started runs on one CPU, as under `taskset -c`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def test_a_search_on_one_cpu_runs_one_trial_at_a_time(one_cpu, tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.05, 0.2]}}}
    lines = finish(search(tmp_path, tiny_store, space, epochs=1)).splitlines()
    assert lines[1] == "layout: 1 trial at a time, 1 worker a trial, 1 CPU and no GPU a worker"
    assert [trial["state"] for trial in trials(tmp_path)] == ["finished", "finished"]
