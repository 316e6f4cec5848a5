"""What the figures of searches share: colours, the limits of scores, the ticks of parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import MaxNLocator

from cmd_tune.formatting import format_value
from cmd_tune.search.report.positions import in_order, place
from cmd_tune.search.report.scores_in_words import is_accuracy
from cmd_tune.search.spaces.parameter import Parameter

FINISHED, STOPPED, FAILED = "#2b6ca3", "#b3bcc6", "#b5443c"
BEST, START, BASELINE = "#d9730d", "#1a7f6b", "#7a7f87"
QUIET = "#6b7280"
_TICKS = 5  # of a parameter
_CHOICES = 8  # that have a tick each
_TAIL = 0.1  # share of the scores that may lie outside a figure on the bad side


def tidy(plot: Axes) -> None:
    """No box, a faint grid behind what is drawn."""
    plot.spines[["top", "right"]].set_visible(False)
    plot.spines[["left", "bottom"]].set_color("#c4cad1")
    plot.grid(color="#e8ebee", linewidth=0.8)
    plot.set_axisbelow(True)
    plot.tick_params(color="#c4cad1", labelsize=9)


def score_label(metric: str) -> str:
    return f"{metric} (percent right)" if is_accuracy(metric) else metric


def score_limits(scores: Sequence[float], *, maximize: bool) -> tuple[float, float]:
    """The lowest and highest score that a figure shows: all good ones; of bad ones, not a few that lie far off."""
    sign = 1 if maximize else -1
    ordered = np.sort(sign * np.asarray(scores, float))
    best, worst = float(ordered[-1]), float(ordered[0])
    usual = float(np.quantile(ordered, _TAIL))
    worst = max(worst, best - 2 * (best - usual)) if best > usual else worst
    margin = 0.06 * (best - worst) or 1.0
    low, high = sorted((sign * (worst - margin), sign * (best + margin)))
    return low, high


def score_colours(scores: Sequence[float], *, maximize: bool) -> tuple[Colormap, Normalize]:
    """The best are yellow, the worst dark."""
    import matplotlib

    return matplotlib.colormaps["viridis" if maximize else "viridis_r"], Normalize(
        *score_limits(scores, maximize=maximize)
    )


def ticks(parameter: Parameter) -> tuple[list[float], list[str]]:
    """Places of some values on the parameter's axis, from 0 to 1, and the values in words."""
    values = _tick_values(parameter)
    return [place(parameter, value) for value in values], [format_value(value) for value in values]


def _tick_values(parameter: Parameter) -> list[Any]:
    if order := in_order(parameter):
        return list(order[:: -(-len(order) // _CHOICES)])
    low, high = parameter.low, parameter.high
    if not parameter.log:
        found = [float(f"{x:.12g}") for x in MaxNLocator(_TICKS - 1).tick_values(low, high)]
        return [x for x in found if low <= x <= high]
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        values = [float(f"{digit}e{power}") for power in powers for digit in digits]
        values = [x for x in values if low <= x <= high]
        if len(values) <= _TICKS:
            return values if len(values) > 1 else [low, high]
    return values[:: -(-len(values) // _TICKS)]


def words(name: str) -> str:
    """A parameter's name as a heading, a word a line."""
    return name.replace("_", "\n")
