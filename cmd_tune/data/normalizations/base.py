"""The contract of a family of normalisation, which tests/data/normalizations/test_contract.py runs each through.

T frame, V joint, C coordinate, P body.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout

Joints = NDArray[np.float32]


@dataclass(frozen=True)
class Normalization:
    """A family: a pure function of a clip's joints (T, V, C, P) and their layout, and what is true of its results.

    function: is given finite numbers. A body is in a frame with all its joints, since `ingest` has filled the missing
    ones, or it is absent there and 0; some frame has a body. It returns as many frames and joints in float32, in the
    same unit, and does not change its input. An absent body is 0 in the result, unless the family fills it. It raises
    ValueError, in one line, for a clip that it cannot normalise.
    made_from: other families whose results it may be given instead of joints as recorded, with the same result
    wherever the first body is there.
    up: the coordinate that points up in the results; None if they are turned as they were recorded.
    keeps_size: whether lengths stay in metres. flat: whether it is defined for joints in 2-D as well.
    """

    function: Callable[[Joints, Layout], Joints]
    made_from: tuple[str, ...] = ()
    up: int | None = None
    keeps_size: bool = True
    flat: bool = True


def bodies_there(x_TVCP: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which bodies are in which frames, (T, P)."""
    return np.asarray((x_TVCP != 0).any(axis=(1, 2)))


def seen_first_body(x_TVCP: NDArray[np.floating]) -> NDArray[np.int64]:
    """The frames that have the first body. Raises ValueError if none has."""
    seen = np.flatnonzero(bodies_there(x_TVCP[..., :1]))
    if len(seen) == 0:
        raise ValueError("the first body has no joints in any frame")
    return seen
