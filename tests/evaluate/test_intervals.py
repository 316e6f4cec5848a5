"""Wilson's interval: as published, by its definition, and at its ends."""

from math import sqrt

import pytest

from cmd_tune.evaluate.intervals import wilson_interval

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
