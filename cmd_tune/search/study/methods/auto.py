"""The method that suits a space and a budget."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cmd_tune.search.spaces.space import Space, TrialSource
from cmd_tune.search.study.methods.base import Method
from cmd_tune.search.study.methods.gp import Gp
from cmd_tune.search.study.methods.grid import Grid
from cmd_tune.search.study.methods.tpe import Tpe

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

MOST_GP_TRIALS = 200  # a Gaussian process takes seconds a trial beyond
MOST_GP_PARAMETERS = 10


class Auto(Method):
    """Stands for another method: `resolve` says which, and why. docs/spaces.md has the rule."""

    trials: ClassVar = TrialSource.DRAWN
    learns: ClassVar = True
    takes_conditions: ClassVar = True
    takes_prior: ClassVar = True
    takes_earlier: ClassVar = True

    def resolve(self, space: Space, trials: int | None) -> tuple[str, Method, str]:
        parameters = space.parameters.values()
        count = math.prod(len(parameter.choices) for parameter in parameters)  # 0 with a range
        if 0 < count <= (trials or 0):
            return "grid", _Combinations(), f"the budget has a trial for each of {count} combinations"
        if space.conditions.conditional:
            return "tpe", Tpe(), "some parameters have conditions"
        if count or any(parameter.choices for parameter in parameters):
            return "tpe", Tpe(), "some parameters are choices"
        if space.early_terminate:
            return "tpe", Tpe(), "it learns of trials that are stopped early as well"
        if trials is None or trials > MOST_GP_TRIALS or len(space.parameters) > MOST_GP_PARAMETERS:
            few = f"{MOST_GP_TRIALS} trials and {MOST_GP_PARAMETERS} parameters"
            return "tpe", Tpe(), f"the search is larger than {few}"
        return "gp", Gp(), "all parameters are ranges, and trials are few"

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        raise AssertionError("it stands for another method")


class _Combinations(Grid):
    """A grid after the start points, as of a search whose trials are drawn."""

    trials: ClassVar = TrialSource.DRAWN

    def listed(self, space: Space, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        points = Method.listed(self, space, settings)
        return points + [cell for cell in space.cells(settings) if cell not in points]
