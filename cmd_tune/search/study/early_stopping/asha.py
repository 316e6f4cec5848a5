"""Asynchronous successive halving."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from cmd_tune.search.spaces.file_model import at_least
from cmd_tune.search.study.early_stopping.base import StoppingRule

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class Asha(StoppingRule):
    """Rungs after `grace_period` epochs, then each `reduction_factor` times later (Li et al., 2020).

    At a rung, a trial goes on if it is among the best 1/`reduction_factor` that came there so far.
    """

    example: ClassVar[str] = "{type: asha, grace_period: epochs, reduction_factor: 3}"

    grace_period: Annotated[int, at_least(1)] = 10
    reduction_factor: Annotated[int, at_least(2)] = 3

    def pruner(self, epochs: int) -> "BasePruner":
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.grace_period, reduction_factor=self.reduction_factor)

    def first_look(self, epochs: int) -> int:
        return self.grace_period

    def stops_nothing(self, epochs: int, seeds: int) -> str:
        if self.grace_period < epochs:
            return ""
        return (
            f"grace_period: {self.grace_period} epochs are all that a trial has ({epochs}), "
            "so that none would be stopped; lower it, or remove early_terminate"
        )
