"""What seeds can tell: intervals, and whether a claim about cells holds, does not, or cannot be told.

All tests are paired: of two cells, the difference on each seed that both have. Student's t throughout.

A claim says one thing of several pairs of cells. Each pair gives two p values: one for what is said, one for its
contrary; Holm's correction is made over all pairs of the claim, for either side. The claim holds where every pair
speaks for it at ALPHA, does not where any pair speaks against it at ALPHA, and cannot be told otherwise:

- above: the mean difference is above 0 in a two-sided test; against it, below 0 in the same test.
- within a margin: two one-sided tests (TOST: Schuirmann, J. Pharmacokinet. Biopharm. 1987) of a difference above
  -margin and below margin; against it, a two-sided test that the difference lies outside of the margin.
- not below by a margin: a one-sided test of a difference above -margin; against it, of one below -margin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import numpy as np
from scipy.special import stdtr, stdtrit

ALPHA = 0.05
FEWEST = 3  # seeds; of two, the spread is anybody's guess

Interval = tuple[float, float]
Scores = Mapping[int, float]  # of one cell on one metric, by seed


class Relation(StrEnum):
    ABOVE = "above"
    WITHIN = "within a margin of"
    NOT_BELOW = "not below, by a margin,"


class Verdict(StrEnum):
    HOLDS = "holds"
    DOES_NOT = "does not"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Comparison:
    """Two cells on the seeds that both have. `p_for` and `p_against` are corrected; nan with fewer than two seeds."""

    seeds: int
    mean: float
    interval: Interval
    p_for: float
    p_against: float


@dataclass(frozen=True)
class Judgement:
    """`why` is one line; `comparisons` come in the order of the pairs."""

    verdict: Verdict
    why: str
    comparisons: tuple[Comparison, ...]


def t_interval(values: Sequence[float], confidence: float = 1 - ALPHA) -> Interval:
    """The interval of a mean by Student's t; two values or more."""
    count = len(values)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * float(np.std(values, ddof=1)) / sqrt(count)
    mean = float(np.mean(values))
    return mean - half, mean + half


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number, in their order (Holm, Scand. J. Statist. 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return corrected.tolist()


def judge(pairs: Sequence[tuple[Scores, Scores]], relation: Relation, margin: float = 0.0) -> Judgement:
    """Whether the first of each pair stands in `relation` to the second. margin in the scores' own unit."""
    differences = [[a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())] for a, b in pairs]
    fewest = min(len(d) for d in differences)
    # With fewer than two seeds there is nothing to test, and one pair untested is no reason to correct for fewer.
    raw = [_p_values(d, relation, margin) if len(d) > 1 else (1.0, 1.0) for d in differences]
    corrected = zip(holm([p for p, _ in raw]), holm([p for _, p in raw]), strict=True)
    comparisons = tuple(_comparison(d, *p) for d, p in zip(differences, corrected, strict=True))
    if fewest < FEWEST:
        seeds = "1 seed" if fewest == 1 else f"{fewest} seeds"
        return Judgement(Verdict.CANNOT_TELL, f"{seeds} in common; {FEWEST} are needed", comparisons)
    speak_for = sum(c.p_for <= ALPHA for c in comparisons)
    against = sum(c.p_against <= ALPHA for c in comparisons)
    verdict = Verdict.DOES_NOT if against else Verdict.HOLDS if speak_for == len(pairs) else Verdict.CANNOT_TELL
    number = "1 comparison" if len(pairs) == 1 else f"{len(pairs)} comparisons"
    return Judgement(verdict, f"of {number}, {speak_for} for it and {against} against it", comparisons)


def _comparison(difference_S: Sequence[float], p_for: float, p_against: float) -> Comparison:
    nothing = float("nan")
    if len(difference_S) < 2:
        mean = difference_S[0] if difference_S else nothing
        return Comparison(len(difference_S), mean, (nothing, nothing), nothing, nothing)
    return Comparison(len(difference_S), float(np.mean(difference_S)), t_interval(difference_S), p_for, p_against)


def _p_values(difference_S: Sequence[float], relation: Relation, margin: float) -> tuple[float, float]:
    """p (for, against) of what is said of a difference, uncorrected."""
    if relation is Relation.ABOVE:
        two_sided = 2 * min(_p_above(difference_S, 0.0), _p_below(difference_S, 0.0))
        mean = np.mean(difference_S)
        return two_sided if mean > 0 else 1.0, two_sided if mean < 0 else 1.0
    if relation is Relation.WITHIN:
        outside = 2 * min(_p_above(difference_S, margin), _p_below(difference_S, -margin))
        return max(_p_above(difference_S, -margin), _p_below(difference_S, margin)), min(1.0, outside)
    return _p_above(difference_S, -margin), _p_below(difference_S, -margin)


def _p_above(difference_S: Sequence[float], bound: float) -> float:
    """p of a one-sided t-test that the mean is above a bound; in the limit of no spread, 0, 1/2 or 1."""
    count, distance = len(difference_S), float(np.mean(difference_S)) - bound
    error = float(np.std(difference_S, ddof=1)) / sqrt(count)
    with np.errstate(divide="ignore"):
        t = np.divide(distance, error) if distance else 0.0
    return float(stdtr(count - 1, -t))


def _p_below(difference_S: Sequence[float], bound: float) -> float:
    return _p_above([-d for d in difference_S], -bound)
