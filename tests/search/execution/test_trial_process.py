"""What a trial says of itself when it cannot go on."""

import json
import os
from dataclasses import replace

import pytest

from cmd_tune.compute import native
from cmd_tune.errors import CmdTuneError, DataError, DiskFull, Diverged, OutOfMemory, UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution import TrialReport, TrialResources, TrialTask
from cmd_tune.search.execution.trial_process import failure_report, run_task
from cmd_tune.search.study.trial_record import TrialRecord
from cmd_tune.yaml_files import read_yaml

ALONE = TrialResources(workers=1, cpus=1.0, gpus=0.0, threads=1)


@pytest.fixture
def reports(tiny_store, tiny, tmp_path):
    """Runs a trial with settings changed and returns what it reported."""

    def run(changes, path=tiny_store.path, threads=1):
        told = []
        resources = replace(ALONE, threads=threads)
        task = TrialTask(0, tmp_path, tiny(**changes), DataSource(path, "xview"), resources)
        last = run_task(task, told.append)
        return [*told, last]

    return run


def without_usage(record):
    """Without what the process took, which no checkpoint keeps."""
    return {name: value for name, value in record.items() if not name.startswith("system/")}


def test_a_trial_reports_each_epoch(reports):
    *said, last = reports({})
    assert last == TrialReport()
    told = [record for report in said for record in report.records]
    assert [record["epoch"] for record in told] == [1, 2, 3]
    assert told[-1].keys() >= {"loss/total", "accuracy/bone", "learning_rate", "val/knn/fused", "val/linear/joint"}
    for record in told:
        assert record["system/cpu_utilization_percentage"] > 0
        assert 50 < record["system/system_memory_usage_megabytes"] < 100_000


def test_a_resumed_trial_reports_its_history_at_once(reports):
    told = reports({"epochs": 2, "schedule": "step"})
    again, _ = reports({"epochs": 2, "schedule": "step"})
    assert again == TrialReport([without_usage(record) for report in told for record in report.records])


def test_what_falls_back_to_something_slower_is_reported_once(reports, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler --fast")
    native._library.cache_clear()
    try:
        told = reports({})
    finally:
        native._library.cache_clear()
    assert [bool(report.slower) for report in told] == [True, False, False, False]
    assert "there is no compiler 'no-such-compiler'; install one, or name one in CXX" in told[0].slower


def test_a_damaged_checkpoint_is_reported_and_no_epoch_is_recorded_twice(reports, tiny_store, tiny, tmp_path):
    class Killed(BaseException): ...

    record = TrialRecord(0, {}, tmp_path)

    def until_the_third(report):
        assert all(record.take(epoch) for epoch in report.records)
        if record.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        run_task(TrialTask(0, tmp_path, tiny(epochs=4), DataSource(tiny_store.path, "xview"), ALONE), until_the_third)
    before = list(record.history)
    os.truncate(tmp_path / "checkpoint.pt", 3000)
    *told, _ = reports({"epochs": 4})
    assert [[epoch["epoch"] for epoch in report.records] for report in told] == [[1, 2], [3], [4]]
    assert told[0].slower.endswith("; checkpoint-before.pt, of epoch 2, is used in its place")
    assert [record.take(epoch) for report in told for epoch in report.records] == [False, False, False, True]
    assert record.history[:3] == before
    again, first = (
        {**without_usage(epoch), "seconds": 0.0, "cost/seconds": 0.0} for epoch in (told[1].records[0], before[2])
    )
    assert again == first


@pytest.mark.parametrize(
    ("changes", "failure", "kind"),
    [
        ({"student_temperature": 1e-40}, "in epoch 1; lower learning_rate or raise the temperatures", "Diverged"),
        ({"batch_size": 64}, "batch_size 64: there are only 36 clips to pretrain on; make it smaller", "UsageError"),
        (
            {"queue_size": 2**50},
            "out of memory; lower batch_size, frames, hidden_size, --concurrent or --fuse",
            "OutOfMemory",
        ),
    ],
)
def test_what_ends_it_is_its_last_report(reports, changes, failure, kind):
    last = reports(changes)[-1]
    assert last == TrialReport(failure=last.failure, kind=kind)
    assert failure in last.failure


def test_data_that_a_node_does_not_see_is_named(reports, tmp_path):
    assert "no such file" in reports({}, tmp_path / "elsewhere.arrow")[-1].failure


def test_a_defect_is_no_outcome_of_a_trial(reports):
    """It must reach Ray, which starts the trial again, and not pass for a bad configuration."""
    with pytest.raises(RuntimeError, match="positive"):
        reports({}, threads=0)


def test_a_task_is_the_same_in_another_process(tiny, tmp_path):
    task = TrialTask(7, tmp_path, tiny(modalities=("joint", "bone")), DataSource(tmp_path / "a.arrow", "xsub"), ALONE)
    values = json.loads(json.dumps(task.to_plain()))
    assert TrialTask.from_plain(values) == task
    values["settings"]["no_such_setting"] = 1
    with pytest.raises(ValueError, match="no_such_setting"):
        TrialTask.from_plain(values)


def test_where_each_sitting_took_place_is_written_down_by_who_computes(reports, tmp_path):
    for _ in range(2):
        reports({"epochs": 1})
    first, second = read_yaml(tmp_path / "environment.yaml")
    assert first["cpu_threads"] == second["cpu_threads"] == ALONE.threads
    assert first.keys() == second.keys() >= {"started", "gpu", "git_commit", "packages"}
    assert first["started"] <= second["started"]


@pytest.mark.parametrize("kind", [DataError, CmdTuneError, DiskFull, Diverged, UsageError, OutOfMemory])
def test_what_a_trial_cannot_go_on_for_has_a_kind_and_is_one_line(kind):
    assert failure_report(kind("a", "b\nc")) == TrialReport(failure="a; b c", kind=kind.__name__)
