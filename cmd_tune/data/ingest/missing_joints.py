"""Joints that a sensor lost in frames in which it saw the body: found, counted, filled in from the frames around.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout

# A joint that is missing in more frames than this share of a body's would be made up more than it was measured.
MOST = 0.5
# A joint at 0 throughout is the origin of the coordinates if 0 is no farther from the middle of the other joints than
# this times the farthest of them; 0 of a Kinect is the camera, at least twice as far away as a body is long.
_WITHIN = 1.5


def fill_missing(joints_TVCP: NDArray[np.float32], layout: Layout) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Joints without gaps, and for each joint how often a body was there without it, over frames and bodies.

    A joint is missing if a coordinate is NaN or all are 0, while others of the body are there. It is interpolated
    linearly over time between the frames around that have it; before the first and after the last, it stays where it
    was. A body none of whose joints is there is absent, and 0. A joint at 0 in all frames, amid the others, is the
    origin of the coordinates, and not missing. Where nothing is missing, coordinates are returned to the bit.

    Raises ValueError if a joint is missing in more than half of the frames of a body.
    """
    there_TVP = (joints_TVCP != 0).any(axis=2) & ~np.isnan(joints_TVCP).any(axis=2)
    present_TP = there_TVP.any(axis=1)
    missing_TVP = ~there_TVP & present_TP[:, None]
    for joint, body in np.argwhere(missing_TVP.any(axis=0) & ~there_TVP.any(axis=0)):
        x_TVC = joints_TVCP[present_TP[:, body], :, :, body]
        if _is_origin(x_TVC, joint, there_TVP[present_TP[:, body], :, body]):
            missing_TVP[:, joint, body] = False
    missing_VP = missing_TVP.sum(axis=0)
    for joint, body in np.argwhere(missing_VP > MOST * present_TP.sum(axis=0)):
        of = f" of body {body + 1}" if joints_TVCP.shape[3] > 1 else ""
        raise ValueError(
            f"{layout.joints[joint]}{of} is missing in {missing_VP[joint, body]} of {present_TP[:, body].sum()} frames"
        )
    filled_TVCP = joints_TVCP.copy()
    filled_TVCP.transpose(0, 3, 1, 2)[~present_TP] = 0
    for joint, body in np.argwhere(missing_VP):
        seen, lost = np.flatnonzero(there_TVP[:, joint, body]), np.flatnonzero(missing_TVP[:, joint, body])
        for x_T in filled_TVCP[:, joint, :, body].T:
            x_T[lost] = np.interp(lost, seen, x_T[seen])
    return filled_TVCP, tuple(missing_VP.sum(axis=1).tolist())


def _is_origin(x_TVC: NDArray[np.float32], joint: int, there_TV: NDArray[np.bool_]) -> bool:
    """Whether a joint that is never there is 0, and amid the others: the middle of these is nearer than their size."""
    if x_TVC[:, joint].any():  # NaN
        return False
    others_TVC = np.where(there_TV[..., None], x_TVC, np.nan)
    middle_TC = np.nanmean(others_TVC, axis=1)
    size_T = np.nanmax(np.linalg.norm(others_TVC - middle_TC[:, None], axis=2), axis=1)
    return bool(np.median(np.linalg.norm(middle_TC, axis=1)) <= _WITHIN * np.median(size_T))
