"""Normalisation: the reference's numbers, and what must hold for any clip."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.views.crop_shear import centre_crop, crop_resize

NTU = LAYOUTS["ntu-25"]
KINECT = LAYOUTS["kinect-20"]


@pytest.fixture(scope="module")
def reference(golden: Path):
    """Case → array name → (T, V, C, P)."""
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(golden / "ntu_reference.npz") as file:
        for name in file.files:
            case, _, array = name.partition("/")
            cases.setdefault(case, {})[array] = np.ascontiguousarray(file[name].transpose(1, 2, 0, 3))
    assert cases
    return cases


def rotation(axis, angle):
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def clip(layout=KINECT, frames=6, bodies=1, seed=0, upright=False):
    """A random clip in float64; upright: its first frame has shoulders at a right angle to the spine."""
    x_TVCP = np.random.default_rng(seed).normal(size=(frames, len(layout.joints), 3, bodies))
    if upright:
        spine = x_TVCP[0, layout.centre[0], :, 0] - x_TVCP[0, layout.base[0], :, 0]
        across = x_TVCP[0, layout.right_shoulder[0], :, 0] - x_TVCP[0, layout.left_shoulder[0], :, 0]
        across -= spine * (across @ spine) / (spine @ spine)
        x_TVCP[0, layout.right_shoulder[0], :, 0] = x_TVCP[0, layout.left_shoulder[0], :, 0] + across
    return x_TVCP


def close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=2e-6)


def test_first_frames_of_the_reference(reference):
    for case, arrays in reference.items():
        ours = align_first_frame(arrays["joints"], NTU)
        np.testing.assert_allclose(ours, arrays["normalised_first_frames"], rtol=1e-4, atol=2e-6, err_msg=case)


def test_three_hundred_frames_of_the_reference(reference):
    """The authors pad with empty frames first; those are filled by repeating each body from its start."""
    for case, arrays in reference.items():
        joints = arrays["joints"]
        padded = np.zeros_like(arrays["normalised_300"])
        padded[: len(joints)] = joints
        np.testing.assert_allclose(
            align_first_frame(padded, NTU), arrays["normalised_300"], rtol=1e-4, atol=2e-6, err_msg=case
        )


def test_centre_crop_of_the_reference(reference):
    for case, arrays in reference.items():
        ours_TVCP = align_first_frame(arrays["joints"], NTU)
        start_B, length_B = centre_crop(torch.tensor([len(ours_TVCP)]), 0.95)
        rows_FX = torch.from_numpy(ours_TVCP.reshape(len(ours_TVCP), -1))
        theirs_TVCP = arrays["centre_crop_0.95_64"]
        ours_BTX = crop_resize(rows_FX, start_B, length_B, len(theirs_TVCP))
        np.testing.assert_allclose(
            ours_BTX[0].numpy(), theirs_TVCP.reshape(len(theirs_TVCP), -1), rtol=1e-4, atol=2e-6, err_msg=case
        )


@pytest.mark.parametrize("layout", [NTU, KINECT], ids=lambda layout: layout.name)
def test_where_it_stands_does_not_matter(layout):
    """A walk is taken out too: another shift every frame."""
    x_TVCP = clip(layout, bodies=2)
    walk_TVCP = np.random.default_rng(1).normal(size=(len(x_TVCP), 1, 3, 1))
    close(align_first_frame(x_TVCP + walk_TVCP, layout), align_first_frame(x_TVCP, layout))


def test_the_spine_joint_of_the_first_body_is_the_origin():
    x_TVCP = clip(bodies=2)
    ours = align_first_frame(x_TVCP, KINECT)
    assert not ours[:, KINECT.centre[0], :, 0].any()
    assert np.abs(ours[:, KINECT.centre[0], :, 1]).min() > 0


def test_distances_are_kept_between_bodies_too():
    x_TVCP = clip(bodies=2)

    def distances(x_TVCP):
        points_TNC = x_TVCP.transpose(0, 3, 1, 2).reshape(len(x_TVCP), -1, 3)
        return np.linalg.norm(points_TNC[:, :, None] - points_TNC[:, None], axis=3)

    close(distances(align_first_frame(x_TVCP, KINECT)), distances(x_TVCP))


def test_handedness_is_kept():
    """A rotation, not a mirror: the triple product of three joints keeps its sign and size."""
    x_TVCP = clip()
    centred = x_TVCP - x_TVCP[:, KINECT.centre[0] : KINECT.centre[0] + 1]
    ours = align_first_frame(x_TVCP, KINECT)
    close(np.linalg.det(ours[0, 4:7, :, 0].astype(float)), np.linalg.det(centred[0, 4:7, :, 0]))


def test_shoulders_lie_along_x():
    ours = align_first_frame(clip(bodies=2), KINECT)[0, :, :, 0]
    across = ours[KINECT.right_shoulder[0]] - ours[KINECT.left_shoulder[0]]
    close(across, [np.linalg.norm(across), 0, 0])


def test_spine_lies_along_z_where_shoulders_are_at_a_right_angle_to_it():
    ours = align_first_frame(clip(upright=True), KINECT)[0, :, :, 0]
    spine = ours[KINECT.centre[0]] - ours[KINECT.base[0]]
    close(spine, [0, 0, np.linalg.norm(spine)])


@pytest.mark.parametrize(("axis", "angle"), [((0, 0, 1), 2.5), ((1, 0, 0), 1.0), ((1, -2, 0.5), 3.0)])
def test_how_the_camera_stood_does_not_matter(axis, angle):
    x_TVCP = clip(bodies=2, upright=True)
    turned = np.einsum("dc,tvcp->tvdp", rotation(axis, angle), x_TVCP)
    close(align_first_frame(turned, KINECT), align_first_frame(x_TVCP, KINECT))


@pytest.mark.parametrize(("axis", "angle"), [((0, 0, 1), 2.5), ((1, -2, 0.5), 3.0)])
def test_leaning_shoulders_leave_a_turn_about_x_undetermined(axis, angle):
    """The second turn tilts the spine again, by how much depends on the first: x and the distance from it are kept."""
    x_TVCP = clip(bodies=2)
    turned = align_first_frame(np.einsum("dc,tvcp->tvdp", rotation(axis, angle), x_TVCP), KINECT)
    ours = align_first_frame(x_TVCP, KINECT)
    assert np.abs(turned - ours).max() > 0.01
    close(turned[:, :, 0], ours[:, :, 0])
    close(np.hypot(turned[:, :, 1], turned[:, :, 2]), np.hypot(ours[:, :, 1], ours[:, :, 2]))


def test_twice_is_once_where_shoulders_are_at_a_right_angle():
    once = align_first_frame(clip(bodies=2, upright=True), KINECT)
    close(align_first_frame(once, KINECT), once)


def test_size_is_kept():
    """Metres in, metres out: twice the skeleton gives twice the numbers."""
    x_TVCP = clip(bodies=2)
    close(align_first_frame(2 * x_TVCP, KINECT), 2 * align_first_frame(x_TVCP, KINECT))


def test_absent_joints_stay_exactly_zero():
    x_TVCP = clip(bodies=2)
    x_TVCP[2, 11] = 0  # one joint of both bodies in one frame
    x_TVCP[3, :, :, 0] = 0  # the first body in an inner frame
    x_TVCP[4, :, :, 1] = 0  # the second body in an inner frame
    ours = align_first_frame(x_TVCP, KINECT)
    absent_TV1P = ~x_TVCP.any(axis=2, keepdims=True)
    assert not ours[np.broadcast_to(absent_TV1P, ours.shape)].any()
    # Without the first body there is no spine to subtract: the second keeps its distance from the sensor.
    close(np.linalg.norm(ours[3, :, :, 1], axis=1), np.linalg.norm(x_TVCP[3, :, :, 1], axis=1))
    assert ours[0].any(axis=1).sum() == 2 * 20 - 1  # all present but the origin itself


def test_a_second_body_that_never_appears_stays_zero():
    x_TVCP = np.concatenate([clip(), np.zeros((6, 20, 3, 1))], axis=3)
    ours = align_first_frame(x_TVCP, KINECT)
    assert not ours[..., 1].any()
    close(ours[..., 0], align_first_frame(x_TVCP[..., :1], KINECT)[..., 0])


def test_a_late_body_is_moved_to_the_front_and_repeated():
    """Present in frames 2, 3 and 5 of 0–6: they become frames 0, 1 and 2, and start again."""
    x_TVCP = clip(frames=7)
    x_TVCP[[0, 1, 4, 6]] = 0
    close(align_first_frame(x_TVCP, KINECT), align_first_frame(x_TVCP[[2, 3, 5, 2, 3, 5, 2]], KINECT))


def test_a_lost_body_is_repeated_from_its_start_with_its_holes():
    """Present in frames 0, 1 and 3 of 0–8: frames 0–3, hole included, are repeated from frame 4 on."""
    x_TVCP = clip(frames=9)
    x_TVCP[[2, 4, 5, 6, 7, 8]] = 0
    ours = align_first_frame(x_TVCP, KINECT)
    assert not ours[2].any()
    assert np.array_equal(ours[4:8], ours[:4])
    assert np.array_equal(ours[8], ours[0])


def test_an_empty_first_body_is_an_error():
    x_TVCP = clip(bodies=2)
    x_TVCP[..., 0] = 0
    with pytest.raises(ValueError, match="first body"):
        align_first_frame(x_TVCP, KINECT)


def test_a_spine_without_length_is_not_turned():
    x_TVCP = clip(upright=True)
    x_TVCP[0, KINECT.base[0]] = x_TVCP[0, KINECT.centre[0]]
    ours = align_first_frame(x_TVCP, KINECT)
    across = ours[0, KINECT.right_shoulder[0], :, 0] - ours[0, KINECT.left_shoulder[0], :, 0]
    close(across, [np.linalg.norm(across), 0, 0])


def test_shoulders_in_one_place_leave_the_first_turn_alone():
    x_TVCP = clip()
    x_TVCP[0, KINECT.right_shoulder[0]] = x_TVCP[0, KINECT.left_shoulder[0]]
    ours = align_first_frame(x_TVCP, KINECT)
    spine = ours[0, KINECT.centre[0], :, 0] - ours[0, KINECT.base[0], :, 0]
    close(spine, [0, 0, np.linalg.norm(spine)])


@pytest.mark.parametrize("sign", [1, -1], ids=["on its axis already", "opposite to it"])
def test_no_axis_to_turn_about(sign):
    """The short way from −z to z is not determined: such a spine stays, as in the authors' code."""
    x_TVCP = clip()
    x_TVCP[0, KINECT.centre[0], :, 0] = 0
    x_TVCP[0, KINECT.base[0], :, 0] = [0, 0, -sign]
    x_TVCP[0, KINECT.left_shoulder[0], :, 0] = [-1, 0, 1]
    x_TVCP[0, KINECT.right_shoulder[0], :, 0] = [1, 0, 1]
    close(align_first_frame(x_TVCP, KINECT)[0], x_TVCP[0])


def test_its_input_is_not_changed():
    x_TVCP = clip(bodies=2).astype(np.float32)
    x_TVCP[4:] = 0
    before = x_TVCP.copy()
    ours = align_first_frame(x_TVCP, KINECT)
    assert np.array_equal(x_TVCP, before)
    assert ours.dtype == np.float32
