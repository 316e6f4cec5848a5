"""One trial's record, and the files of its folder that hold it, also after a kill."""

import json

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.study.trial_record import HISTORY, TrialRecord


@pytest.fixture
def trial(tmp_path):
    return TrialRecord(7, {"topk": 4}, tmp_path)


def again(trial):
    """The trial as a later session reads it."""
    found = TrialRecord(trial.index, trial.values, trial.folder)
    found.read_files()
    return found


def test_names_sort_as_numbers_do_up_to_a_thousand(tmp_path):
    assert [TrialRecord(index, {}, tmp_path).name for index in (0, 42, 999, 1000)] == [
        "trial-000", "trial-042", "trial-999", "trial-1000",
    ]  # fmt: skip


def test_the_latest_value_of_a_metric_may_be_of_an_earlier_epoch(trial):
    assert (trial.epoch, trial.last("loss/total")) == (0, None)
    trial.append({"epoch": 1, "loss/total": 3.0, "val/knn/fused": 40.0})
    trial.append({"epoch": 2.0, "loss/total": 0.0})
    assert (trial.epoch, trial.last("loss/total"), trial.last("val/knn/fused")) == (2, 0.0, 40.0)
    assert trial.last("test/knn/fused") is None


def test_what_is_written_is_read_to_the_last_bit(trial):
    records = [{"epoch": 1, "loss/total": 0.1 + 0.2}, {"epoch": 2, "loss/total": 1e-300, "val/knn/fused": 1 / 3}]
    for record in records:
        trial.append(record)
        record["loss/total"] = 9.0  # the loop's own afterwards
    trial.record_test({"test/knn/fused": 200 / 3})
    found = again(trial)
    assert [record["loss/total"] for record in trial.history] == [0.1 + 0.2, 1e-300]
    assert (found.history, found.test_scores) == (trial.history, {"test/knn/fused": 200 / 3})
    trial.record_test({"test/knn/joint": 1.0})
    assert again(trial).test_scores == {"test/knn/joint": 1.0}


def test_a_folder_without_files_is_a_trial_that_has_not_begun(trial):
    assert (again(trial).history, again(trial).test_scores) == ([], {})


@pytest.mark.parametrize("kept", [0, 1, 20, 24, 25])
def test_a_line_that_a_kill_cut_short_is_cut_from_the_file_and_the_history_goes_on(trial, kept):
    """Of two lines, the second one's first `kept` of 25 characters and no newline were written."""
    first = json.dumps({"epoch": 1, "loss/total": 3.0}) + "\n"
    second = json.dumps({"epoch": 2, "lr": 0.125})
    assert len(second) == 25
    path = trial.folder / HISTORY
    path.write_text(first + second[:kept], encoding="utf-8")
    found = again(trial)
    assert found.epoch == 1
    assert path.read_text(encoding="utf-8") == first
    found.append({"epoch": 2, "lr": 0.25})
    assert [record["epoch"] for record in again(trial).history] == [1, 2]


def test_a_kill_in_the_first_line_leaves_nothing(trial):
    (trial.folder / HISTORY).write_text('{"epoch": 1, "lo', encoding="utf-8")
    assert again(trial).history == []
    assert (trial.folder / HISTORY).read_text(encoding="utf-8") == ""


def test_an_epoch_that_cannot_be_written_is_not_recorded(trial):
    (trial.folder / HISTORY).mkdir()
    with pytest.raises(CmdTuneError) as caught:
        trial.append({"epoch": 1, "loss/total": 3.0})
    assert str(caught.value) == f"{trial.folder / HISTORY}: cannot be written: Is a directory"
    assert trial.history == []
