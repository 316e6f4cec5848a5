"""Searches with fused trials: the trials and scores of a search without, also when their process dies."""

import os
import signal

import pytest
import torch
import yaml

from tests.end_to_end.searches import GRID, epochs_done, finish, mlflow_runs, search, trials, wait_for
from tests.end_to_end.test_hosts import processes_below

pytestmark = pytest.mark.long

SIX = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.03, 0.05, 0.1, 0.2, 0.4]}}}


def scores(cwd):
    """What trials.csv says of each trial but what it took."""
    took = ("seconds", "cost/", "system/", "started", "ended")
    return [{key: x for key, x in row.items() if not any(word in key for word in took)} for row in trials(cwd)]


@pytest.fixture(scope="module")
def apart(tmp_path_factory, tiny_store):
    """A search of six trials, each by itself."""
    cwd = tmp_path_factory.mktemp("apart")
    finish(search(cwd, tiny_store, SIX, "--concurrent", 1))
    return cwd


def test_fused_trials_have_the_scores_of_trials_by_themselves(apart, tiny_store, tmp_path):
    output = finish(search(tmp_path, tiny_store, SIX, "--fuse", 3, "--cpus", 1))
    assert "layout: 3 trials at once, 3 fused in a worker, 1 CPU and no GPU a worker" in output
    for ours, theirs in zip(scores(tmp_path), scores(apart), strict=True):
        assert ours.keys() == theirs.keys()
        for name, x in theirs.items():
            assert ours[name] == x or float(ours[name]) == pytest.approx(float(x), rel=1e-3), name
    plan = yaml.safe_load((tmp_path / "runs" / "it" / "search.yaml").read_text())
    assert (plan["fuse"], plan["per_trial"]["fused"]) == (3, 3)
    _, runs = mlflow_runs(tmp_path)
    assert sum(name.startswith("trial") for name in runs) == 6


def test_a_killed_process_costs_its_trials_what_came_after_their_checkpoints(apart, tiny_store, tmp_path):
    process = search(tmp_path, tiny_store, SIX, "--fuse", 3, "--cpus", 1)
    wait_for(lambda: min(epochs_done(tmp_path, trial) for trial in range(3)) >= 2, process)
    (host,) = processes_below(process.pid, "ray::_be_host")
    os.kill(host, signal.SIGKILL)
    finish(process)
    found, expected = scores(tmp_path), scores(apart)
    assert [row["state"] for row in found] == ["finished"] * 6
    for ours, theirs in zip(found, expected, strict=True):
        assert float(ours["val/knn/fused"]) == pytest.approx(float(theirs["val/knn/fused"]), rel=1e-3)
    for trial in range(6):
        assert epochs_done(tmp_path, trial) == 4


def test_fused_trials_are_stopped_early_and_their_places_are_taken(tiny_store, tmp_path):
    space = {
        **GRID,
        "method": "random",
        "budget": {"trials": 12},
        "parameters": {"teacher_temperature": {"min": 0.01, "max": 1.0, "distribution": "log_uniform_values"}},
        "early_terminate": {"type": "asha", "grace_period": 1, "reduction_factor": 2},
    }
    finish(search(tmp_path, tiny_store, space, "--fuse", 4, "--cpus", 1, epochs=8))
    rows = trials(tmp_path)
    assert len(rows) == 12
    assert {row["state"] for row in rows} == {"finished", "stopped early"}
    assert all(int(row["epoch"]) < 8 for row in rows if row["state"] == "stopped early")


@pytest.mark.parametrize(
    ("space", "words", "line"),
    [
        (SIX, ["--fuse", "many"], "--fuse many: is no number of trials; write a whole number from 1, or auto"),
        (SIX, ["--fuse", "auto", "--address", "auto"], "--fuse auto: is measured on this machine, and the cluster at"),
        (SIX, ["--fuse", "auto", "--resume", "it"], "--fuse auto: is measured for a new search, and --resume keeps"),
        (SIX, ["--fuse", 2, "--workers", 2], "--fuse 2: fused trials have one worker each, not 2; leave out one"),
        (
            {**GRID, "parameters": {"precision": {"values": ["float32", "bfloat16"]}}},
            ["--fuse", 2],
            "--fuse 2: trials of space.yaml differ in precision (float32, bfloat16), of which a worker has one",
        ),
    ],
)
def test_what_cannot_be_fused_is_one_line(space, words, line, tiny_store, tmp_path):
    assert line in finish(search(tmp_path, tiny_store, space, *words), code=2)
    assert not (tmp_path / "runs" / "it").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_auto_is_one_where_there_is_no_gpu_and_is_kept(tiny_store, tmp_path):
    output = finish(search(tmp_path, tiny_store, GRID, "--fuse", "auto"))
    assert "fuse auto: 1, since there is no GPU" in output
    assert yaml.safe_load((tmp_path / "runs" / "it" / "search.yaml").read_text())["fuse"] == 1
