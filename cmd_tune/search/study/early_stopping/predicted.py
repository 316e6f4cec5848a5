"""The end of a trial, predicted from the curves of those that finished."""

from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import PlainValidator
from scipy.special import stdtrit

from cmd_tune.search.spaces.file_model import IfWritten, at_least, share
from cmd_tune.search.study.early_stopping.base import StoppingRule

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial


class Predicted(StoppingRule):
    """From `grace_period` epochs on, a trial ends if it is predicted to end below the best trial that finished.

    What other trials gained from this epoch to their last one is added to its value. It ends if the chance that it
    comes to the best one's value is below `chance`, by the prediction interval of Student's t. `startup_trials` must
    have finished before.
    """

    example: ClassVar[str] = "{type: predicted, grace_period: epochs, startup_trials: 4, chance: 0.05}"

    grace_period: IfWritten[Annotated[int, at_least(1)]] = None  # None: a fifth of the epochs
    startup_trials: Annotated[int, at_least(2)] = 4
    chance: Annotated[float, PlainValidator(share)] = 0.05

    def pruner(self, epochs: int) -> "BasePruner":
        from optuna.pruners import BasePruner

        rule = self

        class Pruner(BasePruner):
            def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
                return rule.ends(study, trial, rule.first_look(epochs))

        return Pruner()

    def ends(self, study: "Study", trial: "FrozenTrial", first: int) -> bool:
        """Whether to end a trial of an Optuna study, by what it has reported. first: the epoch of the first look."""
        from optuna.study import StudyDirection
        from optuna.trial import TrialState

        epoch = trial.last_step
        if epoch is None or epoch < first:
            return False
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = 1 if study.direction is StudyDirection.MAXIMIZE else -1
        known = [(sign * t.value, sign * t.intermediate_values[epoch]) for t in finished
                 if t.value is not None and epoch in t.intermediate_values]  # fmt: skip
        if len(known) < self.startup_trials:
            return False
        gains = [end - then for end, then in known]
        reach = float(stdtrit(len(gains) - 1, 1 - self.chance)) * stdev(gains) * (1 + 1 / len(gains)) ** 0.5
        best = max(sign * t.value for t in finished if t.value is not None)
        return bool(sign * trial.intermediate_values[epoch] + mean(gains) + reach < best)

    def first_look(self, epochs: int) -> int:
        return max(1, epochs // 5) if self.grace_period is None else self.grace_period

    @property
    def whole_trials(self) -> int:
        return self.startup_trials

    def stops_nothing(self, epochs: int, seeds: int) -> str:
        if self.grace_period is None or self.grace_period < epochs:
            return ""
        return f"grace_period: {self.grace_period} epochs are all that a trial has ({epochs}); lower it"
