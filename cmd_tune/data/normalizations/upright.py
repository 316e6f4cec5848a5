"""Removes the position, heading and tilt of a skeleton by medians over its frames, which single frames do not tip.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout, mean_joint
from cmd_tune.data.normalizations.base import seen_first_body
from cmd_tune.data.normalizations.centred import centre
from cmd_tune.data.normalizations.torso import trunks

_STEPS, _CLOSE = 100, 1e-8  # of the iteration for a median; its last step, as a share of the vectors' mean length
_DISTANCE = 1e-6  # the same for the distance at which a vector's weight is largest
_DIRECTION = 1e-3  # the shortest median that has a direction


def stand_upright(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Centre each frame on the first body's `centre`, and turn the clip so that its first body stands along z.

    The vertical is the median over frames of the vectors from `base` to the middle of the shoulders; the median of the
    vectors from the left to the right shoulder, as far as they are horizontal, lies along x. A median is the geometric
    one, so that the result does not depend on how the clip was turned, and up to half of the frames may be wrong. It
    has the steps of 2s-AGCN's normalisation (Shi et al., CVPR 2019), which takes a short bone in the first frame.
    Metres in, metres out; absent bodies stay 0.

    Raises ValueError if no frame has the first body, or if a median has no direction.
    """
    x_TVCP = centre(joints_TVCP.astype(np.float64), layout)
    first_TVC = x_TVCP[seen_first_body(x_TVCP), :, :, 0]
    left_TC, right_TC = (mean_joint(first_TVC, joints, 1) for joints in (layout.left_shoulder, layout.right_shoulder))
    z_C = _direction(trunks(first_TVC, layout), "base and the middle of the shoulders")
    across_TC = right_TC - left_TC
    x_C = _direction(across_TC - np.outer(across_TC @ z_C, z_C), "the shoulders, seen from above,")
    axes_CC = np.stack([x_C, np.cross(z_C, x_C), z_C])
    return np.einsum("dc,tvcp->tvdp", axes_CC, x_TVCP).astype(np.float32)


def _direction(vectors_TC: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    median_C = geometric_median(vectors_TC)
    length = np.linalg.norm(median_C)
    if not length > _DIRECTION * np.linalg.norm(vectors_TC, axis=1).mean():
        raise ValueError(f"{what} are in one place, or turn all round")
    return median_C / length


def geometric_median(points_TC: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point from which the distances to all points sum to the least (Weiszfeld's iteration, from their mean)."""
    median_C = points_TC.mean(axis=0)
    scale = np.linalg.norm(points_TC, axis=1).mean()
    for _ in range(_STEPS if scale else 0):
        squared_T = ((points_TC - median_C) ** 2).sum(axis=1)
        weight_T = 1 / np.sqrt(squared_T + (_DISTANCE * scale) ** 2)
        before_C, median_C = median_C, weight_T @ points_TC / weight_T.sum()
        if np.linalg.norm(median_C - before_C) < _CLOSE * scale:
            break
    return median_C
