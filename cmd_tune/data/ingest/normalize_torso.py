"""Removes the position and size of a body in an image: centred in every frame, in lengths of its torso.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout, mean_joint


def normalize_torso(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Centre each frame on the first body's `centre`; divide by its torso, base → middle of the shoulders.

    The torso's length is the median over the frames that show it. Where a joint of `centre` is missing, the centre is
    interpolated between the frames around. The other bodies move and shrink with the first. Missing joints (0, or not
    numbers) stay as they are. Pixels or metres in, torsos out; nothing is turned.

    Raises ValueError if no frame shows the first body's centre and torso, or if the torso has no length.
    """
    x_TVCP = joints_TVCP.astype(np.float64)
    first_TVC = x_TVCP[..., 0]
    centre_TC = _landmark(first_TVC, layout.centre)
    shown_T = np.isfinite(centre_TC).all(axis=1)
    if not shown_T.any():
        raise ValueError("the first body's centre is in no frame")
    frames_T = np.arange(len(x_TVCP))
    centre_CT = np.stack([np.interp(frames_T, frames_T[shown_T], x_T) for x_T in centre_TC[shown_T].T])

    shoulders_TC = (_landmark(first_TVC, layout.left_shoulder) + _landmark(first_TVC, layout.right_shoulder)) / 2
    torso_T = np.linalg.norm(shoulders_TC - _landmark(first_TVC, layout.base), axis=1)
    torso_T = torso_T[np.isfinite(torso_T)]
    if not len(torso_T) or not (length := np.median(torso_T)) > 0:
        raise ValueError("the first body's torso has no length in any frame, or in most")

    present_TV1P = x_TVCP.any(axis=2, keepdims=True)
    return ((x_TVCP - centre_CT.T[:, None, :, None]) / length * present_TV1P).astype(np.float32)


def _landmark(x_TVC: NDArray[np.float64], joints: tuple[int, ...]) -> NDArray[np.float64]:
    """A landmark's place in each frame, (T, C); not numbers where a joint of it is missing."""
    place_TC = mean_joint(x_TVC, joints, 1)
    there_TJ = (x_TVC.take(joints, axis=1) != 0).max(axis=2)
    place_TC[~there_TJ.min(axis=1)] = np.nan
    return place_TC
