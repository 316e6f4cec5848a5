"""Draws a store: lengths of clips, clips per class, and a few clips as stick figures over time.

T frame, V joint, C coordinate, P body, S the two directions of the paper.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cmd_tune.data.ingest.normalize import NORMALIZATION
from cmd_tune.data.inspect.statistics import counted
from cmd_tune.data.store import Store
from cmd_tune.figures import new_figure, save_figure

CLIPS = 6
_WIDTH, _TOP, _TALLEST = 12.0, 2.4, 1.5  # inches: the figure, its upper row, the tallest stick figure
_MOST = 14  # frames of a clip
_COLOURS = ("#1f4e79", "#d1602a", "#3c8d40", "#8a4f9e")  # one a body, in turn
_AZIMUTH = np.radians(20)  # seen a little from the side, so that what points forward has a length


def draw_store(store: Store, path: Path) -> Path:
    """Write the figure as PNG; returns its path. Raises CmdTuneError if it cannot be written."""
    clips = _chosen(store)
    drawn = [_projected(store, clip) for clip in clips]
    tallest = max(_box(x_TVSP).height for x_TVSP in drawn)
    metres = tallest * _WIDTH / _TALLEST
    heights = [0.45 + _TALLEST * _box(x_TVSP).height / tallest for x_TVSP in drawn]
    figure = new_figure(_WIDTH, _TOP + sum(heights))
    grid = figure.add_gridspec(1 + len(clips), 2, height_ratios=[_TOP, *heights])
    _histogram(figure.add_subplot(grid[0, 0]), store)
    _classes(figure.add_subplot(grid[0, 1]), store)
    for row, (clip, x_TVSP) in enumerate(zip(clips, drawn, strict=True), start=1):
        _sticks(figure.add_subplot(grid[row, :]), store, clip, x_TVSP, metres)
    return save_figure(figure, path)


def _chosen(store: Store) -> list[int]:
    """Choose clips to draw: of classes far apart, each of its class's median length; one of them has all bodies."""
    labels = np.unique(store.label_N)
    picked = labels[np.linspace(0, len(labels) - 1, min(CLIPS, len(labels))).round().astype(int)]
    chosen = [_typical(store, np.flatnonzero(store.label_N == label)) for label in picked]
    if store.bodies > 1 and not any(_has_all(store, clip) for clip in chosen):
        full = next((clip for clip in range(len(store)) if _has_all(store, clip)), None)
        if full is not None:
            chosen = [*(clip for clip in chosen[:-1] if store.label_N[clip] != store.label_N[full]), full]
    return chosen


def _typical(store: Store, clips_N: NDArray[np.int64]) -> int:
    length_N = store.length_N.numpy()[clips_N]
    return int(clips_N[np.argsort(length_N, kind="stable")[len(clips_N) // 2]])


def _joints(store: Store, clip: int) -> NDArray[np.float32]:
    """The joints of a clip, (T, V, C, P)."""
    start, length = int(store.start_N[clip]), int(store.length_N[clip])
    return store.rows_FX[start : start + length].float().numpy().reshape(length, *store.frame_shape())


def _has_all(store: Store, clip: int) -> bool:
    return bool(_joints(store, clip).any(axis=(0, 1, 2)).all())


def _projected(store: Store, clip: int) -> NDArray[np.float32]:
    """Joints projected to across and up, (T, V, S, P); absent bodies are NaN.

    A Kinect's y is up, its z the depth; an image's y is down.
    """
    x_TVCP = _joints(store, clip)
    absent_T11P = ~x_TVCP.any(axis=(1, 2), keepdims=True)
    if store.layout.coordinates == 2:
        upright_TVSP = x_TVCP * np.array([1, -1], np.float32)[:, None]
        return np.where(absent_T11P, np.nan, upright_TVSP)
    across, depth, up = (0, 1, 2) if store.normalization == NORMALIZATION else (0, 2, 1)
    across_TVP = np.cos(_AZIMUTH) * x_TVCP[:, :, across] + np.sin(_AZIMUTH) * x_TVCP[:, :, depth]
    paper_TVSP = np.stack([across_TVP, x_TVCP[:, :, up]], axis=2)
    return np.where(absent_T11P, np.nan, paper_TVSP).astype(np.float32)


@dataclass(frozen=True)
class _Box:
    """The extent of a clip's stick figures, in metres or torsos, without outlying joints."""

    left: float
    bottom: float
    width: float
    height: float


def _box(x_TVSP: NDArray[np.float32]) -> _Box:
    if not np.isfinite(x_TVSP).any():
        return _Box(-0.5, -0.5, 1, 1)
    low_S, high_S = np.nanquantile(x_TVSP, [0.005, 0.995], axis=(0, 1, 3))
    size_S = np.maximum(high_S - low_S, 0.01)
    return _Box(float(low_S[0]), float(low_S[1]), float(size_S[0]), float(size_S[1]))


def _sticks(axes: Axes, store: Store, clip: int, x_TVSP: NDArray[np.float32], metres: float) -> None:
    """Choose as many frames as fit side by side, the first and the last among them."""
    box = _box(x_TVSP)
    frames = min(len(x_TVSP), max(3, int(metres / (1.1 * box.width))), _MOST)
    pitch = metres / frames
    child, parent = np.arange(len(store.layout.joints)), np.array(store.layout.parents)
    bones = np.stack([child, parent], 1)[child != parent]
    for place, frame in enumerate(np.linspace(0, len(x_TVSP) - 1, frames).round().astype(int)):
        centre = (place + 0.5) * pitch
        to_place_S = np.array([centre - box.left - box.width / 2, 0], np.float32)
        for body in range(x_TVSP.shape[3]):
            x_VS = x_TVSP[frame, :, :, body] + to_place_S
            if np.isfinite(x_VS).all():
                colour = _COLOURS[body % len(_COLOURS)]
                axes.add_collection(LineCollection(list(x_VS[bones]), colors=colour, linewidths=1.5, capstyle="round"))
                axes.plot(*x_VS.T, ".", color=colour, markersize=2.5)
        if not np.isfinite(x_TVSP[frame]).any():
            axes.text(centre, box.bottom + box.height / 2, "no body", ha="center", fontsize=8, color="0.6")
        under = box.bottom - 0.03 * box.height
        axes.text(centre, under, f"{frame + 1}", ha="center", va="top", fontsize=8, color="0.4")
    bottom, top = box.bottom - 0.15 * box.height, box.bottom + 1.05 * box.height
    axes.set(xlim=(0, metres), ylim=(bottom, top), aspect="equal")
    bodies = ", a colour a body" if np.isfinite(x_TVSP).any(axis=(0, 1, 2)).sum() > 1 else ""
    title = f"class {store.label_N[clip]}: {store.names[clip]}, {len(x_TVSP)} frames{bodies}"
    axes.set_title(title, loc="left", fontsize=9)
    axes.axis("off")


def _histogram(axes: Axes, store: Store) -> None:
    length_N = store.length_N.numpy()
    step = 1 + int(np.ptp(length_N)) // 60  # whole frames, so that every bar counts as many lengths
    edges_E = np.arange(length_N.min(), length_N.max() + step + 1, step) - 0.5
    axes.hist(length_N, bins=list(edges_E), color=_COLOURS[0])
    median = float(np.median(length_N))
    axes.axvline(median, color=_COLOURS[1], linewidth=1.2)
    title = f"{store.dataset}: {len(store):,} clips, half of them longer than {median:g} frames"
    axes.set(xlabel="frames of a clip", ylabel="clips", title=title)
    axes.spines[["top", "right"]].set_visible(False)


def _classes(axes: Axes, store: Store) -> None:
    counts = counted(store.label_N)
    axes.bar(list(counts), list(counts.values()), width=0.85, color=_COLOURS[0])
    axes.set(xlabel="class", ylabel="clips", title="1 class" if len(counts) == 1 else f"{len(counts)} classes")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
