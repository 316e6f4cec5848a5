"""What each branch sees, in closed form."""

import numpy as np
import pytest
import torch

from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.modalities import MODALITIES, stack_modalities


@pytest.fixture(params=sorted(LAYOUTS))
def layout(request):
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
