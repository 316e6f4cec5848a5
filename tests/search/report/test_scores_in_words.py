"""Scores and differences as sentences and files have them."""

import pytest

from cmd_tune.search.report.scores_in_words import (
    about,
    bare_score,
    difference_text,
    p_text,
    points,
    score_text,
    written,
)


@pytest.mark.parametrize(
    ("metric", "score", "text", "difference", "kept"),
    [
        ("val/knn/fused", 77.449, "77.4 %", "77.4 points", 77.45),
        ("before_refit/test/knn/fused", 0.96, "1.0 %", "1 point", 0.96),
        ("loss/total", 5.8321456789, "5.832", "5.83", 5.83215),
        ("loss/cmd", 0.00012345678, "0.0001235", "0.000123", 0.000123457),
    ],
)
def test_accuracies_are_in_percent_and_the_rest_are_plain_numbers(metric, score, text, difference, kept):
    assert score_text(metric, score) == text
    assert points(metric, -score) == difference
    assert written(metric, score) == kept


def test_numbers_of_runs_are_rough():
    assert [about(number) for number in (3, 83, 837, 1436)] == ["about 3", "about 83", "about 840", "about 1,400"]


@pytest.mark.parametrize(
    ("metric", "value", "interval", "score", "difference"),
    [
        ("val/knn/fused", 77.449, (76.05, 78.71), "77.4 (76.0 to 78.7)", "+77.4 (+76.0 to +78.7)"),
        ("loss/total", 5.83214, (5.8, 6.01234), "5.832 (5.800 to 6.012)", "+5.83 (+5.80 to +6.01)"),
        ("loss/total", -0.0123456, (-0.03, 0.001), "-0.01235 (-0.03000 to 0.001000)", "-0.0123 (-0.0300 to +0.0010)"),
        ("cost/parameters", 123456.7, (1000.0, 2e6), "123,457 (1000 to 2,000,000)", "+123,457 (+1,000 to +2,000,000)"),
        ("cost/parameters", 0.0, (0.0, 0.0), "0 (0 to 0)", "+0 (+0 to +0)"),
        ("val/knn/fused", None, None, "–", "–"),
        ("loss/total", None, None, "–", "–"),
    ],
)
def test_scores_and_differences_have_the_digits_of_their_metric(metric, value, interval, score, difference):
    assert bare_score(metric, value, interval) == score
    assert difference_text(metric, value, interval) == difference


def test_accuracies_of_trials_have_two_decimals_and_a_count_has_none():
    assert bare_score("val/knn/fused", 77.4, digits=2) == "77.40"
    assert bare_score("cost/parameters", 1000.0, digits=2) == "1000"
    assert points("cost/parameters", 1999.6) == "2,000"
    assert points("loss/total", 2.0) == "2.00"


def test_small_p_values_have_a_bound():
    assert [p_text(p) for p in (1.0, 0.0336, 0.001, 0.00099)] == ["1.000", "0.034", "0.001", "< 0.001"]
