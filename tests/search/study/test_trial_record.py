"""One trial's record, and the files of its folder that hold it, also after a kill."""

import json

import pytest

from cmd_tune.errors import CmdTuneError, DiskFull
from cmd_tune.runs.pretrain_and_score import TEST_SCORES
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
def test_a_line_that_a_kill_cut_short_is_cut_from_the_file_when_the_history_goes_on(trial, kept):
    """Of two lines, the second one's first `kept` of 25 characters and no newline were written."""
    first = json.dumps({"epoch": 1, "loss/total": 3.0}) + "\n"
    second = json.dumps({"epoch": 2, "lr": 0.125})
    assert len(second) == 25
    path = trial.folder / HISTORY
    path.write_text(first + second[:kept], encoding="utf-8")
    found = TrialRecord(trial.index, trial.values, trial.folder)
    said = f"{path}: its last line was cut short; that epoch is recorded again"
    assert found.read_files() == ([said] if kept else [])
    assert found.epoch == 1
    assert path.read_text(encoding="utf-8") == first + second[:kept]  # reading writes nothing
    found.append({"epoch": 2, "lr": 0.25})
    assert path.read_text(encoding="utf-8") == first + '{"epoch": 2, "lr": 0.25}\n'
    assert [record["epoch"] for record in again(trial).history] == [1, 2]


def test_a_kill_in_the_first_line_leaves_nothing(trial):
    (trial.folder / HISTORY).write_text('{"epoch": 1, "lo', encoding="utf-8")
    found = again(trial)
    assert found.history == []
    found.append({"epoch": 1})
    assert again(trial).history == [{"epoch": 1}]


WHOLE = '{"epoch": 1, "loss/total": 3.0}\n'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (WHOLE + '{"epoch": 2, "lo\n{"epoch": 3}\n', 2),
        (WHOLE + "\n{}\n", 2),
        (WHOLE + '{"loss/total": 2.0}\n', 2),
        (WHOLE + WHOLE, 2),  # an epoch that is there already
        (WHOLE + '{"epoch": 2, "loss/total": "low"}\n', 2),
        ("[1]\n" + WHOLE, 1),
        ("\0\xff\xfe\n" * 3, 1),
        ("[" * 100_000 + "\n", 1),
    ],
)
def test_a_damaged_history_is_named_by_its_line_and_left_as_it_is(trial, content, line):
    path = trial.folder / HISTORY
    path.write_text(content, encoding="latin-1")
    before = path.read_bytes()
    with pytest.raises(CmdTuneError) as caught:
        again(trial)
    assert str(caught.value).startswith(f"{path}: line {line} is no record of an epoch; restore it, or remove it")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", '{"test/knn/fused": 1', '{"test/knn/fused": "x"}', "\0\xff"])
def test_damaged_scores_are_named(trial, content):
    (trial.folder / TEST_SCORES).write_text(content, encoding="latin-1")
    with pytest.raises(CmdTuneError, match=r"test\.json: holds no scores; restore it, or remove it to have the trial"):
        again(trial)


def test_what_lies_beside_a_trials_files_is_left_alone(trial):
    for name in ("refit-3", "refit-x", "notes.txt"):
        (trial.folder / name).write_text("mine")
    assert again(trial).refits == {}


def test_a_full_disk_is_called_one_and_leaves_no_half_line(trial):
    """Of /dev/full, which every write to fails as on a full disk."""
    (trial.folder / HISTORY).symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"history\.jsonl: cannot be written: the disk is full"):
        trial.append({"epoch": 1})
    assert trial.history == []


def test_an_epoch_that_cannot_be_written_is_not_recorded(trial):
    (trial.folder / HISTORY).mkdir()
    with pytest.raises(CmdTuneError) as caught:
        trial.append({"epoch": 1, "loss/total": 3.0})
    assert str(caught.value) == f"{trial.folder / HISTORY}: cannot be written: Is a directory"
    assert trial.history == []
