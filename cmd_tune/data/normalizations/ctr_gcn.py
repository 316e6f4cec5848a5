"""What CTR-GCN's files hold: clips that start at the origin, and move and turn as they were recorded.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout, mean_joint
from cmd_tune.data.normalizations.base import bodies_there, seen_first_body


def shift_to_start(joints_TVCP: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Move all frames by one shift: the first body's `centre`, where it is first seen, is the origin.

    `seq_translation` in the code of CTR-GCN (Chen et al., ICCV 2021). Absent bodies stay 0. Raises ValueError if no
    frame has the first body.
    """
    x_TVCP = joints_TVCP.astype(np.float64)
    start_C = mean_joint(x_TVCP[seen_first_body(x_TVCP)[0], :, :, 0], layout.centre, 0)
    return ((x_TVCP - start_C[:, None]) * bodies_there(x_TVCP)[:, None, None]).astype(np.float32)
