"""Independent draws."""

from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.space import TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class RandomDraws(Method):
    """Draws as the distributions say, whatever has been found."""

    trials: ClassVar = TrialSource.DRAWN
    stops_early: ClassVar = True
    takes_conditions: ClassVar = True
    takes_prior: ClassVar = True

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
