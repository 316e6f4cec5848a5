"""Quasi-random draws, which fill a space more evenly than independent ones."""

import warnings
from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.space import TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Qmc(Method):
    """A scrambled Sobol' sequence (Owen, 1998), one coordinate a parameter. Its very first trial is a random draw."""

    trials: ClassVar = TrialSource.DRAWN
    stops_early: ClassVar = True
    sequence: ClassVar = True

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import QMCSampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
