"""Wilcoxon's test over seeds."""

import warnings
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import PlainValidator

from cmd_tune.search.spaces.file_model import at_least, share
from cmd_tune.search.study.early_stopping.base import StoppingRule

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class Wilcoxon(StoppingRule):
    """After each seed, a trial ends if its scores are below the best trial's on the same seeds (Wilcoxon, 1945).

    The signed-rank test is one-sided, at the level `p_threshold`, and is not asked before `startup_seeds` seeds.
    """

    example: ClassVar[str] = "{type: wilcoxon, p_threshold: 0.1, startup_seeds: 2}"
    over_seeds: ClassVar[bool] = True

    p_threshold: Annotated[float, PlainValidator(share)] = 0.1
    startup_seeds: Annotated[int, at_least(1)] = 2

    def pruner(self, epochs: int) -> "BasePruner":
        from optuna.exceptions import ExperimentalWarning
        from optuna.pruners import WilcoxonPruner

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(p_threshold=self.p_threshold, n_startup_steps=self.startup_seeds)

    def first_look(self, epochs: int) -> int:
        # If all of n differences are negative, p is 1/2^n.
        return next((n for n in range(self.startup_seeds, 1000) if 0.5**n < self.p_threshold), 1000)

    def stops_nothing(self, epochs: int, seeds: int) -> str:
        first = self.first_look(epochs)
        if first < seeds:
            return ""
        return (
            f"p_threshold: falling below {self.p_threshold:g} takes {first} seeds, of {seeds} that a trial has, "
            f"so that none would be stopped; write seeds: {first + 1} or more, or another rule"
        )
