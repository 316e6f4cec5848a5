"""Tables of trials on a screen of any width: as many parameters as there is room for, a line a trial."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cmd_tune.search.spaces.parameter import Parameter

_WORD = 9  # characters that a word of a heading keeps where there is little room
_LOG = 10.0  # a range of which one end is so many times the other is seen on a log scale


@dataclass(frozen=True)
class Fitted:
    """A table that leaves out parameters from the end of `names` until its widest line fits the screen.

    build: the table with these parameters, whose headings it is given by name. more: what is said of how many are left
    out, "{}".
    """

    names: Sequence[str]
    build: Callable[[Mapping[str, str]], Table]
    more: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(table: Table) -> bool:
            return Measurement.get(console, options.update_width(10_000), table).maximum <= options.max_width

        tries = [(self.names, max(map(len, self.names), default=0))]
        tries += [(self.names[:count], _WORD) for count in range(len(self.names), -1, -1)]
        for names, most in tries:
            table = self.build({name: _heading(name, most) for name in names})
            if fits(table):
                break
        yield table
        if hidden := len(self.names) - len(names):
            yield Text(self.more.replace("{}", str(hidden)), style="dim")


def by_difference(parameters: Mapping[str, Parameter], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of parameters, first those in which the rows differ most: by the spread over what each may be."""

    def spread(name: str) -> float:
        places = [_place(parameters[name], row[name]) for row in rows if name in row]
        return float(np.std(places)) if places else 0.0

    return sorted(parameters, key=lambda name: -round(spread(name), 3))


def _place(parameter: Parameter, value: Any) -> float:
    """Where a value lies among those that it may be, from 0 to 1."""
    if parameter.choices:
        index = parameter.choices.index(value) if value in parameter.choices else 0
        return index / max(1, len(parameter.choices) - 1)
    low, high = parameter.low, parameter.high
    if low > 0 and high / low >= _LOG:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return (value - low) / (high - low) if high > low else 0.0


def _heading(name: str, most: int) -> str:
    """A name, a word a line, each of at most so many characters."""
    return "\n".join(word if len(word) <= most else f"{word[: most - 1]}…" for word in name.split("_"))
