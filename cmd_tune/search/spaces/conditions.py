"""Which parameters of a space count in a configuration: those without a `when`, and those whose `when` holds.

A parameter that does not count has no value there; the trial has that of the settings.
"""

from collections.abc import Collection, Mapping
from typing import Any

from cmd_tune.search.spaces.constraints import Constraint
from cmd_tune.search.spaces.parameter import Parameter


class Conditions:
    """Those of some parameters.

    order: their names, each after those that its `when` speaks of. conditional: of these, the ones that have a `when`.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """Raises ValueError if conditions speak of each other in a circle."""
        self._when = {name: parameter.when for name, parameter in parameters.items()}
        self.order = _order(self._when)
        self.conditional = tuple(name for name in self.order if self._when[name])

    def counting(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
        """The parameters that count beside these values, also those that have none yet.

        settings: what the others are; a condition that speaks of an absent one is taken to hold.
        """
        whole, names = dict(settings), []
        for name in self.order:
            if _holds(self._when[name], whole):
                names.append(name)
                if name in values:
                    whole[name] = values[name]
        return names

    def reduced(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The values without those of parameters that do not count."""
        idle = self._when.keys() - self.counting(values, settings)
        return {name: value for name, value in values.items() if name not in idle}

    def deciding(self, names: Collection[str]) -> set[str]:
        """These settings, and all on which it depends if they count."""
        found, new = set[str](), set(names)
        while new:
            found |= new
            new = {other for name in new if (when := self._when.get(name)) for other in when.names} - found
        return found


def _holds(when: Constraint | None, whole: Mapping[str, Any]) -> bool:
    return when is None or not when.names <= whole.keys() or when.holds(whole)


def _order(when: Mapping[str, Constraint | None]) -> tuple[str, ...]:
    """First those without a condition, then those whose condition speaks of none that is still to come."""
    order = [name for name, condition in when.items() if condition is None]
    left = {name: condition.names for name, condition in when.items() if condition}
    while left:
        name = next((name for name, names in left.items() if not names & left.keys()), None)
        if name is None:
            raise ValueError(f"the conditions of {', '.join(left)} speak of each other in a circle; remove one")
        order.append(name)
        del left[name]
    return tuple(order)
