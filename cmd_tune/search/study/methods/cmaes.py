"""Covariance matrix adaptation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space import TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class CmaEs(Method):
    """Generations of draws from a normal distribution that moves to where the best of the last one lay (Hansen, 2001).

    The first trial is a random draw. Of trials that were stopped early it learns nothing.
    """

    trials: ClassVar = TrialSource.DRAWN
    learns: ClassVar = True
    takes_metrics: ClassVar = False

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=seed, warn_independent_sampling=False)

    def unfit(self, parameters: Mapping[str, Parameter]) -> str:
        if any(not parameter.choices for parameter in parameters.values()):
            return ""
        return "method cmaes learns of ranges alone, and there is none; write min and max, or use method: tpe"

    def remark(self, parameters: Mapping[str, Parameter]) -> str:
        drawn = [name for name, parameter in parameters.items() if parameter.choices]
        return f"method cmaes draws {', '.join(drawn)} at random, since it learns of ranges alone" if drawn else ""
