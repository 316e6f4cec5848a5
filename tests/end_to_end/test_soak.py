"""A soak in kills, as `python -m benchmarks soak` runs it for longer."""

import pytest

from benchmarks.soak_run import run_soak

pytestmark = pytest.mark.long


def test_kills_lose_and_double_nothing(tmp_path):
    soak = run_soak(tmp_path, kills=4, trials=5, epochs=6, seed=2)
    assert soak.kills.total() == 4
    assert (soak.trials % 5, soak.lost, soak.doubled, soak.differing, soak.again) == (0, 0, 0, 0, 0), soak
