"""Draws a store: lengths of clips, clips per class, and a few clips as stick figures over time.

T frame, V joint, S the two directions of the paper, P body.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cmd_tune.data.inspect.posture import Posture, posture
from cmd_tune.data.inspect.statistics import counted
from cmd_tune.data.inspect.sticks import COLOURS, box_of, draw_sticks, project
from cmd_tune.data.store import Store
from cmd_tune.figures import new_figure, save_figure

CLIPS = 6
_WIDTH, _TOP, _TALLEST = 12.0, 2.4, 1.5  # inches: the figure, its upper row, the tallest stick figure


def draw_store(store: Store, path: Path, stands: Posture | None = None) -> Path:
    """Write the figure as PNG; returns its path. stands: of the store, if it is known already.

    Raises CmdTuneError if it cannot be written.
    """
    stands = stands or posture(store)
    clips = chosen_clips(store)
    drawn = [project(store.clip_joints(clip), stands.axis, stands.sign) for clip in clips]
    tallest = max(box_of(x_TVSP).height for x_TVSP in drawn)
    metres = tallest * _WIDTH / _TALLEST
    heights = [0.45 + _TALLEST * box_of(x_TVSP).height / tallest for x_TVSP in drawn]
    figure = new_figure(_WIDTH, _TOP + sum(heights))
    grid = figure.add_gridspec(1 + len(clips), 2, height_ratios=[_TOP, *heights])
    _histogram(figure.add_subplot(grid[0, 0]), store)
    _classes(figure.add_subplot(grid[0, 1]), store)
    for row, (clip, x_TVSP) in enumerate(zip(clips, drawn, strict=True), start=1):
        axes = figure.add_subplot(grid[row, :])
        draw_sticks(axes, store.layout, x_TVSP, metres)
        bodies = ", a colour a body" if np.isfinite(x_TVSP).any(axis=(0, 1, 2)).sum() > 1 else ""
        title = f"class {store.label_N[clip]}: {store.names[clip]}, {len(x_TVSP)} frames{bodies}"
        axes.set_title(title, loc="left", fontsize=9)
    return save_figure(figure, path)


def chosen_clips(store: Store) -> list[int]:
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


def _has_all(store: Store, clip: int) -> bool:
    return bool(store.clip_joints(clip).any(axis=(0, 1, 2)).all())


def _histogram(axes: Axes, store: Store) -> None:
    length_N = store.length_N.numpy()
    step = 1 + int(np.ptp(length_N)) // 60  # whole frames, so that every bar counts as many lengths
    edges_E = np.arange(length_N.min(), length_N.max() + step + 1, step) - 0.5
    axes.hist(length_N, bins=list(edges_E), color=COLOURS[0])
    median = float(np.median(length_N))
    axes.axvline(median, color=COLOURS[1], linewidth=1.2)
    title = f"{store.dataset}: {len(store):,} clips, half of them longer than {median:g} frames"
    axes.set(xlabel="frames of a clip", ylabel="clips", title=title)
    axes.spines[["top", "right"]].set_visible(False)


def _classes(axes: Axes, store: Store) -> None:
    counts = counted(store.label_N)
    axes.bar(list(counts), list(counts.values()), width=0.85, color=COLOURS[0])
    axes.set(xlabel="class", ylabel="clips", title="1 class" if len(counts) == 1 else f"{len(counts)} classes")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
