"""Figures as PNG files, drawn without a display and without pyplot's global state."""

from pathlib import Path
from typing import Protocol

from matplotlib.figure import Figure

from cmd_tune.files import atomic_file

DPI = 120


class Drawing(Protocol):
    """A figure as data: its numbers are computed before anything is drawn.

    caption: what it shows, in a few words. size: its width and height in inches.
    """

    @property
    def caption(self) -> str: ...

    @property
    def size(self) -> tuple[float, float]: ...

    def draw(self, figure: Figure) -> None:
        """Draw on an empty figure of this size."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts are laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; returns its path."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    return path


def save_drawing(drawing: Drawing, path: Path) -> Path:
    """Draw and write a figure as PNG, whole or not at all; returns its path."""
    figure = new_figure(*drawing.size)
    drawing.draw(figure)
    return save_figure(figure, path)
