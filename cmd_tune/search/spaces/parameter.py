"""A searched setting, and how one is read from a space file: choices or a range, as W&B sweeps write them."""

import math
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from reprlib import repr as shortened
from typing import Any

from cmd_tune.config import Settings, check_setting, usage_error
from cmd_tune.errors import UsageError, nearest

LARGEST = sys.float_info.max
MOST_MULTIPLES = 2**53  # of q, which samplers treat as float64

_LOG = ("log_uniform_values", "q_log_uniform_values")
RANGES = ("uniform", "q_uniform", "int_uniform", *_LOG)
_EXPONENTS = ("log_uniform", "q_log_uniform")  # W&B's, whose bounds are exponents


@dataclass(frozen=True)
class Parameter:
    """One searched setting: `choices`, or a range from `low` to `high`, both included.

    If `q` is not 0, the values are its multiples, exactly: 3·0.1 is 0.3.
    """

    name: str
    distribution: str
    low: float = 0
    high: float = 0
    q: float = 0
    choices: tuple[Any, ...] = ()

    @property
    def log(self) -> bool:
        """Whether a range is even on a log scale."""
        return self.distribution in _LOG

    @property
    def first(self) -> Any:
        """The first choice, or the lowest value of the range."""
        return self.choices[0] if self.choices else self.at(self.multiples()[0]) if self.q else self.low

    def multiples(self) -> tuple[int, int]:
        """The first and last k for which k·q lies in the range; the first is the larger where none does."""
        return math.ceil(_exact(self.low) / _exact(self.q)), math.floor(_exact(self.high) / _exact(self.q))

    def at(self, position: float) -> Any:
        """The value at a position in the range: of a stepped one k·q for k, else the position itself."""
        if not self.q:
            return min(max(position, self.low), self.high)  # exp(log(high)) may round past high
        multiple = position * _exact(self.q)
        return int(multiple) if _whole(self.name) else float(multiple)

    def position(self, value: Any) -> Any:
        """The position of a value in the range: the inverse of `at`."""
        return int(_exact(value) / _exact(self.q)) if self.q else value

    def misfit(self, value: Any) -> str:
        """What keeps a value from being one of this parameter's; empty where nothing does."""
        if self.choices:
            return "" if value in self.choices else f"is none of {', '.join(map(str, self.choices))}"
        if not self.low <= value <= self.high:
            return f"lies outside {self.low} to {self.high}"
        if self.q and (_exact(value) / _exact(self.q)).denominator != 1:
            return f"is no multiple of {self.q}"
        return ""


@dataclass(frozen=True)
class Place:
    """A place in a space file, and how a value that stands there is read."""

    file: str
    keys: str = ""

    def __getitem__(self, key: str | int) -> "Place":
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.keys else key
        return Place(self.file, self.keys + step)

    def __str__(self) -> str:
        return f"{self.file}: {self.keys}" if self.keys else self.file

    def error(self, message: str) -> UsageError:
        return usage_error(str(self), message)

    def mapping(self, value: Any, known: Collection[str], example: str, needed: Iterable[str] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"should be a mapping ({example}); found {found(value)}")
        for key in value:
            if key not in known:
                raise self[str(key)].error(f"unknown key, {nearest(str(key), known)}")
        for key in needed:
            if key not in value:
                raise self[key].error(f"is missing; write {example}")
        return value

    def items(self, value: Any, example: str) -> list[tuple["Place", Any]]:
        if not isinstance(value, list):
            raise self.error(f"should be a list of {example}; found {found(value)}")
        return [(self[index], item) for index, item in enumerate(value)]

    def one_of(self, value: Any, known: Collection[str]) -> str:
        if not isinstance(value, str) or value not in known:
            raise self.error(f"{found(value)} is unknown, {nearest(value if isinstance(value, str) else '', known)}")
        return value

    def text(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise self.error(f"should be a name; found {found(value)}")
        return value

    def number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise self.error(f"should be a finite number; found {found(value)}")
        return value

    def count(self, value: Any, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(f"should be a whole number of {least} or more; found {found(value)}")
        return value

    def setting(self, name: str, value: Any) -> Any:
        checked = check_setting(str(self), name, value)
        return list(checked) if isinstance(checked, tuple) else checked


def read_parameter(at: Place, name: str, value: Any) -> Parameter:
    spec = at.mapping(value, ("value", "values", "distribution", "min", "max", "q"), "value, values, or min and max")
    kind = spec["distribution"] if "distribution" in spec else _inferred(at, spec)
    if kind in _EXPONENTS:
        raise at["distribution"].error(
            f"W&B's {kind} takes exponents as min and max; write {kind}_values for the values"
        )
    kind = at["distribution"].one_of(kind, ("constant", "categorical", *RANGES))
    takes = {"constant": ["value"], "categorical": ["values"]}.get(kind, ["min", "max"])
    for key in takes:
        if key not in spec:
            raise at[key].error(f"is missing; {kind} takes {' and '.join(takes)}")
    for key in spec:
        if key not in (*takes, "distribution") and not (key == "q" and kind.startswith("q_")):
            raise at[key].error(f"does not go with {kind}, which takes {' and '.join(takes)}; remove it")
    if kind in RANGES:
        return _range(at, name, kind, spec)
    if kind == "constant":
        return Parameter(name, kind, choices=(at["value"].setting(name, spec["value"]),))
    choices = []
    for place, choice in at["values"].items(spec["values"], "values"):
        checked = place.setting(name, choice)
        if checked in choices:
            raise place.error(f"{checked} stands there twice; remove one")
        choices.append(checked)
    if not choices:
        raise at["values"].error("is empty; list one value or more")
    return Parameter(name, kind, choices=tuple(choices))


def _inferred(at: Place, spec: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is written."""
    if "value" in spec or "values" in spec:
        return "constant" if "value" in spec else "categorical"
    if "min" not in spec and "max" not in spec:
        raise at.error("says nothing to try; give it value, values, or min and max")
    return "int_uniform" if all(isinstance(spec.get(key), int) for key in ("min", "max")) else "uniform"


def _range(at: Place, name: str, kind: str, spec: Mapping[str, Any]) -> Parameter:
    if Settings.model_fields[name].annotation not in (int, float):
        raise at.error("is not a number and has no range; list its values")
    low, high = (at[key].number(spec[key]) for key in ("min", "max"))
    q = at["q"].number(spec.get("q", 1)) if kind.startswith("q_") else int(kind == "int_uniform")
    if low > high:
        raise at["min"].error(f"{low} is above max, {high}; swap them")
    if kind in _LOG and low <= 0:
        raise at["min"].error(f"{low} has no logarithm; {kind} needs a min above 0")
    for key, number in (("min", low), ("max", high), ("q", q)):
        if not float(number).is_integer() and (kind == "int_uniform" or (_whole(name) and key == "q")):
            raise at[key].error(f"{number} is not whole; {kind if kind == 'int_uniform' else name} takes whole numbers")
    if q < 0 or (q == 0 and kind.startswith("q_")):
        raise at["q"].error(f"{q} is not above 0; results are multiples of q")
    if _whole(name) and not q:
        raise at.error(f"takes whole numbers, not {kind}; write distribution: int_uniform or q_log_uniform_values")
    parameter = Parameter(name, kind, at["min"].setting(name, low), at["max"].setting(name, high), q)
    if q:
        first, last = parameter.multiples()
        if first > last or last > MOST_MULTIPLES:
            amount = "no multiple" if first > last else "too many multiples"
            raise at["q"].error(f"{q} has {amount} in {low} to {high}; change q or the range")
    return parameter


def _whole(name: str) -> bool:
    return Settings.model_fields[name].annotation is int


def _exact(number: float) -> Fraction:
    """A number as it is written: 0.1 is one tenth, so that 3·0.1 is 0.3."""
    return Fraction(str(number))


def found(value: Any) -> str:
    """What a file has in a place, shortened, for an error."""
    return "nothing" if value is None else shortened(value)
