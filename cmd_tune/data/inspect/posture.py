"""How the bodies of a store stand: whether their trunks point up, lie, or point down.

N clip, T frame, V joint, C coordinate, P body.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.normalizations.torso import trunks
from cmd_tune.data.store import Store

LIES, ON_ITS_HEAD = 45, 135  # degrees from the vertical, from which on a trunk does


@dataclass(frozen=True)
class Posture:
    """axis, sign: the coordinate that points up, and 1 or −1. tilt_N: degrees between a clip's trunk and the vertical.

    A trunk is the median over the frames of the first body of the vectors from `base` to the middle of the shoulders;
    the tilt of a clip without one is NaN.
    """

    axis: int
    sign: int
    tilt_N: NDArray[np.float64]

    @property
    def lie(self) -> float:
        """The share of clips that lie."""
        return float(((self.tilt_N > LIES) & (self.tilt_N <= ON_ITS_HEAD)).mean())

    @property
    def on_their_heads(self) -> float:
        """The share of clips that stand on their heads."""
        return float((self.tilt_N > ON_ITS_HEAD).mean())

    def describe(self) -> str:
        return f"{100 * self.lie:.1f} % of clips lie, {100 * self.on_their_heads:.1f} % stand on their heads"


def posture(store: Store) -> Posture:
    """Find the tilt of each clip. The vertical is that of the store's family; if the family turns nothing, the
    coordinate along which the trunks of most clips point; in an image, −y.
    """
    trunk_NC = np.array([_trunk(store, clip) for clip in range(len(store))])
    length_N = np.linalg.norm(trunk_NC, axis=1)
    unit_NC = trunk_NC / np.where(length_N > 0, length_N, np.nan)[:, None]
    family = NORMALIZATIONS.get(store.normalization)
    if store.layout.coordinates == 2:
        axis, sign = 1, -1
    elif family and family.up is not None:
        axis, sign = family.up, 1
    else:
        axis, sign = _most_point(unit_NC)
    return Posture(axis, sign, np.degrees(np.arccos(np.clip(sign * unit_NC[:, axis], -1, 1))))


def _trunk(store: Store, clip: int) -> NDArray[np.float64]:
    x_TVC = store.clip_joints(clip)[..., 0]
    first_TVC = x_TVC[x_TVC.any(axis=(1, 2))].astype(np.float64)
    if len(first_TVC) == 0:
        return np.zeros(first_TVC.shape[2])
    return np.asarray(np.median(trunks(first_TVC, store.layout), axis=0))


def _most_point(unit_NC: NDArray[np.float64]) -> tuple[int, int]:
    """The coordinate and the sign of the median trunk's largest component."""
    known_NC = unit_NC[~np.isnan(unit_NC).any(axis=1)]
    median_C = np.median(known_NC, axis=0) if len(known_NC) else np.eye(unit_NC.shape[1])[-1]
    axis = int(np.abs(median_C).argmax())
    return axis, -1 if median_C[axis] < 0 else 1
