"""What figures of searches share: limits that few bad scores do not widen, ticks a person would choose."""

import pytest

from cmd_tune.search.report.figures.style import score_colours, score_limits, ticks
from cmd_tune.search.spaces.parameter import Parameter


def test_limits_hold_all_good_scores_and_no_few_that_lie_far_off():
    scores = [70 + n / 10 for n in range(50)]
    low, high = score_limits(scores, maximize=True)
    assert (low, high) == pytest.approx((70 - 0.06 * 4.9, 74.9 + 0.06 * 4.9))
    low, high = score_limits([5.0, *scores], maximize=True)
    assert low > 60
    assert high > 74.9
    # Of a loss it is the high ones that may lie far off.
    low, high = score_limits([-score for score in [5.0, *scores]], maximize=False)
    assert low < -74.9
    assert high < -60
    assert score_limits([50.0], maximize=True) == (49, 51)


def test_the_best_scores_are_light():
    scores = [10.0, 20.0]
    for maximize, best in ((True, 20.0), (False, 10.0)):
        colours, norm = score_colours(scores, maximize=maximize)
        light, dark = (sum(colours(norm(score))[:3]) for score in (best, 30.0 - best))
        assert light > dark


@pytest.mark.parametrize(
    ("parameter", "labels"),
    [
        (Parameter("x", "log_uniform_values", 0.01, 0.2), ["0.01", "0.02", "0.05", "0.1", "0.2"]),
        (Parameter("x", "log_uniform_values", 1e-4, 1.0), ["0.0001", "0.001", "0.01", "0.1", "1"]),
        (Parameter("x", "log_uniform_values", 0.03, 0.04), ["0.03", "0.04"]),
        (Parameter("x", "uniform", 0.1, 0.9), ["0.2", "0.4", "0.6", "0.8"]),
        (Parameter("x", "categorical", choices=(256, 64)), ["64", "256"]),
        (Parameter("x", "categorical", choices=("b", "a")), ["b", "a"]),
    ],
)
def test_ticks_are_round_and_few(parameter, labels):
    places, shown = ticks(parameter)
    assert shown == labels
    assert places == sorted(places)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
