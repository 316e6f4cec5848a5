"""Scores of cells by seed: means, intervals and differences by hand."""

from dataclasses import replace

import pytest

from cmd_tune.evaluate.intervals import clustered_interval, wilson_interval
from cmd_tune.evaluate.tally import Tally, write_tally
from cmd_tune.runs.pretrain_and_score import TEST_TALLY
from cmd_tune.search.report.cell_results import CellResult, cell_results, cells_columns, claimed_pairs, judge_claim
from cmd_tune.search.report.verdicts import Verdict
from cmd_tune.search.spaces.comparison import Cell, Claim, Comparison, Relation
from cmd_tune.settings import Settings
from tests.search.report.tables import HERE, METRICS, SUBJECTS


def test_means_intervals_and_differences(table_space, played):
    study = played(table_space([0, 1, 2]), {(4, s): x for s, x in enumerate((61, 62, 63))} | {(8, 0): 70, (8, 2): 74})
    rows = {
        (m.cell.values["topk"], m.metric): m for m in cell_results(study, study.space.comparison, HERE.queries, METRICS)
    }
    four, eight = rows[4, "test/knn/joint"], rows[8, "test/knn/joint"]
    assert (four.mean, four.reported, four.difference) == (62, 70, -8)
    assert four.interval == pytest.approx((62 - 4.30265 / 3**0.5, 62 + 4.30265 / 3**0.5), abs=1e-4)
    assert (eight.mean, eight.difference, eight.scores) == (72, 0.5, {0: 70, 2: 74})
    assert rows[8, "test/linear/joint"].difference is None  # nothing was reported of it


def test_a_single_seed_has_wilsons_interval_of_the_test_set(table_space, played):
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    (four, *_) = cell_results(study, study.space.comparison, HERE.queries, METRICS)
    assert four.interval == wilson_interval(61.0, 200)
    assert four.method == "Wilson over clips as if independent"


def test_a_single_seed_of_validation_has_wilsons_interval_of_its_own_clips(table_space, played):
    """Where nothing is reported and claimed, the search's metric is: 30 % of 50 clips. Without clips, no interval."""
    space = table_space([5], cells=[{"topk": 4}], claims=[])
    study = played(space, {(4, 5): 61.0})
    (only,) = cell_results(study, space.comparison, HERE.queries, ())
    assert (only.metric, only.mean, only.reported) == ("val/knn/fused", 30.0, None)
    assert only.interval == wilson_interval(30.0, 50)
    (only,) = cell_results(study, space.comparison, {"test": 200}, ())
    assert (only.mean, only.interval, only.method) == (30.0, None, "")


def test_clips_of_a_subject_are_taken_together_where_they_were_counted_so(table_space, played):
    """122 of 200 clips right, 80 % of one subject's and 40 % of another's: not 54.1–67.5, but thrice as wide."""
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    write_tally(study.trials[0].folder / TEST_TALLY, SUBJECTS)
    four, eight, *_ = cell_results(study, study.space.comparison, HERE.queries, METRICS)
    low, high = clustered_interval([40, 20, 42, 20], [50, 50, 60, 40])
    assert four.interval == (low, high)
    assert (four.method, eight.method) == ("Wilson over clips, by subject", "Wilson over clips as if independent")
    assert high - low > 3 * (wilson_interval(61.0, 200)[1] - wilson_interval(61.0, 200)[0])


@pytest.mark.parametrize(
    "tally",
    [replace(SUBJECTS, by_subject=False), Tally([50, 150], {"test/linear/joint": [30, 90]}, True)],
    ids=["clip by clip", "another metric"],
)
def test_counts_that_are_not_by_subject_or_not_of_the_metric_are_not_used(table_space, played, tally):
    study = played(table_space([5]), {(4, 5): 61.0, (8, 5): 70.0})
    write_tally(study.trials[0].folder / TEST_TALLY, tally)
    (four, *_) = cell_results(study, study.space.comparison, HERE.queries, METRICS)
    assert (four.interval, four.method) == (wilson_interval(61.0, 200), "Wilson over clips as if independent")


def test_what_did_not_finish_and_what_may_not_stand_beside_ours_is_left_out(table_space, played):
    study = played(table_space([0, 1, 2]), {(4, 0): 61.0, (4, 2): 65.0})
    four, eight, linear, _ = cell_results(study, study.space.comparison, HERE.queries, ["test/linear/joint"])
    assert (four.scores, four.mean, four.reported, four.difference) == ({0: 61.0, 2: 65.0}, 63.0, None, None)
    assert (eight.scores, eight.mean, eight.interval, eight.method) == ({}, None, None, "")
    assert (linear.metric, linear.reported, linear.difference) == ("test/linear/joint", 80.0, -20.0)


FOUR, EIGHT = Cell({"topk": 4}, {}), Cell({"topk": 8}, {})


def test_pairs_come_by_metric_and_then_as_the_claim_names_them():
    claim = Claim("so", Relation.ABOVE, ((1, 0), (0, 1)), ("b", "a"))
    results = [CellResult(cell, metric, {}, None, "") for metric in ("a", "b") for cell in (FOUR, EIGHT)]
    pairs = claimed_pairs(Comparison("", (FOUR, EIGHT), (0,), (claim,)), claim, results)
    assert [(a.metric, a.cell.values["topk"], b.cell.values["topk"]) for a, b in pairs] == [
        ("b", 8, 4),
        ("b", 4, 8),
        ("a", 8, 4),
        ("a", 4, 8),
    ]


def test_a_claim_is_judged_at_the_level_of_its_look():
    """1, 2, 3, 1 points above: t = 3.66 on 3 degrees, p = 0.018, between 1.25 % and 2.5 %."""
    claim = Claim("eight is better", Relation.ABOVE, ((1, 0),), ("a",))
    scores = {4: dict.fromkeys(range(4), 60.0), 8: dict(enumerate((61.0, 62.0, 63.0, 61.0)))}
    results = [CellResult(cell, "a", scores[cell.values["topk"]], None, "") for cell in (FOUR, EIGHT)]
    table = Comparison("", (FOUR, EIGHT), (0,), (claim,))
    found = [judge_claim(table, claim, results, look) for look in (1, 2)]
    assert [verdict.verdict for verdict in found] == [Verdict.HOLDS, Verdict.CANNOT_TELL]
    assert [verdict.differences[0].mean for verdict in found] == [1.75, 1.75]


def test_columns_have_a_row_per_result_and_nothing_where_nothing_was_measured():
    table = Comparison("", (FOUR, EIGHT), (0,), ())
    results = [
        CellResult(FOUR, "a", {0: 61.0, 3: 63.0}, (60.0, 64.0), "t over seeds", 70.0),
        CellResult(EIGHT, "a", {}, None, ""),
    ]
    assert cells_columns(table, results) == {
        "topk": [4, 8],
        "metric": ["a", "a"],
        "seeds": [2, 0],
        "mean": [62.0, None],
        "low": [60.0, None],
        "high": [64.0, None],
        "interval": ["t over seeds", ""],
        "reported": [70.0, None],
        "difference": [-8.0, None],
    }


def test_no_setting_has_the_name_of_a_column_that_stands_beside_it():
    table = Comparison("", (FOUR,), (0,), ())
    assert cells_columns(table, []).keys() & Settings.model_fields.keys() == {"topk"}
