"""Intervals, Holm's correction and verdicts: published numbers, closed forms, SciPy's own tests, planted effects."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from cmd_tune.search.verdicts import Relation, Verdict, holm, judge, t_interval

ABOVE, WITHIN, NOT_BELOW = Relation.ABOVE, Relation.WITHIN, Relation.NOT_BELOW


def by_seed(values):
    return dict(enumerate(values))


def pair(differences, base=70.0):
    return by_seed([base + d for d in differences]), by_seed([base] * len(differences))


def test_a_t_interval_by_the_table_of_students_t():
    # 1, 2, 3: mean 2, s = 1; t(2 degrees, 97.5 %) = 4.303, so 2 ± 4.303/√3.
    low, high = t_interval([1, 2, 3])
    assert (low, high) == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)
    # Two values: t(1, 97.5 %) = tan(0.475 π) = 12.706, s/√2 = |a - b| / 2.
    assert t_interval([4, 6]) == pytest.approx((5 - math.tan(0.475 * math.pi), 5 + math.tan(0.475 * math.pi)))
    assert t_interval([5.5, 5.5, 5.5]) == (5.5, 5.5)


def test_holm_by_hand():
    # Sorted 0.01·4, 0.02·3, 0.03·2, 0.04·1 = 0.04, 0.06, 0.06, 0.04; never below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


def test_above_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(71, 2, 5), rng.normal(70, 2, 5)
    expected = stats.ttest_rel(a, b)
    (c,) = judge([(by_seed(a), by_seed(b))], ABOVE).comparisons
    assert c.mean == pytest.approx(a.mean() - b.mean())
    assert (c.p_for, c.p_against) == pytest.approx((expected.pvalue, 1) if c.mean > 0 else (1, expected.pvalue))
    assert c.interval == pytest.approx(tuple(expected.confidence_interval()))
    (reverse,) = judge([(by_seed(b), by_seed(a))], ABOVE).comparisons
    assert (reverse.p_for, reverse.p_against) == pytest.approx((c.p_against, c.p_for))


def test_margins_are_one_sided_t_tests():
    d = np.array([0.4, -0.2, 0.9, 0.1])
    above = stats.ttest_1samp(d, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(d, 1.0, alternative="less").pvalue
    (c,) = judge([pair(d)], WITHIN, 1.0).comparisons
    assert c.p_for == pytest.approx(max(above, below))
    outside = min(
        stats.ttest_1samp(d, 1.0, alternative="greater").pvalue, stats.ttest_1samp(d, -1.0, alternative="less").pvalue
    )
    assert c.p_against == pytest.approx(min(1, 2 * outside))
    (c,) = judge([pair(d)], NOT_BELOW, 1.0).comparisons
    assert (c.p_for, c.p_against) == pytest.approx((above, 1 - above))


def test_pairs_are_made_by_seed_and_of_common_seeds_alone():
    a, b = {0: 50.0, 1: 60.0, 2: 70.0, 7: 99.0}, {2: 69.0, 1: 58.0, 0: 49.0, 5: 0.0}
    (c,) = judge([(a, b)], ABOVE).comparisons
    assert (c.seeds, c.mean) == (3, pytest.approx(4 / 3))  # 1, 2, 1


def test_all_comparisons_of_a_claim_are_corrected_together():
    """Differences of t = 5.2 on 4 degrees: p = 0.0065 is enough for up to seven comparisons, and not for eight."""
    d = np.array([-1.5, -0.5, 0, 0.5, 1.5])
    d = d + 5.2 * d.std(ddof=1) / math.sqrt(5)
    assert stats.ttest_1samp(d, 0).pvalue == pytest.approx(0.0065, abs=1e-4)
    assert judge([pair(d)] * 7, ABOVE).verdict is Verdict.HOLDS
    assert judge([pair(d)] * 8, ABOVE).verdict is Verdict.CANNOT_TELL


def planted(rng, shift, relation, margin, seeds=5, pairs=3, runs=400):
    """How often each verdict is given where every pair differs by `shift` points and seeds make 1 point of noise."""
    verdicts = Counter()
    for _ in range(runs):
        drawn = [pair(rng.normal(shift, 1, seeds)) for _ in range(pairs)]
        verdicts[judge(drawn, relation, margin).verdict] += 1
    return {verdict: count / runs for verdict, count in verdicts.items()}


@pytest.mark.parametrize(
    ("shift", "relation", "margin", "verdict"),
    [
        (6, ABOVE, 0, Verdict.HOLDS),
        (-6, ABOVE, 0, Verdict.DOES_NOT),
        (0, WITHIN, 6, Verdict.HOLDS),
        (7, WITHIN, 1, Verdict.DOES_NOT),
        (-7, WITHIN, 1, Verdict.DOES_NOT),
        (0, NOT_BELOW, 6, Verdict.HOLDS),
        (9, NOT_BELOW, 1, Verdict.HOLDS),
        (-7, NOT_BELOW, 1, Verdict.DOES_NOT),
    ],
)
def test_planted_effects_are_found(shift, relation, margin, verdict):
    assert planted(np.random.default_rng(1), shift, relation, margin)[verdict] > 0.95


@pytest.mark.parametrize(("shift", "relation", "margin"), [(0, ABOVE, 0), (1, WITHIN, 1), (-1, NOT_BELOW, 1)])
def test_noise_alone_rarely_gives_a_verdict(shift, relation, margin):
    """At the boundary of what is said, either verdict is an error: 5 % for and 5 % against at most, and sampling."""
    shares = planted(np.random.default_rng(2), shift, relation, margin)
    assert shares.get(Verdict.HOLDS, 0) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert shares.get(Verdict.DOES_NOT, 0) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_one_pair_against_it_is_enough():
    up, down = pair([5, 5.5, 6]), pair([-5, -5.5, -6])
    judgement = judge([up, down, up], ABOVE)
    assert (judgement.verdict, judgement.why) == (
        Verdict.DOES_NOT,
        "of 3 comparisons, 2 for it and 1 against it",
    )
    assert judge([up, pair([-1, 0, 1.1]), up], ABOVE).verdict is Verdict.CANNOT_TELL


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_two_seeds_or_fewer_tell_nothing(seeds):
    judgement = judge([pair([50.0, 50.001][:seeds]), pair([50, 50, 50, 50.1])], ABOVE)
    assert judgement.verdict is Verdict.CANNOT_TELL
    assert judgement.why == f"{'1 seed' if seeds == 1 else f'{seeds} seeds'} in common; 3 are needed"
    assert [c.seeds for c in judgement.comparisons] == [seeds, 4]
    assert math.isnan(judgement.comparisons[0].p_for) == (seeds < 2)


def test_differences_without_spread_are_the_limit():
    (c,) = judge([pair([2, 2, 2])], ABOVE).comparisons
    assert (c.p_for, c.p_against) == (0, 1)
    (c,) = judge([pair([0, 0, 0])], ABOVE).comparisons
    assert (c.p_for, c.p_against) == (1, 1)
    assert judge([pair([0, 0, 0])], WITHIN, 0.5).verdict is Verdict.HOLDS
    assert judge([pair([-2, -2, -2])], NOT_BELOW, 0.5).verdict is Verdict.DOES_NOT
