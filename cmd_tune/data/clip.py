"""One recorded sequence, between the file it comes from and the store.

T frame, V joint, C coordinate, P body.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clip:
    """One recorded sequence. Label, subject, camera and setup are numbered as the data set numbers them,
    except that labels start at 0; a data set without cameras or setups has 0 there."""

    name: str
    joints_TVCP: NDArray[np.float32]
    label: int
    subject: int
    camera: int = 0
    setup: int = 0
