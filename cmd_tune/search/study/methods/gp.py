"""Bayesian optimisation with a Gaussian process."""

from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.space import TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Gp(Method):
    """Draws at random until `startup` trials have finished, then where a Gaussian process expects most improvement.

    It knows which trials run, and looks elsewhere. Of trials that were stopped early it learns nothing.
    """

    trials: ClassVar = TrialSource.DRAWN
    learns: ClassVar = True
    takes_prior: ClassVar = True
    takes_earlier: ClassVar = True

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
