"""A score beside those of the baselines on the same clips."""

import pytest

from cmd_tune.errors import DataError
from cmd_tune.evaluate.intervals import wilson_interval
from cmd_tune.evaluate.tally import Tally, read_tally, write_tally
from cmd_tune.runs.baseline_comparison import against_baselines
from cmd_tune.runs.pretrain_and_score import RAW_TALLY, TEST_TALLY

CLIPS, OURS = [50, 50, 60, 40], [45, 40, 54, 34]
METRIC = "test/knn/fused"


def tally(right, *, by_subject=True, clips=CLIPS):
    return Tally(clips, {METRIC: right}, by_subject)


def test_without_subjects_it_is_said_that_clips_are_taken_as_independent(tmp_path):
    ones = tally([1, 0, 1, 1], by_subject=False, clips=[1, 1, 1, 1])
    write_tally(tmp_path / TEST_TALLY, ones)
    low, high = wilson_interval(75, 4)
    assert against_baselines("this run", METRIC, tmp_path, tmp_path) == (
        f"{METRIC}: this run 75.0 ({low:.1f}–{high:.1f}). 95 % intervals over 4 clips as if independent: "
        "subjects are not known, so that they may be too narrow; they do not cover what other seeds would change."
    )


def test_what_was_not_counted_or_on_other_clips_is_not_compared(tmp_path):
    assert against_baselines("it", METRIC, tmp_path, tmp_path) == ""
    write_tally(tmp_path / TEST_TALLY, tally(OURS))
    assert against_baselines("it", "test/knn/bone", tmp_path, tmp_path) == ""
    write_tally(tmp_path / RAW_TALLY, tally([1, 2], clips=[5, 5]))
    assert "raw" not in against_baselines("it", METRIC, tmp_path, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3"])
def test_a_count_that_is_none_is_named(tmp_path, text):
    (tmp_path / TEST_TALLY).write_text(text)
    with pytest.raises(DataError, match=r"test_by_subject\.json: is no count of right answers; remove it"):
        read_tally(tmp_path / TEST_TALLY)
