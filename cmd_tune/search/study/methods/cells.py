"""The cells of a comparison."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cmd_tune.search.spaces.space import Space, TrialSource
from cmd_tune.search.study.methods.base import Method

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Cells(Method):
    """All cells with the first seed, then all with the second, and so on."""

    trials: ClassVar = TrialSource.CELLS

    def listed(self, space: Space, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert space.comparison
        return list(space.comparison.trials())

    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        """Never suggests a value: a cell has all of them, and Optuna gets no distributions."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
