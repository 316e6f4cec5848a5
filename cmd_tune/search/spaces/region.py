"""Draws from the configurations of a space that may still be tried: rejection sampling that learns from rejections.

The space begins as one box. If a draw is not allowed, its box is cut in two, and a part in which a constraint cannot
hold is dropped. So ever more draws are allowed, in the shares that plain rejection would give, however few
configurations are allowed. A box of one configuration that may not be tried is dropped as well. When no box is left,
all allowed configurations have been tried.

A parameter that does not count in a configuration is drawn as well, and left out of it; its box has the bounds of the
setting's own value.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from cmd_tune.search.spaces.bounds import Bounds, can_hold, either, truths
from cmd_tune.search.spaces.conditions import Conditions
from cmd_tune.search.spaces.constraints import Constraint, parse_constraint
from cmd_tune.search.spaces.parameter import Parameter

MOST_DRAWS = 50_000  # for one configuration; a few seconds

Range = tuple[float, float]  # positions on an axis, both included
Allowed = Callable[[Mapping[str, Any]], bool]

# What `Settings` demands of several settings, as constraints, so that boxes can be dropped by it; and the settings of
# which it demands anything together.
RULES = tuple(
    parse_constraint(text)
    for text in ("topk <= queue_size", "crossclr_topk <= queue_size", "objective != 'base' or stages == 'one'")
)
RULED = frozenset({"modalities"}).union(*(rule.names for rule in RULES))


class Region:
    """The allowed configurations of some parameters, with the boxes that earlier draws have left."""

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Collection[Constraint],
        settings: Mapping[str, Any],
        allowed: Allowed,
        seed: str,
    ) -> None:
        """settings: those that are not searched; constraints on an absent one are left out.

        allowed: the final check of a configuration, which also applies the rules of `Settings`.
        """
        self._parameters, self._conditions = parameters, Conditions(parameters)
        self._axes = {name: _Axis(parameter) for name, parameter in parameters.items()}
        self._settings, self._allowed, self._random = settings, allowed, Random(seed)  # noqa: S311
        known = settings.keys() | parameters.keys()
        self._constraints = [rule for rule in (*constraints, *RULES) if rule.names <= known]
        self._fixed = {name: _bounds(value) for name, value in settings.items()}
        self._root = self._box({name: axis.whole for name, axis in self._axes.items()})

    @property
    def exhausted(self) -> bool:
        """Whether it is certain that there is nothing left to draw."""
        return self._root.share == 0

    def draw(self, tried: Allowed = lambda values: False) -> dict[str, Any] | None:
        """A configuration that is allowed and has not been tried; None if none is left or found."""
        for _ in range(MOST_DRAWS):
            if self.exhausted:
                return None
            way = [self._root]
            while parts := way[-1].parts:
                way += self._random.choices(parts, [part.share for part in parts])
            drawn = {name: self._axes[name].draw(span, self._random) for name, span in way[-1].ranges.items()}
            values = self._conditions.reduced(drawn, self._settings)
            cause = self._cause(values, tried)
            if cause is None:
                return values
            self._cut(way.pop(), cause)
            for box in reversed(way):
                box.share = sum(part.share for part in box.parts)
        return None

    def _cause(self, values: Mapping[str, Any], tried: Allowed) -> Collection[str] | None:
        """The parameters whose values cause the rejection of a configuration; None if it is allowed."""
        whole = {**self._settings, **values}
        for constraint in self._constraints:
            if constraint.names <= whole.keys() and not constraint.holds(whole):
                return self._conditions.deciding(constraint.names) & values.keys()
        if not self._allowed(values):
            return self._conditions.deciding(RULED) & values.keys()
        return values.keys() if tried(values) else None

    def _cut(self, box: "_Box", names: Collection[str]) -> None:
        """Halve a box along the widest of these parameters; one that has a single value of each has nothing left."""
        halves = {name: both for name in names if (both := self._axes[name].halves(box.ranges[name]))}
        if not halves:
            box.share = 0
            return
        widest = max(halves, key=lambda name: (self._axes[name].share(box.ranges[name]), name))
        parts = [self._box({**box.ranges, widest: half}) for half in halves[widest]]
        box.parts = [part for part in parts if part.share > 0]
        box.share = sum(part.share for part in box.parts)

    def _box(self, ranges: dict[str, Range]) -> "_Box":
        bounds = self._bounds(ranges)
        known = (constraint for constraint in self._constraints if constraint.names <= bounds.keys())
        if not all(can_hold(constraint, bounds) for constraint in known):
            return _Box(ranges, 0.0)
        return _Box(ranges, math.prod(self._axes[name].share(span) for name, span in ranges.items()))

    def _bounds(self, ranges: Mapping[str, Range]) -> dict[str, Bounds]:
        """Those of all settings in a box; a parameter that may not count, and has no value then, has none."""
        bounds = dict(self._fixed)
        for name in self._conditions.order:
            when, own = self._parameters[name].when, self._axes[name].bounds(ranges[name])
            counts = truths(when, bounds) if when and when.names <= bounds.keys() else frozenset([True, when is None])
            if False not in counts:
                bounds[name] = own
            elif True in counts and name in bounds:
                bounds[name] = either(own, bounds[name])
        return bounds


@dataclass
class _Box:
    """A range of each parameter, with its share of all draws; once cut, its parts stand for it."""

    ranges: dict[str, Range]
    share: float
    parts: Sequence["_Box"] = ()


class _Axis:
    """A parameter's positions: a choice's number (numbers in order), a multiple's k, else the value or its log."""

    def __init__(self, parameter: Parameter) -> None:
        self._parameter, self._log = parameter, parameter.log
        self._choices: tuple[Any, ...] = parameter.choices
        if all(isinstance(choice, int | float) for choice in self._choices):
            self._choices = tuple(sorted(self._choices))
        self._whole_numbers = bool(self._choices or parameter.q)
        self.whole: Range = (parameter.low, parameter.high)
        if self._choices:
            self.whole = (0, len(self._choices) - 1)
        elif parameter.q:
            self.whole = parameter.multiples()
        elif self._log:
            self.whole = (math.log(parameter.low), math.log(parameter.high))

    def share(self, span: Range) -> float:
        """The share of all draws that fall in a range."""
        whole = self._length(self.whole)
        return self._length(span) / whole if whole else 1.0

    def halves(self, span: Range) -> tuple[Range, Range] | None:
        """A range split in two of about equal share; None for a single position."""
        low, high = span
        if self._whole_numbers:
            middle = math.isqrt(int(low * high)) if self._log else (low + high) // 2
            middle = min(max(middle, low), high - 1)
            return ((low, middle), (middle + 1, high)) if low < high else None
        middle = (low + high) / 2
        return ((low, middle), (middle, high)) if low < middle < high else None

    def draw(self, span: Range, random: Random) -> Any:
        """A setting's value from a range, each as often as its share says."""
        low, high = span
        if not self._whole_numbers:
            return self._value(random.uniform(low, high))
        if not self._log:
            return self._value(random.randint(int(low), int(high)))
        drawn = round(math.exp(random.uniform(math.log(low - 0.5), math.log(high + 0.5))))
        return self._value(min(max(drawn, low), high))

    def bounds(self, span: Range) -> Bounds:
        if self._choices and not isinstance(self._choices[0], int | float):
            return frozenset(map(str, self._choices[int(span[0]) : int(span[1]) + 1]))
        return self._value(span[0]), self._value(span[1])

    def _length(self, span: Range) -> float:
        low, high = span
        if not self._whole_numbers:
            return high - low
        return math.log((high + 0.5) / (low - 0.5)) if self._log else high - low + 1

    def _value(self, position: float) -> Any:
        if self._choices:
            return self._choices[int(position)]
        return self._parameter.at(math.exp(position) if self._log and not self._whole_numbers else position)


def _bounds(value: Any) -> Bounds:
    """The bounds of a setting that does not vary. A list has none: no constraint names one."""
    return (value, value) if isinstance(value, int | float) else frozenset([str(value)])
