"""Places of joints: closed forms of chains, the order of rotations, and SciPy's rotations."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cmd_tune.data.readers.bvh_text import Joint
from cmd_tune.data.readers.kinematics import joint_places

POSITIONS = ("Xposition", "Yposition", "Zposition")


def turns(order: str) -> tuple[str, ...]:
    return tuple(f"{axis}rotation" for axis in order)


@pytest.mark.parametrize(
    ("axis", "offset", "expected"),
    [
        ("X", (0, 1, 0), (0, 0, 1)),
        ("X", (0, 0, 1), (0, -1, 0)),
        ("Y", (0, 0, 1), (1, 0, 0)),
        ("Y", (1, 0, 0), (0, 0, -1)),
        ("Z", (1, 0, 0), (0, 1, 0)),
        ("Z", (0, 1, 0), (-1, 0, 0)),
    ],
)
def test_a_quarter_turn_by_the_right_hand_rule(axis: str, offset: tuple, expected: tuple) -> None:
    joints = [Joint("root", 0, (5, 6, 7), turns(axis)), Joint("end", 0, offset, ())]
    x_TVC = joint_places(joints, np.array([[90.0], [0.0], [-90.0]]))
    assert np.allclose(x_TVC[:, 0], (5, 6, 7))
    assert np.allclose(x_TVC[:, 1] - x_TVC[:, 0], [expected, offset, np.negative(expected)])


def test_a_chain_that_bends_evenly_lies_on_a_circle() -> None:
    """n bones of length 1, each turned by a against the one before: the closed sum of a geometric series."""
    n, a = 12, np.radians(17.0)
    joints = [Joint(f"j{v}", max(v - 1, 0), (float(v > 0), 0, 0), turns("Z")) for v in range(n + 1)]
    x_VC = joint_places(joints, np.full((1, n + 1), 17.0))[0]
    v = np.arange(n + 1)
    expected_V = np.exp(1j * a) * (1 - np.exp(1j * a * v)) / (1 - np.exp(1j * a))
    assert np.allclose(x_VC[:, 0] + 1j * x_VC[:, 1], expected_V, atol=1e-12)
    assert np.allclose(x_VC[:, 2], 0)


def test_a_joints_own_rotation_moves_what_hangs_on_it_alone() -> None:
    joints = [
        Joint("root", 0, (0, 0, 0), turns("Z")),
        Joint("arm", 0, (1, 0, 0), turns("Z")),
        Joint("hand", 1, (2, 0, 0), ()),
        Joint("leg", 0, (0, -3, 0), ()),
    ]
    x_TVC = joint_places(joints, np.array([[0.0, 90.0], [90.0, 0.0], [90.0, 90.0]]))
    assert np.allclose(x_TVC[:, 1], [(1, 0, 0), (0, 1, 0), (0, 1, 0)])
    assert np.allclose(x_TVC[:, 2], [(1, 2, 0), (0, 3, 0), (-2, 1, 0)])
    assert np.allclose(x_TVC[:, 3], [(0, -3, 0), (3, 0, 0), (3, 0, 0)])


def test_the_first_channel_turns_last() -> None:
    """Of Zrotation Xrotation the matrix is Rz · Rx: y → z by X, where Z leaves it; y → -x by Z in the other order."""
    offset = (0.0, 1.0, 0.0)
    for order, expected in (("ZX", (0, 0, 1)), ("XZ", (-1, 0, 0))):
        joints = [Joint("root", 0, (0, 0, 0), turns(order)), Joint("end", 0, offset, ())]
        assert np.allclose(joint_places(joints, np.array([[90.0, 90.0]]))[0, 1], expected)


@pytest.mark.parametrize("order", ["".join(order) for order in permutations("XYZ")])
def test_rotations_compose_as_scipys(order: str) -> None:
    """Of a tree of three levels, every joint with the same order of axes."""
    rng = np.random.default_rng(0)
    parents = [0, 0, 1, 1, 3]
    offset_VC = rng.normal(size=(5, 3))
    angle_TVA = rng.uniform(-180, 180, (7, 5, 3))
    joints = [Joint(f"j{v}", parents[v], tuple(offset_VC[v]), turns(order)) for v in range(5)]
    x_TVC = joint_places(joints, angle_TVA.reshape(7, 15))
    turned, expected = {}, {}
    for v, above in enumerate(parents):
        own = Rotation.from_euler(order, angle_TVA[:, v], degrees=True)
        turned[v] = turned[above] * own if v else own
        expected[v] = expected[above] + turned[above].apply(offset_VC[v]) if v else np.tile(offset_VC[0], (7, 1))
    assert np.allclose(x_TVC, np.stack(list(expected.values()), axis=1), atol=1e-12)
    bone_TV = np.linalg.norm(x_TVC[:, 1:] - x_TVC[:, parents[1:]], axis=2)
    assert np.allclose(bone_TV, np.linalg.norm(offset_VC[1:], axis=1))


def test_positions_replace_the_offset_by_axis_and_turn_with_the_parent() -> None:
    joints = [
        Joint("root", 0, (9, 9, 9), (*POSITIONS, "Zrotation")),
        Joint("slide", 0, (1, 2, 3), ("Yposition",)),
    ]
    x_TVC = joint_places(joints, np.array([[10.0, 20, 30, 90, 7], [0, 0, 0, 0, -7]]))
    assert np.allclose(x_TVC[:, 0], [(10, 20, 30), (0, 0, 0)])
    assert np.allclose(x_TVC[:, 1], [(10 - 7, 20 + 1, 30 + 3), (1, -7, 3)])
