"""A soak in kills, as `python -m benchmarks soak` runs it for longer."""

import pytest

from benchmarks.soak_run import run_soak

pytestmark = [pytest.mark.long, pytest.mark.slow]  # tests beside it kill one process each


def test_kills_lose_and_double_nothing(tmp_path):
    soak = run_soak(tmp_path, kills=3, trials=4, epochs=6, seed=2)
    assert soak.kills.total() == 3
    assert (soak.trials % 4, soak.lost, soak.doubled, soak.differing, soak.again) == (0, 0, 0, 0, 0), soak
