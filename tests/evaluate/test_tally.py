"""Right answers counted by subject, and what is made of them."""

import numpy as np
import pytest

from cmd_tune.errors import DataError
from cmd_tune.evaluate.intervals import clustered_interval, difference_interval, group_queries, wilson_interval
from cmd_tune.evaluate.tally import Tally, count_hits, read_tally, write_tally

TALLY = Tally([4, 2], {"a": [3, 2], "b": [1, 2]}, True)


def test_hits_are_counted_by_subject():
    groups = group_queries(np.array([7, 3, 7, 7, 3, 7], np.int32))
    hits = {"a": np.array([1, 1, 0, 1, 1, 1], bool), "b": np.zeros(6, bool)}
    assert count_hits(groups, hits) == Tally([2, 4], {"a": [2, 3], "b": [0, 0]}, True)


def test_a_share_and_its_interval():
    assert TALLY.percent("a") == pytest.approx(100 * 5 / 6)
    assert TALLY.interval("a") == clustered_interval([3, 2], [4, 2])
    assert Tally([1] * 6, {"a": [1, 1, 1, 0, 1, 1]}, False).interval("a") == wilson_interval(100 * 5 / 6, 6)
    assert TALLY.interval("c") is None


def test_a_difference_is_of_the_same_clips():
    other = Tally([4, 2], {"a": [1, 2]}, True)
    assert TALLY.above(other, "a") == difference_interval([3, 2], [1, 2], [4, 2])
    assert TALLY.above(other, "b") is None  # not counted there
    assert TALLY.above(Tally([2, 4], {"a": [1, 2]}, True), "a") is None
    assert Tally([6], {"a": [5]}, True).above(Tally([6], {"a": [4]}, True), "a") is None  # of one there is no spread


def test_it_is_kept_in_a_file(tmp_path):
    assert read_tally(tmp_path / "tally.json") is None
    write_tally(tmp_path / "tally.json", TALLY)
    assert read_tally(tmp_path / "tally.json") == TALLY
    whole = '{"clips": [4, 2], "right": {"a": [3, 2]}, "by_subject": true}'
    others = [whole.replace(*change) for change in (("[3, 2]", "[3]"), ("[3, 2]", "[3, 5]"), ("3", "null"))]
    others += [whole.replace("[4, 2]", "[4, 0]"), whole.replace("true", "1"), whole.replace('{"a": [3, 2]}', "3")]
    for content in ("[", "[]", '{"clips": [1]}', *others):
        (tmp_path / "tally.json").write_text(content)
        with pytest.raises(DataError, match=r"tally.json: is no count of right answers; remove it"):
            read_tally(tmp_path / "tally.json")


def test_what_an_interval_rests_on():
    assert TALLY.describe() == "over 6 clips, those of each of 2 subjects taken together"
    assert Tally([1, 1], {}, False).describe().startswith("over 2 clips as if independent: ")
