"""Hyperband: successive halving with several first rungs."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from cmd_tune.search.spaces.file_model import at_least
from cmd_tune.search.study.early_stopping.base import StoppingRule

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class Hyperband(StoppingRule):
    """Trials are dealt out to brackets, each of which is ASHA with a first rung `eta` times later than the one before.

    The first bracket's is after `min_iter` epochs; there are as many brackets as have one before `max_iter` epochs (Li
    et al., 2018). By its number, a trial belongs to a bracket for good.
    """

    example: ClassVar[str] = "{type: hyperband, min_iter: epochs, max_iter: epochs, eta: 3}"

    min_iter: Annotated[int, at_least(1)] = 10
    max_iter: Annotated[int, at_least(1)] = 90
    eta: Annotated[int, at_least(2)] = 3

    def pruner(self, epochs: int) -> "BasePruner":
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(
            min_resource=self.min_iter, max_resource=max(self.min_iter, self.max_iter), reduction_factor=self.eta
        )

    def first_look(self, epochs: int) -> int:
        return self.min_iter

    @property
    def whole_trials(self) -> int:
        """The first of each bracket."""
        brackets, rung = 1, self.min_iter * self.eta
        while rung <= self.max_iter:
            brackets, rung = brackets + 1, rung * self.eta
        return brackets

    def what_runs_whole(self) -> str:
        return f"the first trial of each of {self.whole_trials} brackets runs to the end"

    def stops_nothing(self, epochs: int, seeds: int) -> str:
        if self.min_iter < epochs:
            return ""
        return f"min_iter: {self.min_iter} epochs are all that a trial has ({epochs}); lower it"
