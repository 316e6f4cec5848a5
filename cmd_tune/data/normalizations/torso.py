"""Removes the position and size of a body in an image: centred in every frame, in lengths of its torso.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout, mean_joint
from cmd_tune.data.normalizations.base import seen_first_body
from cmd_tune.data.normalizations.centred import centre


def measure_in_torsos(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Centre each frame on the first body's `centre`; divide by its torso, `base` → middle of the shoulders.

    The torso's length is the median over the frames that show the body. The other bodies move and shrink with the
    first; absent ones stay 0. Pixels or metres in, torsos out; nothing is turned.

    Raises ValueError if no frame has the first body, or if its torso has no length.
    """
    seen = seen_first_body(joints_TVCP)
    x_TVCP = centre(joints_TVCP.astype(np.float64), layout)
    first_TVC = x_TVCP[seen, :, :, 0]
    length = np.median(np.linalg.norm(trunks(first_TVC, layout), axis=1))
    if not length > 0:
        raise ValueError("the first body's torso has no length in most frames")
    return (x_TVCP / length).astype(np.float32)


def trunks(x_TVC: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """The vectors from a body's `base` to the middle of its shoulders, (T, C)."""
    left_TC, right_TC = (mean_joint(x_TVC, joints, 1) for joints in (layout.left_shoulder, layout.right_shoulder))
    return (left_TC + right_TC) / 2 - mean_joint(x_TVC, layout.base, 1)
