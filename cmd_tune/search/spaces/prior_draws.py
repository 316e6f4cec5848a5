"""Draws from what is believed of a parameter before the search."""

import math
from random import Random
from typing import Any

from cmd_tune.search.spaces.parameter import Parameter

WIDTH = 0.1  # standard deviation around the mode, as a share of the range, on its own scale


def draw_from_prior(parameter: Parameter, random: Random) -> Any:
    """A value around the mode of the parameter's prior: normal on the scale of the range, cut off at its ends.

    Of choices, the mode itself.
    """
    assert parameter.prior
    if parameter.choices:
        return parameter.prior.mode
    low, high = (math.log(x) if parameter.log else x for x in (parameter.low, parameter.high))
    mode = math.log(parameter.prior.mode) if parameter.log else parameter.prior.mode
    place = math.inf
    while not low <= place <= high:
        place = random.gauss(mode, WIDTH * (high - low))
    value = math.exp(place) if parameter.log else place
    if not parameter.q:
        return parameter.at(value)
    first, last = parameter.multiples()
    return parameter.at(min(max(round(value / parameter.q), first), last))
