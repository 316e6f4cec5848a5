"""Which bodies are the actors."""

import numpy as np
import pytest

from cmd_tune.data.readers.bodies import moving_bodies
from cmd_tune.errors import DataError


def bodies(*spreads, frames=20):
    """(T, V, C, P): a body of each spread around a place of its own."""
    x_TVCP = np.random.default_rng(0).normal(size=(frames, 5, 3, len(spreads)))
    return 100.0 + np.asarray(spreads) * x_TVCP


def test_the_two_that_move_most_come_first():
    x_TVCP = bodies(1, 3, 0.5, 2)
    kept = moving_bodies(x_TVCP, "here")
    assert kept.dtype == np.float32
    assert kept.flags.c_contiguous
    assert np.array_equal(kept, x_TVCP[..., [1, 3]].astype(np.float32))


def test_frames_without_a_body_are_no_motion():
    """In all frames, the first body, which is seen in half of them alone, would deviate by 50."""
    x_TVCP = bodies(0.5, 2)
    x_TVCP[::2, ..., 0] = 0
    assert np.array_equal(moving_bodies(x_TVCP, "here"), x_TVCP[..., [1, 0]].astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e4])
def test_what_is_not_finite_or_far_away_is_named(value):
    x_TVCP = bodies(1, 2)
    x_TVCP[3, 1, 2, 0] = value
    with pytest.raises(DataError, match="here: coordinates that are not finite, or beyond 10000 metres"):
        moving_bodies(x_TVCP, "here")


def test_nobody_is_named():
    with pytest.raises(DataError, match="here: no body in any of its 7 frames"):
        moving_bodies(np.zeros((7, 5, 3, 2)), "here")
