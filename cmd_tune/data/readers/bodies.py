"""Selects the actors among the bodies that a sensor saw.

T frame, V joint, C coordinate, P body.
"""

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import FAR
from cmd_tune.errors import DataError

BODIES_KEPT = 2


def moving_bodies(x_TVCP: NDArray[np.float64], where: str) -> NDArray[np.float32]:
    """The two bodies of largest motion, the larger first: the deviations of the three coordinates, summed.

    2s-AGCN's reader selects bodies in this way. Raises DataError if there is none, or if coordinates are not finite.
    """
    if not (np.abs(x_TVCP) < FAR).all():
        raise DataError(f"{where}: coordinates that are not finite, or beyond {FAR:g} metres")
    motion = []
    for body in range(x_TVCP.shape[3]):
        x_TVC = x_TVCP[..., body]
        present_TVC = x_TVC[x_TVC.sum((1, 2)) != 0]
        motion.append(sum(present_TVC[..., c].std() for c in range(3)) if len(present_TVC) else 0.0)
    if not any(motion):
        raise DataError(f"{where}: no body in any of its {len(x_TVCP)} frames")
    kept = np.argsort(motion)[::-1][:BODIES_KEPT]
    return np.ascontiguousarray(x_TVCP[..., kept], dtype=np.float32)
