"""Seeds that would tell: by the noncentral t of SciPy, by simulation, and where there is nothing to say."""

import math

import numpy as np
import pytest
from scipy import stats

from cmd_tune.search.report.power import seeds_needed
from cmd_tune.search.report.verdicts import Verdict, judge, level_of
from cmd_tune.search.spaces.comparison import Relation


def test_one_comparison_is_the_power_of_a_t_test():
    """A difference of one standard deviation, two-sided 5 %: 10 pairs (Cohen 1988, table 2.4.1: power 80 %)."""
    assert seeds_needed(1.0, [1.0], 0.025) == 10

    def power(n):
        return stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, math.sqrt(n) / 2.1)

    found = seeds_needed(2.1, [1.0], 0.025)
    assert found is not None
    assert power(found - 1) < 0.8 <= power(found)


def test_the_seeds_it_names_are_enough():
    """Best of twelve by 3 points, spread 1.5 a score: the claim is found in 80 % of simulated tables, or some more."""
    seeds = seeds_needed(1.5 * math.sqrt(2), [3.0] * 11, level_of(1))
    assert seeds == 11
    rng, found = np.random.default_rng(0), 0
    for _ in range(500):
        scores = rng.normal(0, 1.5, (12, seeds)) + np.array([3, *[0] * 11])[:, None]
        cells = [dict(enumerate(row)) for row in scores]
        found += judge([(cells[0], other) for other in cells[1:]], Relation.ABOVE).verdict is Verdict.HOLDS
    assert 0.78 < found / 500 < 0.95


def test_more_comparisons_and_later_looks_need_more():
    one, eleven, later = (seeds_needed(2.0, [1.0] * n, level_of(look)) for n, look in ((1, 1), (11, 1), (1, 3)))
    assert one is not None
    assert eleven is not None
    assert later is not None
    assert one < min(eleven, later)


@pytest.mark.parametrize(("spread", "distance", "seeds"), [(2, 0.1, None), (2, 0, None), (2, -1, None), (0, 1, 3)])
def test_where_no_number_tells(spread, distance, seeds):
    assert seeds_needed(spread, [5.0, distance], 0.025) == seeds


def test_far_out_in_the_tail():
    """Where the noncentral t cannot be computed, a test never fails."""
    for distance in (3, 10, 100, 1e4):
        assert seeds_needed(1.0, [distance], 0.025) in (3, 4)
