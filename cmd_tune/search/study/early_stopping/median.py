"""The median rule."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from cmd_tune.search.spaces.file_model import at_least
from cmd_tune.search.study.early_stopping.base import StoppingRule

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class Median(StoppingRule):
    """From `grace_period` epochs on, a trial ends if its best value is worse than the median of others at that epoch.

    `startup_trials` must have finished before (Golovin et al., 2017).
    """

    example: ClassVar[str] = "{type: median, grace_period: epochs, startup_trials: 4}"

    grace_period: Annotated[int, at_least(1)] = 10
    startup_trials: Annotated[int, at_least(1)] = 4

    def pruner(self, epochs: int) -> "BasePruner":
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.startup_trials, n_warmup_steps=self.grace_period)

    def first_look(self, epochs: int) -> int:
        return self.grace_period

    @property
    def whole_trials(self) -> int:
        return self.startup_trials

    def stops_nothing(self, epochs: int, seeds: int) -> str:
        if self.grace_period < epochs:
            return ""
        return f"grace_period: {self.grace_period} epochs are all that a trial has ({epochs}); lower it"
