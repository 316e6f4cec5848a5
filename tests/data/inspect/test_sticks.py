"""Stick figures: what points up, and what is not drawn."""

import numpy as np
import pytest

from cmd_tune.data.inspect.sticks import box_of, project


@pytest.mark.parametrize(("axis", "sign"), [(0, 1), (1, -1), (2, 1)])
def test_what_points_up_points_up_on_the_paper(axis: int, sign: int) -> None:
    """The other two lie across: the first seen from 20° beside, so that the second has a length."""
    x_TVCP = np.zeros((1, 3, 3, 1), np.float32)
    for joint in range(3):
        x_TVCP[0, joint, joint] = 1
    paper_VS = project(x_TVCP, axis, sign)[0, :, :, 0]
    across, depth = (other for other in range(3) if other != axis)
    expected = {axis: [0, sign], across: [np.cos(np.radians(20)), 0], depth: [np.sin(np.radians(20)), 0]}
    np.testing.assert_allclose(paper_VS, [expected[joint] for joint in range(3)], atol=1e-6)


def test_a_joint_far_away_does_not_shrink_the_others() -> None:
    """One in a thousand lies a kilometre off; without anybody, and of a point, the box is not empty."""
    x_TVSP = np.random.default_rng(0).uniform(0, 1, (40, 25, 2, 1)).astype(np.float32)
    x_TVSP[7, 3] = 1000.0
    box = box_of(x_TVSP)
    assert (box.left, box.bottom) == pytest.approx((0, 0), abs=0.02)
    assert (box.width, box.height) == pytest.approx((1, 1), abs=0.02)
    assert (box_of(np.full((2, 25, 2, 1), np.nan)).width, box_of(np.ones((2, 25, 2, 1))).height) == (1, 0.01)


def test_an_absent_body_is_not_drawn() -> None:
    x_TVCP = np.concatenate([np.ones((2, 5, 3, 1)), np.zeros((2, 5, 3, 1))], axis=3).astype(np.float32)
    paper_TVSP = project(x_TVCP, 2, 1)
    assert np.isfinite(paper_TVSP[..., 0]).all()
    assert np.isnan(paper_TVSP[..., 1]).all()
