"""Removes the position and heading of a skeleton by its first frame: the normalisation of 2s-AGCN, as CMD has it.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout, mean_joint


def align_first_frame(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Fill a body's empty ends, centre each frame on the first body's spine, and turn the clip.

    After it, in the first frame of the first body, base → centre lies along z and left → right
    shoulder along x as far as the first turn allows. Metres in, metres out; absent joints stay 0.
    Shi et al., CVPR 2019, and the code that goes with it.

    Raises ValueError if no frame of the first body holds a joint.
    """
    x_TVCP = joints_TVCP.astype(np.float64)
    if not x_TVCP[..., 0].any():
        raise ValueError("the first body has no joints in any frame")
    for body in range(x_TVCP.shape[3]):
        x_TVCP[..., body] = _fill_ends(x_TVCP[..., body])

    present_TV1P = x_TVCP.any(axis=2, keepdims=True)
    x_TVCP = (x_TVCP - mean_joint(x_TVCP[..., :1], layout.centre, 1)[:, None]) * present_TV1P

    first_VC = x_TVCP[0, :, :, 0]
    up_C = mean_joint(first_VC, layout.centre, 0) - mean_joint(first_VC, layout.base, 0)
    to_z = _turn(up_C, np.array([0.0, 0.0, 1.0]))
    first_VC = first_VC @ to_z.T
    right_C = mean_joint(first_VC, layout.right_shoulder, 0) - mean_joint(first_VC, layout.left_shoulder, 0)
    to_x = _turn(right_C, np.array([1.0, 0.0, 0.0]))
    # One product: a joint's coordinates of all bodies are a row, and bodies do not mix.
    turn = np.kron((to_x @ to_z).T, np.eye(x_TVCP.shape[3]))
    return (x_TVCP.reshape(-1, len(turn)) @ turn).reshape(x_TVCP.shape).astype(np.float32)


def _fill_ends(x_TVC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill empty frames at the end by repeating the body from its start; move a body that starts late to the front."""
    present = np.flatnonzero(x_TVC.any(axis=(1, 2)))
    if len(present) == 0:
        return x_TVC
    kept = present if present[0] > 0 else np.arange(present[-1] + 1)
    return x_TVC[np.resize(kept, len(x_TVC))]


def _turn(vector_C: NDArray[np.float64], target_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation that brings a vector onto a unit vector the short way (Rodrigues' formula)."""
    length = np.linalg.norm(vector_C)
    axis_C = np.cross(vector_C, target_C)
    sine, cosine = np.linalg.norm(axis_C), vector_C @ target_C
    if length < 1e-12 or np.abs(axis_C).sum() < 1e-6:
        return np.eye(3)
    x, y, z = axis_C / sine
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + (sine / length) * cross + (1 - cosine / length) * (cross @ cross)
