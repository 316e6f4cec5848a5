"""Intervals: Wilson's as published and at its ends; of clips that come by subject, by hand and by what they cover."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from cmd_tune.evaluate.intervals import clustered_interval, difference_interval, group_queries, wilson_interval

Z = 1.959963984540054


def test_as_published():
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29."""
    published = {(81, 263): (25.53, 36.62), (15, 148): (6.24, 16.05), (0, 20): (0, 16.11), (1, 29): (0.61, 17.18)}
    for (hits, count), ends in published.items():
        assert wilson_interval(100 * hits / count, count) == pytest.approx(ends, abs=0.01)


@pytest.mark.parametrize(("hits", "count"), [(407, 464), (1, 3), (12_000, 16_487)])
def test_its_ends_are_where_the_observed_share_is_z_standard_errors_away(hits, count):
    for percent in wilson_interval(100 * hits / count, count):
        p = percent / 100
        assert abs(hits / count - p) / sqrt(p * (1 - p) / count) == pytest.approx(Z)


def test_stays_within_none_and_all():
    assert wilson_interval(0, 5) == pytest.approx((0, 100 * Z * Z / (5 + Z * Z)), abs=1e-12)
    assert wilson_interval(100, 5) == pytest.approx((500 / (5 + Z * Z), 100))


def test_clustered_by_hand():
    """Four subjects of ten clips, 4, 6, 8 and 10 right: variance over subjects (9 + 1 + 1 + 9)/3 points² in tenths.

    That is s² = 6.67 / 100, of the mean 0.0167; independent clips would have 0.7 · 0.3 / 40 = 0.00525. So 40 clips are
    worth 12.6, and Wilson's interval of those is taken with t(3) = 3.182 for z.
    """
    worth = 40 * 0.00525 / (20 / 3 / 100 / 4)
    assert worth == pytest.approx(12.6)
    t = 3.18245
    centre = (0.7 + t * t / 2 / worth) / (1 + t * t / worth)
    half = t * sqrt(0.21 / worth + t * t / 4 / worth**2) / (1 + t * t / worth)
    assert clustered_interval([4, 6, 8, 10], [10] * 4) == pytest.approx(
        (100 * (centre - half), 100 * (centre + half)), rel=1e-4
    )


def test_alike_subjects_are_worth_no_more_than_their_clips():
    low, high = clustered_interval([7] * 30, [10] * 30)
    assert (low, high) == pytest.approx(wilson_interval(70, 300, level=2 * stats.norm.cdf(stats.t.ppf(0.975, 29)) - 1))
    assert clustered_interval([5, 5, 5], [5, 5, 5])[1] == pytest.approx(100)
    assert clustered_interval([0, 0, 0], [5, 9, 5])[0] == pytest.approx(0)


def test_a_difference_of_equal_groups_is_the_paired_t_test():
    a, b = [14, 17, 19, 12, 16], [12, 17, 15, 11, 16]
    expected = stats.ttest_rel(np.divide(a, 20), np.divide(b, 20)).confidence_interval()
    assert difference_interval(a, b, [20] * 5) == pytest.approx((100 * expected.low, 100 * expected.high))


def test_queries_are_grouped_where_all_their_subjects_are_known():
    groups = group_queries(np.array([7, 3, 7, 9, 3, 7]))
    assert (groups.by_subject, groups.clips) == (True, [2, 3, 1])
    assert groups.sums(np.array([True, True, False, True, False, True])) == [1, 2, 1]
    for unknown in ([0, 3, 7], [0, 0, 0], [4, 4, 4]):  # one subject tells nothing of others
        groups = group_queries(np.array(unknown))
        assert (groups.by_subject, groups.clips) == (False, [1, 1, 1])


def draw(rng, subjects, share, icc):
    """Clips of subjects, who differ: a subject's true share is of a beta distribution with this correlation within."""
    clips = rng.integers(20, 73, subjects)
    true = rng.beta(share * (1 - icc) / icc, (1 - share) * (1 - icc) / icc, subjects)
    return rng.binomial(clips, true), clips, true


@pytest.mark.parametrize(("subjects", "share", "icc"), [(10, 0.85, 0.1), (20, 0.7, 0.05), (10, 0.5, 0.2)])
def test_what_they_cover_where_clips_of_a_subject_are_alike(subjects, share, icc):
    """Northwestern-UCLA's test set has 464 clips of 10 subjects. The plain interval has the truth half of the time."""
    rng = np.random.default_rng(0)
    clustered = plain = 0
    for _ in range(1500):
        right, clips, _ = draw(rng, subjects, share, icc)
        low, high = clustered_interval(right.tolist(), clips.tolist())
        clustered += low <= 100 * share <= high
        low, high = wilson_interval(100 * right.sum() / clips.sum(), clips.sum())
        plain += low <= 100 * share <= high
    assert 0.92 < clustered / 1500 < 0.97
    assert plain / 1500 < 0.75


def test_a_difference_on_the_same_clips_is_covered_too_and_is_narrower_than_two_intervals():
    """Two encoders, 10 subjects; the second is 4 points better for everybody, give or take 2 points a subject."""
    rng = np.random.default_rng(1)
    covered, widths = 0, []
    for _ in range(1500):
        _, clips, true = draw(rng, 10, 0.7, 0.1)
        true = true.clip(0.1, 0.9)
        gain = rng.normal(0.04, 0.02, 10)
        luck = [rng.random(n) for n in clips]  # what is hard of a clip is hard for both
        first = [int((u < p).sum()) for u, p in zip(luck, true, strict=True)]
        second = [int((u < p + g).sum()) for u, p, g in zip(luck, true, gain, strict=True)]
        low, high = difference_interval(second, first, clips.tolist())
        covered += low <= 4 <= high
        alone = clustered_interval(first, clips.tolist())
        widths.append((high - low) / (alone[1] - alone[0]))
    assert 0.92 < covered / 1500 < 0.975
    assert np.mean(widths) < 0.5
