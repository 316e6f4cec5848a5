"""Draws the same clips under each normalisation, a column a family."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.inspect.figure import chosen_clips
from cmd_tune.data.inspect.posture import Posture
from cmd_tune.data.inspect.sticks import box_of, draw_sticks, project
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.store import Store
from cmd_tune.figures import new_figure, save_figure

_TYPICAL, _TIPPED = 3, 3  # clips: of classes far apart; those that some family tips most, of different classes
_COLUMN, _TITLE = 2.7, 0.3  # inches: the width of a family, the height of a title
_ACROSS = 3  # frames

Projected = NDArray[np.float32]  # (T, V, S, P)


def draw_families(source: Store, families: Mapping[str, Posture], path: Path) -> Path:
    """Write the figure as PNG; returns its path. families: by name, how the clips of `source` stand under each.

    Raises CmdTuneError if it cannot be written.
    """
    clips = _chosen(source, families)
    drawn = {
        (clip, name): project(_normalised(source, clip, name), stands.axis, stands.sign)
        for clip in clips
        for name, stands in families.items()
    }
    drawn = _of_one_size(drawn)
    boxes = {key: box_of(x_TVSP) for key, x_TVSP in drawn.items()}
    metres = 1.1 * _ACROSS * max(box.width for box in boxes.values())
    tall = {clip: max(boxes[clip, name].height for name in families) for clip in clips}
    heights = [_TITLE + _COLUMN / metres * 1.2 * tall[clip] for clip in clips]
    figure = new_figure(_COLUMN * len(families), _TITLE + sum(heights))
    grid = figure.add_gridspec(len(clips), len(families), height_ratios=heights)
    for row, clip in enumerate(clips):
        for column, name in enumerate(families):
            axes = figure.add_subplot(grid[row, column])
            draw_sticks(axes, source.layout, drawn[clip, name], metres, _ACROSS, tall[clip])
            if row == 0:
                axes.set_title(f"{name}\n", loc="center", fontsize=11)
            if column == 0:
                axes.set_title(f"class {source.label_N[clip]}: {source.names[clip]}", loc="left", fontsize=9)
    return save_figure(figure, path)


def _of_one_size(drawn: Mapping[tuple[int, str], Projected]) -> dict[tuple[int, str], Projected]:
    """Projected clips by clip and family: those in another unit are drawn as tall as the others, by their tallest."""
    tallest: dict[str, float] = {}
    for (_, name), x_TVSP in drawn.items():
        tallest[name] = max(tallest.get(name, 0.0), box_of(x_TVSP).height)
    others = [height for name, height in tallest.items() if NORMALIZATIONS[name].keeps_size]

    def scale(name: str) -> float:
        return 1.0 if NORMALIZATIONS[name].keeps_size or not others else max(others) / tallest[name]

    return {(clip, name): x_TVSP * np.float32(scale(name)) for (clip, name), x_TVSP in drawn.items()}


def _normalised(source: Store, clip: int, family: str) -> NDArray[np.float32]:
    """The joints of a clip under a family; as they are in the source if it has them so, or the family refuses them."""
    x_TVCP = source.clip_joints(clip)
    try:
        return x_TVCP if family == source.normalization else NORMALIZATIONS[family].function(x_TVCP, source.layout)
    except ValueError:
        return x_TVCP


def _chosen(source: Store, families: Mapping[str, Posture]) -> list[int]:
    turned = [stands.tilt_N for name, stands in families.items() if NORMALIZATIONS[name].up is not None]
    tilt_N = np.nan_to_num(np.max(turned or [stands.tilt_N for stands in families.values()], axis=0))
    tipped: list[int] = []
    for clip in np.argsort(-tilt_N, kind="stable").tolist():
        if len(tipped) < _TIPPED and source.label_N[clip] not in source.label_N[tipped]:
            tipped.append(clip)
    typical = [clip for clip in chosen_clips(source)[::2] if clip not in tipped]
    return [*typical[:_TYPICAL], *tipped]
