"""Leaves joints where they were recorded.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout


def keep_recorded(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """The joints as they are; for recordings whose place and heading tell the actions, or that are normalised."""
    return joints_TVCP.astype(np.float32)
