"""Every combination of the listed values."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cmd_tune.search.spaces.space import Space, TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Grid(Method):
    """All combinations that are allowed; the last parameter varies fastest."""

    trials: ClassVar = TrialSource.COMBINED
    takes_conditions: ClassVar = True

    def listed(self, space: Space, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        return space.cells(settings)

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        """Completes points that other programs put into Optuna's queue."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
