"""`upright`: closed forms of the turn, and what single frames cannot do to it."""

import numpy as np
import pytest

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.upright import geometric_median, stand_upright

NTU, KINECT = LAYOUTS["ntu-25"], LAYOUTS["kinect-20"]


def rotation(axis, angle):
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def turned(x_TVCP, axis, angle):
    return np.einsum("dc,tvcp->tvdp", rotation(axis, angle), x_TVCP)


def person(frames=9, layout=KINECT, noise=0.05, seed=0):
    """A body with z up that faces along y, its shoulders along x; its joints move about their places."""
    random = np.random.default_rng(seed)
    rest_VC = random.normal(size=(len(layout.joints), 3))
    rest_VC[layout.base[0]] = [0, 0, 0]
    rest_VC[layout.centre[0]] = [0, 0, 0.2]
    rest_VC[layout.left_shoulder[0]], rest_VC[layout.right_shoulder[0]] = [-0.2, 0, 0.5], [0.2, 0, 0.5]
    return (rest_VC + noise * random.normal(size=(frames, *rest_VC.shape)))[..., None]


def close(ours, expected, atol=1e-5):
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=atol)


def trunk(x_TVCP, layout=KINECT):
    shoulders = (x_TVCP[:, layout.left_shoulder[0], :, 0] + x_TVCP[:, layout.right_shoulder[0], :, 0]) / 2
    return shoulders - x_TVCP[:, layout.base[0], :, 0]


@pytest.mark.parametrize(("axis", "angle"), [((0, 0, 1), 2.5), ((1, 0, 0), 3.1), ((1, 0, 0), np.pi), ((1, -2, 0.5), 1)])
@pytest.mark.parametrize("layout", [NTU, KINECT], ids=lambda layout: layout.name)
def test_how_the_clip_was_turned_does_not_matter(layout, axis, angle):
    """About any axis, upside down too, which the short way of 2s-agcn leaves as it is."""
    x_TVCP = person(layout=layout, noise=0.3)
    close(stand_upright(turned(x_TVCP, axis, angle), layout), stand_upright(x_TVCP, layout))


def test_a_body_that_stands_upright_is_only_centred():
    x_TVCP = person(noise=0)
    close(stand_upright(x_TVCP, KINECT), x_TVCP - [[[0], [0], [0.2]]])


def test_medians_point_up_and_along_x():
    """The trunk of most frames is along z; the horizontal part of the shoulder line along x, whatever it leans."""
    x_TVCP = person(noise=0)
    x_TVCP[:, KINECT.right_shoulder[0], 2] += 0.1
    x_TVCP[:, KINECT.left_shoulder[0], 2] -= 0.1
    ours = stand_upright(turned(x_TVCP, (1, 2, 3), 2), KINECT)[..., 0]
    across = ours[:, KINECT.right_shoulder[0]] - ours[:, KINECT.left_shoulder[0]]
    close(trunk(ours[..., None]), np.broadcast_to([0, 0, 0.5], (9, 3)))
    close(across, np.broadcast_to([0.4, 0, 0.2], (9, 3)))


@pytest.mark.parametrize("wrong", [1, 4])
def test_frames_that_lie_do_not_tip_the_others(wrong):
    """Up to half of the frames may be anything; the first one, by which 2s-agcn goes, among them."""
    x_TVCP = person(noise=0)
    expected = stand_upright(x_TVCP, KINECT)
    x_TVCP[:wrong] = turned(x_TVCP[:wrong], (0, 1, 0), np.pi / 2)
    close(stand_upright(x_TVCP, KINECT)[wrong:], expected[wrong:], atol=1e-4)


def test_a_joint_that_jumps_does_not_tip_the_others():
    """A shoulder ten metres away in the first frame: the other frames stay within the noise."""
    x_TVCP = person(noise=0)
    expected = stand_upright(x_TVCP, KINECT)
    x_TVCP[0, KINECT.left_shoulder[0]] += 10
    close(stand_upright(x_TVCP, KINECT)[1:], expected[1:], atol=1e-4)


def test_a_turn_of_the_body_stays_in_the_clip():
    """Its heading goes from 0 to 80° in equal steps; the median is 40°, from which the ends keep their distance."""
    angles = np.radians(np.linspace(0, 80, 9))
    x_TVCP = np.concatenate([turned(person(1, noise=0), (0, 0, 1), angle) for angle in angles])
    ours = stand_upright(x_TVCP, KINECT)[..., 0]
    across = ours[:, KINECT.right_shoulder[0]] - ours[:, KINECT.left_shoulder[0]]
    close(np.degrees(np.arctan2(across[:, 1], across[:, 0])), np.linspace(-40, 40, 9), atol=1e-3)


def test_both_bodies_turn_by_the_first():
    """The second stands on its head, and keeps its place beside the first."""
    first = person(noise=0)
    second = np.add(turned(first, (1, 0, 0), np.pi), [[[1], [0], [0]]])
    ours = stand_upright(turned(np.concatenate([first, second], axis=3), (2, 1, 0), 1), KINECT)
    close(ours, np.concatenate([first, second], axis=3) - [[[0], [0], [0.2]]])


def test_size_is_kept():
    x_TVCP = person()
    close(stand_upright(3 * x_TVCP, KINECT), 3 * stand_upright(x_TVCP, KINECT), atol=1e-4)


def test_a_single_frame():
    close(stand_upright(turned(person(1, noise=0), (1, 1, 0), 1), KINECT), person(1, noise=0) - [[[0], [0], [0.2]]])


def test_a_trunk_without_length_has_no_direction():
    x_TVCP = person(noise=0)
    x_TVCP[:, KINECT.base[0]] = (x_TVCP[:, KINECT.left_shoulder[0]] + x_TVCP[:, KINECT.right_shoulder[0]]) / 2
    with pytest.raises(ValueError, match="base and the middle of the shoulders are in one place"):
        stand_upright(x_TVCP, KINECT)


def test_shoulders_above_each_other_have_no_direction():
    x_TVCP = person(noise=0)
    x_TVCP[:, KINECT.left_shoulder[0]], x_TVCP[:, KINECT.right_shoulder[0]] = [[0], [0], [0.3]], [[0], [0], [0.7]]
    with pytest.raises(ValueError, match="the shoulders, seen from above, are in one place"):
        stand_upright(x_TVCP, KINECT)


def test_the_geometric_median_of_a_triangle_is_fermats_point():
    """All sides are seen from it under 120°: of a right isosceles triangle, (3 − √3)/6 from both legs."""
    triangle = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    close(geometric_median(triangle), [(3 - 3**0.5) / 6, (3 - 3**0.5) / 6, 0], atol=1e-6)


def test_the_geometric_median_of_most_is_where_most_are():
    points = np.array([[1, 2, 3]] * 5 + [[1000, 0, 0]] * 4, float)
    close(geometric_median(points), [1, 2, 3], atol=2e-3)
    assert not geometric_median(np.zeros((4, 3))).any()
