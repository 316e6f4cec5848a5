"""The number of seeds that a verdict takes: the power of the tests in verdicts.py."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc, nctdtr, stdtrit

from cmd_tune.search.report.verdicts import MIN_SEEDS

CHANCE = 0.8  # the power asked for
MOST_SEEDS = 1000  # the search for a number ends here


def seeds_needed(spread: float, distances: Sequence[float], level: float) -> int | None:
    """The fewest seeds with which all tests succeed together with a probability of CHANCE; None above MOST_SEEDS.

    spread: standard deviation over seeds of a pair's differences. distances: of each true difference from its test's
    bound, on the side that the test asks for, in the spread's unit. The tests are one-sided t-tests at `level`; their
    probabilities to fail are added up (Bonferroni), which holds for any correlation between the pairs.
    """
    if min(distances) <= 0:
        return None
    if spread == 0:
        return MIN_SEEDS
    counts = range(MIN_SEEDS, MOST_SEEDS + 1)
    index = bisect_left(counts, True, key=lambda count: _missed(count, spread, distances, level) <= 1 - CHANCE)
    return counts[index] if index < len(counts) else None


def _missed(count: int, spread: float, distances: Sequence[float], level: float) -> float:
    """The sum of the tests' probabilities to fail with this number of seeds."""
    critical = float(stdtrit(count - 1, 1 - level))
    noncentral_D = np.sqrt(count) * np.asarray(distances) / spread
    missed_D = nctdtr(count - 1, noncentral_D, critical)
    # SciPy gives nan far out in the tail. There a test only fails if the spread is overestimated (chi-square).
    by_spread_D = chdtrc(count - 1, (count - 1) * (noncentral_D / critical) ** 2)
    return float(np.where(np.isnan(missed_D), by_spread_D, missed_D).sum())
