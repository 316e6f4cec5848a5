"""What a trial says of itself when it cannot go on."""

import pytest

from cmd_tune.compute import native
from cmd_tune.errors import CmdTuneError, DataError, Diverged, OutOfMemory, UsageError
from cmd_tune.plain_yaml import read_yaml
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution.resources import Machine
from cmd_tune.search.execution.trial_process import (
    FAILURE,
    KIND,
    RECORDS,
    SLOWER,
    failure_report,
    group_failure,
    run_worker,
    trial_config,
)

ALONE = Machine(workers=1, cpus=1.0, gpus=0.0, threads=1, concurrent=1, learning=1)


@pytest.fixture
def reports(tiny_store, tiny, tmp_path):
    """Runs a trial with settings changed and returns what it reported."""

    def run(changes, path=tiny_store.path):
        told = []
        config = trial_config(0, tmp_path, tiny(), DataSource(path, "xview"), ALONE)
        config["settings"] |= changes
        run_worker(config, told.append)
        return told

    return run


def test_a_trial_reports_each_epoch(reports):
    told = reports({})
    assert [record["epoch"] for record in told] == [1, 2, 3]
    assert told[-1].keys() >= {"loss/total", "accuracy/bone", "learning_rate", "val/knn/fused", "val/linear/joint"}


def test_a_resumed_trial_reports_its_history_at_once(reports):
    """Each report costs Train a fifth of a second: 451 of them a minute and a half."""
    told = reports({"epochs": 2, "schedule": "step"})
    (again,) = reports({"epochs": 2, "schedule": "step"})
    assert again == {**told[-1], RECORDS: told}


def test_what_falls_back_to_something_slower_is_reported_once(reports, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler --fast")
    native._library.cache_clear()
    try:
        told = reports({})
    finally:
        native._library.cache_clear()
    assert [SLOWER in record for record in told] == [True, False, False]
    assert "there is no compiler 'no-such-compiler'; install one, or name one in CXX" in told[0][SLOWER]


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"student_temperature": 1e-40}, "in epoch 1; lower learning_rate or raise the temperatures"),
        ({"batch_size": 64}, "batch_size 64: there are only 36 clips to pretrain on; make it smaller"),
        ({"hidden_size": 300_000}, "out of memory; lower batch_size, hidden_size or --concurrent"),
    ],
)
def test_what_ends_it_is_its_last_report(reports, changes, failure):
    told = reports(changes)
    assert list(told[-1]) == [FAILURE]
    assert failure in told[-1][FAILURE]


def test_data_that_a_node_does_not_see_is_named(reports, tmp_path):
    assert "no such file" in reports({}, tmp_path / "elsewhere.arrow")[-1][FAILURE]


def test_a_defect_is_no_outcome_of_a_trial(reports):
    """It must reach Ray, which starts the trial again, and not pass for a bad configuration."""
    with pytest.raises(ValueError, match="no_such_setting"):
        reports({"no_such_setting": 1})


def test_where_each_sitting_took_place_is_written_down_by_who_computes(reports, tmp_path):
    for _ in range(2):
        reports({"epochs": 1})
    first, second = read_yaml(tmp_path / "environment.yaml")
    assert first["cpu_threads"] == second["cpu_threads"] == ALONE.threads
    assert first.keys() == second.keys() >= {"started", "gpu", "git_commit", "packages"}
    assert first["started"] <= second["started"]


def test_the_worker_that_failed_is_named_not_those_that_lost_it():
    """Ranks as Ray Train has them; the words of gloo where the other end of a connection is gone."""
    lost = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:31041")
    unread = DataError("worker 1 on node-b: data.arrow: no such file")
    assert group_failure({0: lost, 1: unread}) is unread
    assert str(group_failure({0: lost, 2: ValueError("of rank 2\nmore")})) == "worker 2: of rank 2"
    assert str(group_failure({0: lost, 1: lost})).startswith("worker 0: [../gloo")


@pytest.mark.parametrize("error", [DataError("a"), CmdTuneError("a")])
def test_what_is_not_of_a_trials_values_has_a_kind(error):
    assert failure_report(error) == {FAILURE: "a", KIND: type(error).__name__}


@pytest.mark.parametrize("error", [Diverged("a"), UsageError("a"), OutOfMemory("a")])
def test_what_is_of_a_trials_values_has_none(error):
    assert failure_report(error) == {FAILURE: "a"}
