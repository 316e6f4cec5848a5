"""What each branch sees, in closed form."""

import numpy as np
import pytest
import torch

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.views.modalities import MODALITIES, NEED_3D, check_modalities, stack_modalities
from cmd_tune.errors import UsageError

IN_3D = [name for name, layout in LAYOUTS.items() if layout.coordinates == 3]
IN_2D = [name for name, layout in LAYOUTS.items() if layout.coordinates == 2]
OF_2D = [name for name in MODALITIES if name not in NEED_3D]


@pytest.fixture(params=IN_3D)
def layout(request):
    return LAYOUTS[request.param]


@pytest.fixture(params=IN_2D)
def flat(request):
    return LAYOUTS[request.param]


def clips(layout, bodies=2, frames=5):
    return torch.randn(3, frames, len(layout.joints), 3, bodies, generator=torch.Generator().manual_seed(1))


def test_motion_of_a_parabola(layout):
    """x = t² moves by 2t + 1 from frame t to the next, and does not move after the last."""
    x_BTVCP = (torch.arange(5.0) ** 2)[None, :, None, None, None].expand(2, 5, len(layout.joints), 3, 1)
    motion = MODALITIES["motion"](x_BTVCP, layout)
    assert motion[0, :, 0, 0, 0].tolist() == [1.0, 3.0, 5.0, 7.0, 0.0]
    assert torch.equal(motion, motion[:1, :, :1, :1].expand_as(motion))


def test_motion_of_one_frame_is_zero(layout):
    assert not MODALITIES["motion"](clips(layout, frames=1), layout).any()


def test_bone_is_joint_minus_parent(layout):
    x_BTVCP = clips(layout)
    bone = MODALITIES["bone"](x_BTVCP, layout)
    for joint, parent in enumerate(layout.parents):
        assert torch.equal(bone[:, :, joint], x_BTVCP[:, :, joint] - x_BTVCP[:, :, parent])
    root = next(joint for joint, parent in enumerate(layout.parents) if joint == parent)
    assert not bone[:, :, root].any()


def test_bones_summed_to_the_root_give_the_joint(layout):
    x_BTVCP = clips(layout).double()
    bone = MODALITIES["bone"](x_BTVCP, layout)
    root = next(joint for joint, parent in enumerate(layout.parents) if joint == parent)
    for joint in range(len(layout.joints)):
        total, at = x_BTVCP[:, :, root].clone(), joint
        while at != root:
            total += bone[:, :, at]
            at = layout.parents[at]
        torch.testing.assert_close(total, x_BTVCP[:, :, joint])


def test_modalities_do_not_change_their_input(layout):
    x_BTVCP = clips(layout)
    before = x_BTVCP.clone()
    stack_modalities(x_BTVCP, list(MODALITIES), layout)
    assert torch.equal(x_BTVCP, before)


def test_channels_are_joint_coordinate_body_in_that_order(layout):
    """The authors flatten (joint, coordinate, body) from (N, C, T, V, M)."""
    x_BTVCP = clips(layout)
    stacked_MBTX = stack_modalities(x_BTVCP, ["bone", "joint"], layout)
    theirs_NCTVM = x_BTVCP.permute(0, 3, 1, 2, 4).numpy()
    N, C, T, V, M = theirs_NCTVM.shape
    expected = np.transpose(theirs_NCTVM, (0, 2, 3, 1, 4)).reshape(N, T, V * C * M)
    assert np.array_equal(stacked_MBTX[1].numpy(), expected)
    assert torch.equal(stacked_MBTX[0], MODALITIES["bone"](x_BTVCP, layout).flatten(2))
    joint, coordinate, body = 7, 1, 1
    assert torch.equal(stacked_MBTX[1, ..., joint * 6 + coordinate * 2 + body], x_BTVCP[..., joint, coordinate, body])


# Derived modalities


def rotation(seed=0):
    """A random proper rotation, float64."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return torch.from_numpy(q * np.linalg.det(q))


def turned(x_BTVCP, matrix):
    return torch.einsum("cd,btvdp->btvcp", matrix, x_BTVCP)


def root_of(layout):
    return next(joint for joint, parent in enumerate(layout.parents) if joint == parent)


def swinging(layout, rate, frames=9):
    """All bones turn about z by `rate` radians a frame, each with its own length and start: (1, T, V, 3, 1)."""
    generator = np.random.default_rng(0)
    joints = len(layout.joints)
    length_V, start_V = generator.uniform(0.1, 2, joints), generator.uniform(0, 6, joints)
    x_TVC = np.zeros((frames, joints, 3))
    for frame in range(frames):
        done = {root_of(layout)}
        while len(done) < joints:
            for joint, parent in enumerate(layout.parents):
                if parent in done and joint not in done:
                    angle = start_V[joint] + rate * frame
                    step = length_V[joint] * np.array([np.cos(angle), np.sin(angle), 0])
                    x_TVC[frame, joint] = x_TVC[frame, parent] + step
                    done.add(joint)
    return torch.from_numpy(x_TVC)[None, ..., None]


def test_bone_motion_is_motion_of_bone_and_bone_of_motion(layout):
    x_BTVCP = clips(layout).double()
    ours = MODALITIES["bone_motion"](x_BTVCP, layout)
    for first, second in (("bone", "motion"), ("motion", "bone")):
        both = MODALITIES[second](MODALITIES[first](x_BTVCP, layout), layout)
        torch.testing.assert_close(ours, both, rtol=0, atol=1e-14)
    assert ours[:, :-1].abs().amax((0, 1, 3, 4)).count_nonzero() == len(layout.joints) - 1
    assert not ours[:, -1].any()


def test_acceleration_of_a_cubic(layout):
    """x = t³: (t + 1)³ − 2 t³ + (t − 1)³ = 6 t, between the ends."""
    x_BTVCP = (torch.arange(5.0) ** 3)[None, :, None, None, None].expand(2, 5, len(layout.joints), 3, 1)
    acceleration = MODALITIES["acceleration"](x_BTVCP, layout)
    assert acceleration[0, :, 0, 0, 0].tolist() == [0.0, 6.0, 12.0, 18.0, 0.0]
    assert torch.equal(acceleration, acceleration[:1, :, :1, :1].expand_as(acceleration))


def test_acceleration_of_uniform_motion_is_zero(layout):
    start, speed = torch.randn(2, 2, 1, len(layout.joints), 3, 2, generator=torch.Generator().manual_seed(0)).double()
    x_BTVCP = start + torch.arange(7.0)[None, :, None, None, None] * speed
    assert MODALITIES["acceleration"](x_BTVCP, layout).abs().max() < 1e-12


@pytest.mark.parametrize("frames", [1, 2])
def test_there_is_no_acceleration_in_fewer_than_three_frames(layout, frames):
    assert not MODALITIES["acceleration"](clips(layout, frames=frames), layout).any()


def test_rotation_axis_is_the_cross_product_of_the_parents_bone_and_the_bone(layout):
    x_BTVCP = clips(layout)
    ours = MODALITIES["rotation_axis"](x_BTVCP, layout).numpy()
    x = x_BTVCP.numpy()
    for joint, parent in enumerate(layout.parents):
        bone = x[:, :, joint] - x[:, :, parent]
        parents = x[:, :, parent] - x[:, :, layout.parents[parent]]
        np.testing.assert_allclose(ours[:, :, joint], np.cross(parents, bone, axis=2), rtol=1e-4, atol=1e-6)
    root = root_of(layout)
    for joint, parent in enumerate(layout.parents):
        assert bool(ours[:, :, joint].any()) == (parent != root), layout.joints[joint]


def test_a_straight_limb_has_no_rotation_axis(layout):
    """Every bone along one direction, of its own length: 0. A right angle: the product of the lengths."""
    straight = swinging(layout, rate=0.0)
    straight[..., 1:, :] = 0
    straight[..., 0, :] = torch.rand(straight[..., 0, :].shape, generator=torch.Generator().manual_seed(0)).double()
    assert MODALITIES["rotation_axis"](straight, layout).abs().max() < 1e-15
    elbow = layout.joints.index("left_elbow")
    parent = layout.parents[elbow]
    grandparent = layout.parents[parent]
    bent = torch.zeros(1, 1, len(layout.joints), 3, 1)
    bent[0, 0, parent, :, 0] = bent[0, 0, grandparent, :, 0] + torch.tensor([0.3, 0, 0])
    bent[0, 0, elbow, :, 0] = bent[0, 0, parent, :, 0] + torch.tensor([0, 0.2, 0])
    axis = MODALITIES["rotation_axis"](bent, layout)[0, 0, elbow, :, 0]
    assert axis.tolist() == pytest.approx([0, 0, 0.06])


@pytest.mark.parametrize("rate", [0.0, 1e-5, 0.01, -0.3, 1.5, 3.1])
def test_angular_velocity_of_a_constant_turn_is_its_rate(layout, rate):
    """About z, whatever the bones' lengths; the last frame and the root do not turn."""
    omega = MODALITIES["angular_velocity"](swinging(layout, rate), layout)
    expected = torch.zeros_like(omega)
    expected[:, :-1, :, 2] = rate
    expected[:, :, root_of(layout)] = 0
    torch.testing.assert_close(omega, expected, rtol=1e-7, atol=1e-10)


def test_angular_velocity_takes_the_shorter_way(layout):
    """A turn of 4 radians is one of 2π − 4 the other way."""
    omega = MODALITIES["angular_velocity"](swinging(layout, 4.0), layout)
    elbow = layout.joints.index("left_elbow")
    assert omega[0, 0, elbow, 2, 0].item() == pytest.approx(4 - 2 * np.pi)


@pytest.mark.parametrize("rate", [1e-8, np.pi])
def test_a_turn_that_rounding_could_make_is_none(layout, rate):
    assert not MODALITIES["angular_velocity"](swinging(layout, rate), layout).any()


def test_angular_velocity_turns_one_direction_into_the_next(layout):
    """Rodrigues' rotation by ω of a bone's direction is its direction in the next frame."""
    x_BTVCP = clips(layout).double()
    bone = MODALITIES["bone"](x_BTVCP, layout)
    omega = MODALITIES["angular_velocity"](x_BTVCP, layout)
    joint = layout.joints.index("left_wrist")
    for frame in range(x_BTVCP.shape[1] - 1):
        now, after = bone[0, frame : frame + 2, joint, :, 0].numpy()
        w = omega[0, frame, joint, :, 0].numpy()
        angle = np.linalg.norm(w)
        axis, direction = w / angle, now / np.linalg.norm(now)
        rotated = direction * np.cos(angle) + np.cross(axis, direction) * np.sin(angle)
        np.testing.assert_allclose(rotated, after / np.linalg.norm(after), atol=1e-12)


@pytest.mark.parametrize("name", MODALITIES)
def test_modalities_turn_with_the_body(layout, name):
    """Rotating the clip rotates what a branch sees: the axes' signs included."""
    x_BTVCP = clips(layout).double()
    matrix = rotation()
    after = MODALITIES[name](turned(x_BTVCP, matrix), layout)
    torch.testing.assert_close(after, turned(MODALITIES[name](x_BTVCP, layout), matrix), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODALITIES)
def test_where_the_body_stands_counts_for_joints_alone(layout, name):
    x_BTVCP = clips(layout).double()
    moved = MODALITIES[name](x_BTVCP + torch.tensor([1.0, -2.0, 3.0]).view(3, 1), layout)
    same = torch.allclose(moved, MODALITIES[name](x_BTVCP, layout), atol=1e-9)
    assert same == (name != "joint")


@pytest.mark.parametrize(
    ("name", "power"),
    [
        *((name, 1) for name in ("joint", "motion", "bone", "bone_motion", "acceleration")),
        ("rotation_axis", 2),
        ("angular_velocity", 0),
    ],
)
def test_modalities_grow_with_the_body(layout, name, power):
    """Twice the size: lengths double, areas are fourfold, angles stay."""
    x_BTVCP = clips(layout).double()
    ours = MODALITIES[name](2 * x_BTVCP, layout)
    torch.testing.assert_close(ours, 2**power * MODALITIES[name](x_BTVCP, layout), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-14, 1e-6, 1.0, 1e6])
def test_modalities_are_finite(layout, name, scale):
    """Absent bodies, joints at one place, bones that vanish, reappear or are reversed, one frame: 0 or a number."""
    x_BTVCP = scale * clips(layout, frames=6)
    x_BTVCP[:, 2:4, :, :, 1] = 0  # a body that is not there for two frames
    x_BTVCP[0, 3, 5:9] = 0  # corruption of some joints
    x_BTVCP[1, 4] = -x_BTVCP[1, 3]  # every bone reversed
    x_BTVCP[2] = x_BTVCP[2, :, :1]  # no bone has a length
    for x in (x_BTVCP, x_BTVCP[:, :1], x_BTVCP[:, :2]):
        seen = MODALITIES[name](x, layout)
        assert seen.shape == x.shape
        assert torch.isfinite(seen).all()
    seen = MODALITIES[name](x_BTVCP, layout)
    if name == "angular_velocity":
        assert seen.abs().max() <= np.pi * 1.0001
        assert not seen[1, 3].any()  # rather than half a turn about the axis that rounding chose
        assert not seen[2].any()
        assert not seen[:, 2:4, :, :, 1].any()


def test_bodies_and_clips_do_not_know_each_other(layout):
    x_BTVCP = clips(layout)
    for name, function in MODALITIES.items():
        alone = function(x_BTVCP[1:2, ..., :1].contiguous(), layout)
        torch.testing.assert_close(function(x_BTVCP, layout)[1:2, ..., :1], alone, msg=name)


def test_every_modality_is_registered_under_its_own_name():
    assert list(MODALITIES) == [
        *("joint", "motion", "bone", "bone_motion", "acceleration", "rotation_axis", "angular_velocity")
    ]
    assert [function.__name__ for function in MODALITIES.values()] == list(MODALITIES)


# Joints in 2-D


@pytest.mark.parametrize("name", OF_2D)
def test_a_flat_skeletons_modality_is_that_in_3_d_without_depth(flat, name):
    in_space = clips(flat)
    in_space[:, :, :, 2] = 0
    expected = MODALITIES[name](in_space, flat)
    ours = MODALITIES[name](in_space[:, :, :, :2].contiguous(), flat)
    assert torch.equal(ours, expected[:, :, :, :2])
    assert not expected[:, :, :, 2].any()
    assert ours.any()


@pytest.mark.parametrize("name", NEED_3D)
def test_axes_stand_upright_on_a_plane(flat, name):
    """So that joints in 2-D have none, and the modality is refused; the others are not."""
    in_space = clips(flat)
    in_space[:, :, :, 2] = 0
    axes = MODALITIES[name](in_space, flat)
    assert not axes[:, :, :, :2].any()
    assert axes[:, :, :, 2].any()
    said = f"modalities: {name} needs joints in 3-D, those of {flat.name} are in 2-D; take joint, motion, bone"
    with pytest.raises(UsageError, match=said):
        check_modalities(["joint", name], flat)
    check_modalities(OF_2D, flat)


def test_joints_in_3_d_have_every_modality(layout):
    check_modalities(MODALITIES, layout)
