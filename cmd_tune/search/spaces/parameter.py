"""A searched setting: choices, or a range."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cmd_tune.search.spaces.constraints import Constraint
from cmd_tune.settings import Settings

LOG = ("log_uniform_values", "q_log_uniform_values")  # distributions that are even on a log scale


@dataclass(frozen=True)
class Prior:
    """What is believed of a setting before the search: its best value, and with which confidence, from 0 to 1."""

    mode: Any
    confidence: float


@dataclass(frozen=True)
class Parameter:
    """One searched setting: `choices`, or a range from `low` to `high`, both included.

    If `q` is not 0, the values are its multiples, exactly: 3·0.1 is 0.3. when: what must hold for it to count.
    """

    name: str
    distribution: str
    low: float = 0
    high: float = 0
    q: float = 0
    choices: tuple[Any, ...] = ()
    prior: Prior | None = None
    when: Constraint | None = None

    @property
    def log(self) -> bool:
        """Whether a range is even on a log scale."""
        return self.distribution in LOG

    @property
    def first(self) -> Any:
        """The first choice, or the lowest value of the range."""
        return self.choices[0] if self.choices else self.at(self.multiples()[0]) if self.q else self.low

    def multiples(self) -> tuple[int, int]:
        """The first and last k for which k·q lies in the range; the first is the larger if none does."""
        return math.ceil(_exact(self.low) / _exact(self.q)), math.floor(_exact(self.high) / _exact(self.q))

    def at(self, position: float) -> Any:
        """The value at a position in the range: of a stepped one k·q for k, else the position itself."""
        if not self.q:
            return min(max(position, self.low), self.high)  # exp(log(high)) may round past high
        multiple = position * _exact(self.q)
        return int(multiple) if is_whole(self.name) else float(multiple)

    def position(self, value: Any) -> Any:
        """The position of a value in the range: the inverse of `at`."""
        return int(_exact(value) / _exact(self.q)) if self.q else value

    def why_invalid(self, value: Any) -> str:
        """Why a value is not one of this parameter's; empty if it is one."""
        if self.choices:
            return "" if value in self.choices else f"is none of {', '.join(map(str, self.choices))}"
        if not self.low <= value <= self.high:
            return f"lies outside {self.low} to {self.high}"
        if self.q and (_exact(value) / _exact(self.q)).denominator != 1:
            return f"is no multiple of {self.q}"
        return ""


def is_whole(name: str) -> bool:
    """Whether a setting is a whole number."""
    return Settings.model_fields[name].annotation is int


def _exact(number: float) -> Fraction:
    """A number as it is written: 0.1 is one tenth, so that 3·0.1 is 0.3."""
    return Fraction(str(number))
