"""Verdicts on claims about cells, from their scores over seeds: a claim holds, does not, or the seeds cannot tell.

All tests are one-sided t-tests on paired differences: one cell less another, on each seed that both have.

A claim states one relation for several pairs of cells, and is true if it is true of all. Each pair gives two p values:
one for the relation, one for its contrary. The claim *holds* if every pair supports it at the level of the look. This
is an intersection-union test (Berger, Technometrics 1982): it needs no correction, since it can only err by erring in a
pair for which the relation is false. The claim *does not* hold if any pair contradicts it after Holm's correction over
all pairs. Otherwise the verdict is *cannot tell*. For a pair:

- above: the mean difference is above 0; contrary: below 0.
- within a margin: the difference is above -margin and below margin (TOST: Schuirmann, J. Pharmacokinet. Biopharm.
  1987); contrary: a two-sided test that it lies outside the margin.
- not below by a margin: the difference is above -margin; contrary: below -margin.

Adding seeds until a claim holds means several looks at it. The k-th look is tested at ALPHA / 2^k: by Bonferroni's
inequality all looks together err with a probability of at most ALPHA for the claim and ALPHA against it. The number of
looks need not be planned. Lan and DeMets (Biometrika 1983) spend α like this; they also use the correlation between
looks, which is not done here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import copysign, inf, sqrt

import numpy as np
from scipy.special import stdtr, stdtrit

from cmd_tune.evaluate.intervals import Interval
from cmd_tune.search.spaces.comparison import Relation

ALPHA = 0.05  # the probability of either error, over all looks together
MIN_SEEDS = 3  # two do not determine a spread

Scores = Mapping[int, float]  # of one cell on one metric, by seed


class Verdict(StrEnum):
    HOLDS = "holds"
    DOES_NOT = "does not"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class PairedDifference:
    """The first cell of a pair less the second, on the seeds that both have, in points.

    mean: nan without a common seed; interval (95 %), p_for, p_against: nan with fewer than two. p_against is corrected
    by Holm over all pairs, p_for is uncorrected.
    """

    seeds: int
    mean: float
    interval: Interval
    p_for: float
    p_against: float


@dataclass(frozen=True)
class ClaimVerdict:
    """why: the reason in one line. differences: in the order of the pairs.

    spread: standard deviation of a pair's differences over seeds, pooled over the pairs; nan if no pair has two.
    """

    verdict: Verdict
    why: str
    differences: tuple[PairedDifference, ...]
    spread: float

    @property
    def enough_seeds(self) -> bool:
        """Whether every pair has the seeds that a verdict needs."""
        return all(d.seeds >= MIN_SEEDS for d in self.differences)


def t_interval(values: Sequence[float], confidence: float = 1 - ALPHA) -> Interval:
    """The interval of a mean of two values or more, by Student's t."""
    count = len(values)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * float(np.std(values, ddof=1)) / sqrt(count)
    mean = float(np.mean(values))
    return mean - half, mean + half


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values in their order, corrected for their number (Holm, Scand. J. Statist. 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return corrected.tolist()


def level_of(look: int) -> float:
    """The level of every test of a look; looks count from 1."""
    return float(ALPHA / 2**look)


def judge(
    pairs: Sequence[tuple[Scores, Scores]], relation: Relation, margin: float = 0.0, *, look: int = 1
) -> ClaimVerdict:
    """The verdict on "the first cell of each pair stands in `relation` to the second". margin: in the scores' unit."""
    gains = [paired_differences(a, b) for a, b in pairs]
    fewest = min(len(d) for d in gains)
    # With fewer than two seeds there is no test. An untested pair still counts in the correction.
    raw = [_p_values(d, relation, margin) if len(d) > 1 else (1.0, 1.0) for d in gains]
    against = holm([p for _, p in raw])
    differences = tuple(_paired_difference(d, p, q) for d, (p, _), q in zip(gains, raw, against, strict=True))
    variances = [np.var(d, ddof=1) for d in gains if len(d) > 1]
    spread = sqrt(float(np.mean(variances))) if variances else float("nan")
    if fewest < MIN_SEEDS:
        seeds = "1 seed" if fewest == 1 else f"{fewest} seeds"
        return ClaimVerdict(Verdict.CANNOT_TELL, f"{seeds} in common; {MIN_SEEDS} are needed", differences, spread)
    level = level_of(look)
    speak_for = sum(d.p_for <= level for d in differences)
    speak_against = sum(d.p_against <= level for d in differences)
    verdict = Verdict.DOES_NOT if speak_against else Verdict.HOLDS if speak_for == len(pairs) else Verdict.CANNOT_TELL
    number = "1 comparison" if len(pairs) == 1 else f"{len(pairs)} comparisons"
    why = f"of {number}, {speak_for} for it and {speak_against} against it"
    return ClaimVerdict(verdict, why, differences, spread)


def paired_differences(a: Scores, b: Scores) -> list[float]:
    """a less b on the seeds that both have, by ascending seed."""
    return [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]


def two_sided_p(difference_S: Sequence[float]) -> float:
    """The p value of a two-sided t-test that the mean of two differences or more is not 0."""
    return min(1.0, 2 * min(_TTest(difference_S).above_and_below(0.0)))


def _paired_difference(difference_S: Sequence[float], p_for: float, p_against: float) -> PairedDifference:
    nothing = float("nan")
    if len(difference_S) < 2:
        mean = difference_S[0] if difference_S else nothing
        return PairedDifference(len(difference_S), mean, (nothing, nothing), nothing, nothing)
    return PairedDifference(len(difference_S), float(np.mean(difference_S)), t_interval(difference_S), p_for, p_against)


def _p_values(difference_S: Sequence[float], relation: Relation, margin: float) -> tuple[float, float]:
    """Uncorrected p values (for, against) of a relation, from the differences over seeds."""
    test = _TTest(difference_S)
    if relation is Relation.ABOVE:
        return test.above_and_below(0.0)
    if relation is Relation.NOT_BELOW:
        return test.above_and_below(-margin)
    (above_low, below_low), (above_high, below_high) = map(test.above_and_below, (-margin, margin))
    return max(above_low, below_high), min(1.0, 2 * min(above_high, below_low))


class _TTest:
    """One-sided t-tests of where the mean of two differences or more lies."""

    def __init__(self, difference_S: Sequence[float]) -> None:
        count = len(difference_S)
        self._degrees, self._mean = count - 1, float(np.mean(difference_S))
        self._error = float(np.std(difference_S, ddof=1)) / sqrt(count)

    def above_and_below(self, bound: float) -> tuple[float, float]:
        """p that the mean is above a bound, and that it is below; without spread the limits, 0, 1/2 and 1."""
        distance = self._mean - bound
        limit = copysign(inf, distance) if distance else 0.0
        t = distance / self._error if self._error else limit
        return float(stdtr(self._degrees, -t)), float(stdtr(self._degrees, t))
