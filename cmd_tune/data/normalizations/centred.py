"""Removes the position of a skeleton in every frame, and leaves its heading and tilt as the camera saw them.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout, mean_joint
from cmd_tune.data.normalizations.base import bodies_there, seen_first_body


def centre_frames(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Move the first body's `centre` to the origin of each frame, and the other bodies with it.

    The first half of the normalisation of 2s-AGCN (Shi et al., CVPR 2019). In frames without the first body, the others
    move by its place between the frames around them. Raises ValueError if no frame has the first body.
    """
    return centre(joints_TVCP.astype(np.float64), layout).astype(np.float32)


def centre(x_TVCP: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """The same in float64. Absent bodies stay 0."""
    seen = seen_first_body(x_TVCP)
    frames = np.arange(len(x_TVCP))
    origin_CT = [np.interp(frames, seen, x_T) for x_T in mean_joint(x_TVCP[seen, :, :, 0], layout.centre, 1).T]
    return (x_TVCP - np.stack(origin_CT, axis=1)[:, None, :, None]) * bodies_there(x_TVCP)[:, None, None]
