"""Joints that a sensor lost: which are missing, what stands in their place, when a clip cannot be used."""

import numpy as np
import pytest

from cmd_tune.data.ingest.missing_joints import fill_missing
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations import NORMALIZATIONS

KINECT = LAYOUTS["kinect-20"]
LOST = [0, np.nan]
NONE = (0,) * 20


def clip(frames=8, bodies=1, seed=0):
    """A body 3 m before the camera, that moves half a metre a frame along x."""
    x_TVCP = 0.3 * np.random.default_rng(seed).normal(size=(1, 20, 3, bodies)) + [[[0], [0], [3]]]
    walk_T = 0.5 * np.arange(frames)
    return (x_TVCP + walk_T[:, None, None, None] * [[[1], [0], [0]]]).astype(np.float32)


def close(ours, expected):
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_nothing_missing_is_the_same_to_the_bit():
    x_TVCP = clip(bodies=2)
    filled, missing = fill_missing(x_TVCP, KINECT)
    assert np.array_equal(filled, x_TVCP)
    assert missing == NONE


@pytest.mark.parametrize("lost", LOST)
def test_a_gap_is_a_line_between_its_ends(lost):
    """The body moves at a constant pace, so that what was lost comes back."""
    x_TVCP = clip()
    spoilt = x_TVCP.copy()
    spoilt[2:5, 7] = lost
    spoilt[6, 9] = lost
    filled, missing = fill_missing(spoilt, KINECT)
    close(filled, x_TVCP)
    assert missing[7] == 3
    assert missing[9] == 1
    assert sum(missing) == 4
    assert np.array_equal(np.delete(filled, [7, 9], axis=1), np.delete(x_TVCP, [7, 9], axis=1))


@pytest.mark.parametrize("lost", LOST)
def test_ends_are_held(lost):
    x_TVCP = clip()
    x_TVCP[:2, 3], x_TVCP[6:, 3] = lost, lost
    filled, _ = fill_missing(x_TVCP, KINECT)
    assert np.array_equal(filled[:2, 3], x_TVCP[[2, 2], 3])
    assert np.array_equal(filled[6:, 3], x_TVCP[[5, 5], 3])


def test_one_coordinate_is_enough_if_it_is_nan_but_not_if_it_is_zero():
    x_TVCP = clip()
    spoilt = x_TVCP.copy()
    spoilt[3, 4, 1] = np.nan
    close(fill_missing(spoilt, KINECT)[0], x_TVCP)
    spoilt[3, 4] = x_TVCP[3, 4]
    spoilt[3, 4, 1] = 0
    assert np.array_equal(fill_missing(spoilt, KINECT)[0], spoilt)


@pytest.mark.parametrize("lost", LOST)
def test_a_body_that_is_absent_is_not_missing_joints(lost):
    """The second body is there in frames 0, 1 and 4 to 7, without joint 5 in frame 4: interpolated over frames 1–5."""
    x_TVCP = clip(bodies=2)
    spoilt = x_TVCP.copy()
    spoilt[2:4, ..., 1] = lost
    spoilt[4, 5, :, 1] = lost
    filled, missing = fill_missing(spoilt, KINECT)
    assert not filled[2:4, ..., 1].any()
    close(filled[4], x_TVCP[4])
    assert missing == (0, 0, 0, 0, 0, 1) + (0,) * 14
    assert np.array_equal(filled[..., 0], x_TVCP[..., 0])


@pytest.mark.parametrize("lost", LOST)
def test_half_of_a_clip_may_be_missing_and_no_more(lost):
    x_TVCP = clip()
    x_TVCP[:4, 6] = lost
    assert fill_missing(x_TVCP, KINECT)[1][6] == 4
    x_TVCP[4, 6] = lost
    with pytest.raises(ValueError, match=r"^left_wrist is missing in 5 of 8 frames$"):
        fill_missing(x_TVCP, KINECT)


def test_the_share_is_of_the_frames_that_have_the_body():
    x_TVCP = clip(bodies=2)
    x_TVCP[3:, ..., 1] = 0
    x_TVCP[:2, 0, :, 1] = 0
    with pytest.raises(ValueError, match=r"^hip_centre of body 2 is missing in 2 of 3 frames$"):
        fill_missing(x_TVCP, KINECT)


@pytest.mark.parametrize("joint", [0, 1, 2])
def test_a_joint_that_is_the_origin_throughout_is_not_missing(joint):
    """Of a source that is centred already; but of a camera 3 m away, 0 throughout is missing."""
    x_TVCP = clip()
    x_TVCP[:, joint] = 0
    with pytest.raises(ValueError, match="is missing in 8 of 8 frames"):
        fill_missing(x_TVCP, KINECT)
    centred = clip()
    centred -= centred[:, joint : joint + 1]
    filled, missing = fill_missing(centred, KINECT)
    assert np.array_equal(filled, centred)
    assert missing == NONE
    centred[:, joint] = np.nan
    with pytest.raises(ValueError, match="is missing in 8 of 8 frames"):
        fill_missing(centred, KINECT)


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("family", NORMALIZATIONS)
def test_a_lost_centre_moves_nothing(family, lost):
    """Tried without filling: all other joints of the frame moved by three metres."""
    x_TVCP = clip()
    spoilt = x_TVCP.copy()
    spoilt[3, KINECT.centre] = lost
    spoilt[5, KINECT.left_shoulder] = lost
    ours = NORMALIZATIONS[family].function(fill_missing(spoilt, KINECT)[0], KINECT)
    close(ours, NORMALIZATIONS[family].function(x_TVCP, KINECT))


def test_a_clip_without_a_body_stays_empty():
    filled, missing = fill_missing(np.full((3, 20, 3, 2), np.nan, np.float32), KINECT)
    assert not filled.any()
    assert missing == NONE
