"""Searches with fused trials: the trials and scores of a search without, also when their process dies."""

import os
import signal

import pytest
import torch
import yaml

from cmd_tune.errors import CmdTuneError
from tests.end_to_end.searches import GRID, epochs_done, finish, mlflow_runs, search, trials, wait_for
from tests.end_to_end.test_hosts import processes_below
from tests.typed import refused

pytestmark = pytest.mark.long


def scores(cwd):
    """What trials.csv says of each trial but what it took."""
    return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in trials(cwd)[:3]]


def test_a_killed_process_costs_its_trials_what_came_after_their_checkpoints(unbroken, tiny_store, tmp_path):
    """Afterwards they have the scores of trials by themselves, each once."""
    process = search(tmp_path, tiny_store, GRID, "--fuse", 3, "--cpus", 1)
    wait_for(lambda: min(epochs_done(tmp_path, trial) for trial in range(3)) >= 1, process)
    (host,) = processes_below(process.pid, "ray::_be_host")
    os.kill(host, signal.SIGKILL)
    output = finish(process)
    assert "layout: 3 trials at once, 3 fused in a worker, 1 CPU and no GPU a worker" in output
    for ours, theirs in zip(scores(tmp_path), scores(unbroken[0]), strict=True):
        assert ours.keys() == theirs.keys()
        for name, x in theirs.items():
            assert ours[name] == x or float(ours[name]) == pytest.approx(float(x), rel=1e-3), name
    assert [epochs_done(tmp_path, trial) for trial in range(3)] == [4, 4, 4]
    plan = yaml.safe_load((tmp_path / "runs" / "it" / "search.yaml").read_text())
    assert (plan["fuse"], plan["per_trial"]["fused"]) == (3, 3)
    _, runs = mlflow_runs(tmp_path)
    assert sorted(name for name in runs if name.startswith("trial")) == ["trial-000", "trial-001", "trial-002"]


@pytest.mark.slow
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
    ("words", "line"),
    [
        (["--fuse", "many"], "--fuse many: is no number of trials; write a whole number from 1, or auto"),
        (["--fuse", "auto", "--resume", "it"], "--fuse auto: is measured for a new search, and --resume keeps"),
        (
            ["--fuse", 2],
            "--fuse 2: trials of space.yaml differ in precision (float32, bfloat16), of which a worker has",
        ),
    ],
)
def test_what_cannot_be_fused_is_one_line(words, line, tmp_path, monkeypatch):
    """In this process, as in test_mistakes.py."""
    space = {**GRID, "parameters": {"precision": {"values": ["float32", "bfloat16"]}}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    asked = words if "--resume" in words else ["--space", "space.yaml", *words]
    monkeypatch.chdir(tmp_path)
    error = refused("search", *asked, kind=CmdTuneError)
    assert error.exit_code == 2
    (said,) = error.lines
    assert said.startswith(line)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_auto_is_one_where_there_is_no_gpu_and_is_kept(tiny_store, tmp_path):
    output = finish(search(tmp_path, tiny_store, GRID, "--fuse", "auto"))
    assert "fuse auto: 1, since there is no GPU" in output
    assert yaml.safe_load((tmp_path / "runs" / "it" / "search.yaml").read_text())["fuse"] == 1
