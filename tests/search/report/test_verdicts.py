"""Intervals, corrections and verdicts: published numbers, closed forms, SciPy's own tests, simulated tables."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from cmd_tune.search.report.verdicts import Verdict, holm, judge, level_of, t_interval
from cmd_tune.search.spaces.comparison import Relation

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
    expected = stats.ttest_rel(a, b, alternative="greater")
    (c,) = judge([(by_seed(a), by_seed(b))], ABOVE).differences
    assert c.mean == pytest.approx(a.mean() - b.mean())
    assert (c.p_for, c.p_against) == pytest.approx((expected.pvalue, 1 - expected.pvalue))
    assert c.interval == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()))
    (reverse,) = judge([(by_seed(b), by_seed(a))], ABOVE).differences
    assert (reverse.p_for, reverse.p_against) == pytest.approx((c.p_against, c.p_for))


def test_margins_are_one_sided_t_tests():
    d = np.array([0.4, -0.2, 0.9, 0.1])
    above = stats.ttest_1samp(d, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(d, 1.0, alternative="less").pvalue
    (c,) = judge([pair(d)], WITHIN, 1.0).differences
    assert c.p_for == pytest.approx(max(above, below))
    outside = min(
        stats.ttest_1samp(d, 1.0, alternative="greater").pvalue, stats.ttest_1samp(d, -1.0, alternative="less").pvalue
    )
    assert c.p_against == pytest.approx(min(1, 2 * outside))
    (c,) = judge([pair(d)], NOT_BELOW, 1.0).differences
    assert (c.p_for, c.p_against) == pytest.approx((above, 1 - above))


def test_pairs_are_made_by_seed_and_of_common_seeds_alone():
    a, b = {0: 50.0, 1: 60.0, 2: 70.0, 7: 99.0}, {2: 69.0, 1: 58.0, 0: 49.0, 5: 0.0}
    (c,) = judge([(a, b)], ABOVE).differences
    assert (c.seeds, c.mean) == (3, pytest.approx(4 / 3))  # 1, 2, 1


def with_t(t):
    """Five differences with this t statistic, by an even sample."""
    d = np.array([-1.5, -0.5, 0, 0.5, 1.5])
    return d + t * d.std(ddof=1) / math.sqrt(5)


def test_a_claim_that_holds_is_not_corrected_and_one_that_does_not_is():
    """t = 5.2 on 4 degrees, one-sided: p = 0.00325, at most 0.025 / 7 but not 0.025 / 8. For the claim it is enough of
    any number of pairs; against it, of up to seven."""
    assert stats.ttest_1samp(with_t(5.2), 0, alternative="greater").pvalue == pytest.approx(0.00325, abs=5e-5)
    assert judge([pair(with_t(5.2))] * 100, ABOVE).verdict is Verdict.HOLDS
    none = pair(with_t(0))
    assert judge([pair(with_t(-5.2)), *[none] * 6], ABOVE).verdict is Verdict.DOES_NOT
    assert judge([pair(with_t(-5.2)), *[none] * 7], ABOVE).verdict is Verdict.CANNOT_TELL
    (c, *_) = judge([pair(with_t(-5.2)), *[none] * 6], ABOVE).differences
    assert (c.p_for, c.p_against) == pytest.approx((1 - 0.00325, 7 * 0.00325), abs=3e-4)


def test_every_look_has_half_the_level_of_the_one_before():
    assert [level_of(look) for look in (1, 2, 3)] == [0.025, 0.0125, 0.00625]
    assert sum(level_of(look) for look in range(1, 200)) == pytest.approx(0.05)
    # One-sided on 4 degrees: t = 3.0 has p = 0.020, which is enough at the first look alone; 3.6 has 0.0114.
    assert [judge([pair(with_t(3.0))], ABOVE, look=k).verdict for k in (1, 2)] == [Verdict.HOLDS, Verdict.CANNOT_TELL]
    assert [judge([pair(with_t(3.6))], ABOVE, look=k).verdict for k in (2, 3)] == [Verdict.HOLDS, Verdict.CANNOT_TELL]
    assert [judge([pair(with_t(-3.0))], ABOVE, look=k).verdict for k in (1, 2)] == [
        Verdict.DOES_NOT, Verdict.CANNOT_TELL,
    ]  # fmt: skip


SPREAD = 1.5  # points that a seed makes: benchmarks/RESULTS.md has 1 to 2


def share(verdict, shifts, *, seeds=5, runs=1000, looks=1, seed=0):
    """How many simulated tables give a verdict on "the first cell is above all others", at any of the looks.

    shifts: true scores of the cells; every score has noise of its own. A look has two seeds more than the last one.
    """
    rng = np.random.default_rng(seed)
    pairs = [(0, other) for other in range(1, len(shifts))]
    given = 0
    for _ in range(runs):
        scores = rng.normal(np.asarray(shifts)[:, None], SPREAD, (len(shifts), seeds + 2 * (looks - 1)))
        at = [[by_seed(row[: seeds + 2 * look]) for row in scores] for look in range(looks)]
        given += any(
            judge([(cells[a], cells[b]) for a, b in pairs], ABOVE, look=look).verdict is verdict
            for look, cells in enumerate(at, 1)
        )
    return given / runs


def above_chance(runs):
    """The most that sampling lets 5 % look like, in all but one of some 700 simulations."""
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_the_best_of_twelve_is_found_in_an_eighth_of_the_tables():
    """Of 3 points with five seeds: 13 %, where a correction over the eleven pairs left 4 %."""
    assert share(Verdict.HOLDS, [3, *[0] * 11], runs=2000) == pytest.approx(0.133, abs=0.02)


def test_a_best_cell_that_is_not_is_rarely_called_so():
    """The hardest case for a conjunction: one rival is as good, all others are far below."""
    assert share(Verdict.HOLDS, [0, 0, *[-30] * 3]) < above_chance(1000)
    assert share(Verdict.HOLDS, [0, 0, *[-30] * 3], looks=6) < above_chance(1000)
    assert share(Verdict.HOLDS, [0] * 12) < 0.01


def test_a_true_claim_is_rarely_contradicted():
    """The hardest case for the correction: every rival is all but as good."""
    assert share(Verdict.DOES_NOT, [0] * 12) < above_chance(1000)
    assert share(Verdict.DOES_NOT, [0] * 6, looks=6) < above_chance(1000)


def test_looks_that_were_not_counted_would_err_more():
    """Six looks at one pair, each at the level of a first one, show a difference that is not there too often."""
    rng, seen = np.random.default_rng(3), 0
    for _ in range(1000):
        d = rng.normal(0, SPREAD, 23)
        seen += any(judge([pair(d[:n])], ABOVE).verdict is not Verdict.CANNOT_TELL for n in range(3, 23, 4))
    assert seen / 1000 > 0.1


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
    verdict = judge([up, down, up], ABOVE)
    assert (verdict.verdict, verdict.why) == (
        Verdict.DOES_NOT,
        "of 3 comparisons, 2 for it and 1 against it",
    )
    assert judge([up, pair([-1, 0, 1.1]), up], ABOVE).verdict is Verdict.CANNOT_TELL


@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_two_seeds_or_fewer_tell_nothing(seeds):
    verdict = judge([pair([50.0, 50.001][:seeds]), pair([50, 50, 50, 50.1])], ABOVE)
    assert verdict.verdict is Verdict.CANNOT_TELL
    assert verdict.why == f"{'1 seed' if seeds == 1 else f'{seeds} seeds'} in common; 3 are needed"
    assert [c.seeds for c in verdict.differences] == [seeds, 4]
    assert math.isnan(verdict.differences[0].p_for) == (seeds < 2)


def test_the_spread_of_differences_is_pooled_over_the_pairs():
    assert judge([pair([1, 2, 3]), pair([0, 4, 8])], ABOVE).spread == pytest.approx(math.sqrt((1 + 16) / 2))
    assert math.isnan(judge([pair([1])], ABOVE).spread)


def test_differences_without_spread_are_the_limit():
    (c,) = judge([pair([2, 2, 2])], ABOVE).differences
    assert (c.p_for, c.p_against) == (0, 1)
    (c,) = judge([pair([0, 0, 0])], ABOVE).differences
    assert (c.p_for, c.p_against) == (0.5, 0.5)
    assert judge([pair([0, 0, 0])], WITHIN, 0.5).verdict is Verdict.HOLDS
    assert judge([pair([-2, -2, -2])], NOT_BELOW, 0.5).verdict is Verdict.DOES_NOT
