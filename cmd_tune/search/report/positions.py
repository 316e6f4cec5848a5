"""Where a value stands in the range of its parameter, from 0 to 1."""

import math
from collections.abc import Mapping
from typing import Any

from cmd_tune.search.spaces.parameter import Parameter


def position(parameter: Parameter, value: Any, *, log: bool) -> float:
    """By the order of the choices; else from the low end to the high one, on a log scale if `log`."""
    if parameter.choices:
        index = parameter.choices.index(value) if value in parameter.choices else 0
        return index / max(1, len(parameter.choices) - 1)
    low, high = parameter.low, parameter.high
    if log:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return (value - low) / (high - low) if high > low else 0.0


def is_scale(parameter: Parameter) -> bool:
    """Whether its values have an order and distances: a range, or numbers to choose from."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in parameter.choices)


def in_order(parameter: Parameter) -> tuple[Any, ...]:
    """The choices of a scale from the lowest to the highest, those of others as the file has them."""
    return tuple(sorted(parameter.choices)) if is_scale(parameter) else parameter.choices


def place_of(parameter: Parameter, values: Mapping[str, Any]) -> float:
    """Where a configuration stands on the axis of a parameter; nan if the parameter does not count in it."""
    return place(parameter, values[parameter.name]) if parameter.name in values else math.nan


def place(parameter: Parameter, value: Any) -> float:
    """Where a value stands on the axis of its parameter, from 0 to 1: choices are evenly apart, numbers ascend."""
    order = in_order(parameter)
    if order:
        return order.index(value) / (len(order) - 1) if value in order and len(order) > 1 else 0.0
    return position(parameter, value, log=parameter.log)
