"""Scores and differences as sentences and files have them."""

import pytest

from cmd_tune.search.report.scores_in_words import about, points, score_text, written


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
