"""Draws a clip as stick figures, a few of its frames side by side.

T frame, V joint, C coordinate, P body, S the two directions of the paper.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout

COLOURS = ("#1f4e79", "#d1602a", "#3c8d40", "#8a4f9e")  # one a body, in turn
_MOST = 14  # frames of a clip
_AZIMUTH = np.radians(20)  # seen a little from the side, so that what points forward has a length


def project(x_TVCP: NDArray[np.float32], axis: int, sign: int) -> NDArray[np.float32]:
    """Joints projected to across and up, (T, V, S, P); absent bodies are NaN. axis, sign: what points up."""
    others = [other for other in range(x_TVCP.shape[2]) if other != axis]  # across, and the depth if there is one
    absent_T11P = ~x_TVCP.any(axis=(1, 2), keepdims=True)
    seen_from = (np.cos(_AZIMUTH), np.sin(_AZIMUTH)) if len(others) == 2 else (1.0,)
    across_TVP = sum(part * x_TVCP[:, :, other] for part, other in zip(seen_from, others, strict=True))
    paper_TVSP = np.stack([across_TVP, sign * x_TVCP[:, :, axis]], axis=2)
    return np.where(absent_T11P, np.nan, paper_TVSP).astype(np.float32)


@dataclass(frozen=True)
class Box:
    """The extent of a clip's stick figures, in the unit of its joints, without outlying ones."""

    left: float
    bottom: float
    width: float
    height: float


def box_of(x_TVSP: NDArray[np.float32]) -> Box:
    """The extent of projected joints; a square metre if there are none."""
    if not np.isfinite(x_TVSP).any():
        return Box(-0.5, -0.5, 1, 1)
    low_S, high_S = np.nanquantile(x_TVSP, [0.005, 0.995], axis=(0, 1, 3))
    size_S = np.maximum(high_S - low_S, 0.01)
    return Box(float(low_S[0]), float(low_S[1]), float(size_S[0]), float(size_S[1]))


def draw_sticks(
    axes: Axes, layout: Layout, x_TVSP: NDArray[np.float32], metres: float, frames: int = 0, height: float = 0
) -> None:
    """Draw frames side by side on so many metres, the first and the last among them: `frames`, or as many as fit.

    height: of the space for them, in metres, if it is more than the clip needs.
    """
    box = box_of(x_TVSP)
    frames = min(len(x_TVSP), frames or max(3, int(metres / (1.1 * box.width))), _MOST)
    pitch = metres / frames
    child, parent = np.arange(len(layout.joints)), np.array(layout.parents)
    bones = np.stack([child, parent], 1)[child != parent]
    for place, frame in enumerate(np.linspace(0, len(x_TVSP) - 1, frames).round().astype(int)):
        centre = (place + 0.5) * pitch
        to_place_S = np.array([centre - box.left - box.width / 2, 0], np.float32)
        for body in range(x_TVSP.shape[3]):
            x_VS = x_TVSP[frame, :, :, body] + to_place_S
            if np.isfinite(x_VS).all():
                colour = COLOURS[body % len(COLOURS)]
                axes.add_collection(LineCollection(list(x_VS[bones]), colors=colour, linewidths=1.5, capstyle="round"))
                axes.plot(*x_VS.T, ".", color=colour, markersize=2.5)
        if not np.isfinite(x_TVSP[frame]).any():
            axes.text(centre, box.bottom + box.height / 2, "no body", ha="center", fontsize=8, color="0.6")
        under = box.bottom - 0.03 * box.height
        axes.text(centre, under, f"{frame + 1}", ha="center", va="top", fontsize=8, color="0.4")
    height = max(box.height, height)
    bottom, top = box.bottom - 0.15 * height, box.bottom + 1.05 * height
    axes.set(xlim=(0, metres), ylim=(bottom, top), aspect="equal")
    axes.axis("off")
