"""Wilson's interval: as published, by its definition, and at its ends."""

from math import sqrt

import pytest

from cmd_tune.evaluate.intervals import wilson_interval

Z = 1.959963984540054


def test_as_published():
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29."""
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson_interval(hits, count) == pytest.approx((low, high), abs=1e-4)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


@pytest.mark.parametrize(("hits", "count"), [(407, 464), (1, 3), (12_000, 16_487)])
def test_its_ends_are_where_the_observed_share_is_z_standard_errors_away(hits, count):
    for p in wilson_interval(hits, count):
        assert abs(hits / count - p) / sqrt(p * (1 - p) / count) == pytest.approx(Z)


def test_stays_within_none_and_all():
    assert wilson_interval(0, 5)[0] == pytest.approx(0, abs=1e-15)
    assert wilson_interval(5, 5)[1] == pytest.approx(1)
    assert wilson_interval(5, 5)[0] == pytest.approx(5 / (5 + Z * Z))
