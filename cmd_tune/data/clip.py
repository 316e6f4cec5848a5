"""One recorded sequence, between the file it comes from and the store.

T frame, V joint, C coordinate, P body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NEITHER, TRAIN, TEST = 0, 1, 2  # a clip's part in a protocol
HALVES = {"train": TRAIN, "val": TEST, "test": TEST}  # as sources call them
MOST_CLASSES = 10_000
FAR = 1e4  # metres; nobody stands there, and float16, which a store may hold, ends at 65,504


@dataclass(frozen=True)
class Clip:
    """One recorded sequence. Label, subject, camera and setup are numbered as the data set numbers them,
    except that labels start at 0; what is unknown, or what the data set does not have, is 0.

    parts: TRAIN or TEST in each protocol that the source itself gives. where: the name of the clip in messages.
    missing_V: of each joint, how often a body was there without it, over frames and bodies; empty if that is unknown.
    """

    name: str
    joints_TVCP: NDArray[np.float32]
    label: int
    subject: int = 0
    camera: int = 0
    setup: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)
    where: str = ""
    missing_V: Sequence[int] = ()
