"""The tree-structured Parzen estimator."""

from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.space import TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Tpe(Method):
    """Draws at random until `startup` trials have a score, then where good ones are dense (Bergstra et al., 2011)."""

    trials: ClassVar = TrialSource.DRAWN
    learns: ClassVar = True
    stops_early: ClassVar = True
    takes_conditions: ClassVar = True
    takes_prior: ClassVar = True
    takes_earlier: ClassVar = True
    constrained: ClassVar = True

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, n_startup_trials=startup)
