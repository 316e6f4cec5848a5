"""How many seeds it takes to tell: the power of the tests in verdicts.py, before more seeds are spent."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc, nctdtr, stdtrit

from cmd_tune.search.report.verdicts import MIN_SEEDS

CHANCE = 0.8  # of telling, which is asked of the seeds
MOST_SEEDS = 1000  # that are looked at


def seeds_needed(spread: float, distances: Sequence[float], level: float) -> int | None:
    """The fewest seeds with which all tests succeed together with a probability of CHANCE; None above MOST_SEEDS.

    spread: standard deviation over seeds of a pair's differences. distances: how far each true difference lies on the
    right side of what its test asks, in the spread's unit. The tests are one-sided t-tests at `level`; their chances to
    fail are added up (Bonferroni), so that nothing need be known of how the pairs hang together.
    """
    if min(distances) <= 0:
        return None
    if spread == 0:
        return MIN_SEEDS
    counts = range(MIN_SEEDS, MOST_SEEDS + 1)
    index = bisect_left(counts, True, key=lambda count: _missed(count, spread, distances, level) <= 1 - CHANCE)
    return counts[index] if index < len(counts) else None


def _missed(count: int, spread: float, distances: Sequence[float], level: float) -> float:
    """The chances of the tests to fail with so many seeds, added up."""
    critical = float(stdtrit(count - 1, 1 - level))
    noncentral_D = np.sqrt(count) * np.asarray(distances) / spread
    missed_D = nctdtr(count - 1, noncentral_D, critical)
    # Far out the noncentral t is not computed; there only an overestimated spread, a chi-square, makes a test fail.
    by_spread_D = chdtrc(count - 1, (count - 1) * (noncentral_D / critical) ** 2)
    return float(np.where(np.isnan(missed_D), by_spread_D, missed_D).sum())
