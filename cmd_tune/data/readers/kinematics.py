"""Forward kinematics of a hierarchy of joints: from angles and lengths to places.

T frame, V joint, C coordinate, X channel.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.readers.bvh_text import Joint

_AXES = "XYZ"


def joint_places(joints: Sequence[Joint], x_TX: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places of all joints, (T, V, 3), in the unit of the hierarchy.

    joints: parents first. x_TX: their channels in turn, rotations in degrees.

    A joint's rotations are about its own axes, in the order of its channels: of Zrotation Xrotation Yrotation the
    matrix is Rz · Rx · Ry. Its position channels, which most hierarchies have at the root alone, replace its offset,
    as programs that write such files mean them.
    """
    T = len(x_TX)
    x_TVC = np.empty((T, len(joints), 3))
    turned_TVCC = np.empty((T, len(joints), 3, 3))
    channel = 0
    for v, joint in enumerate(joints):
        step_TC = np.tile(joint.offset, (T, 1))
        turn_TCC = np.tile(np.eye(3), (T, 1, 1))
        for name in joint.channels:
            axis, x_T = _AXES.index(name[0]), x_TX[:, channel]
            if name.endswith("position"):
                step_TC[:, axis] = x_T
            else:
                turn_TCC = turn_TCC @ _rotation(axis, np.radians(x_T))
            channel += 1
        if joint.parent == v:
            x_TVC[:, v], turned_TVCC[:, v] = step_TC, turn_TCC
        else:
            above_TCC = turned_TVCC[:, joint.parent]
            x_TVC[:, v] = x_TVC[:, joint.parent] + (above_TCC @ step_TC[..., None])[..., 0]
            turned_TVCC[:, v] = above_TCC @ turn_TCC
    return x_TVC


def _rotation(axis: int, angle_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices (T, 3, 3) that turn columns about an axis by angles in radians, by the right-hand rule."""
    after, last = (axis + 1) % 3, (axis + 2) % 3
    turn_TCC = np.zeros((len(angle_T), 3, 3))
    turn_TCC[:, axis, axis] = 1
    turn_TCC[:, after, after] = turn_TCC[:, last, last] = np.cos(angle_T)
    turn_TCC[:, last, after] = np.sin(angle_T)
    turn_TCC[:, after, last] = -np.sin(angle_T)
    return turn_TCC
