"""Figures as PNG files, drawn without a display and without pyplot's global state."""

from pathlib import Path

from matplotlib.figure import Figure

from cmd_tune.files import whole_file

DPI = 120


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts are laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; returns its path."""
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    return path
