"""What every rule of early stopping offers."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.file_model import FileModel

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class StoppingRule(FileModel):
    """When a trial is stopped before its last epoch. Its fields are the keys beside `type`, with their checks.

    Life cycle: it is read from the space file, and gives a `pruner` each time that the study is opened. Whenever a
    trial reports the metric, before its last epoch, Optuna asks the pruner whether to stop it; the pruner sees the
    values that all trials of the study have reported so far, by epoch, also those of before an interruption. All that
    a pruner has to remember must lie in the study, for example as system attributes of its trials.

    What must hold, and is tested of every rule in EARLY_STOPPING (tests/search/study/early_stopping/test_contract.py,
    where a new one needs a line in CASES): no trial is stopped before the rule's first look; a trial that is alone is
    never stopped; a hopeless one among good ones is; an interruption changes nothing.
    """

    type: str
    over_seeds: ClassVar[bool] = False  # whether it looks at the scores of whole runs, one a seed, not at epochs

    @abstractmethod
    def pruner(self, epochs: int) -> "BasePruner":
        """The rule as Optuna runs it. epochs: of a trial, or of most trials if they are searched."""

    @abstractmethod
    def first_look(self, epochs: int) -> int:
        """The epoch after which a trial may be stopped first; of a rule over seeds, the seed."""

    @property
    def whole_trials(self) -> int:
        """How many trials run to their end whatever their scores: one after the other, and more side by side."""
        return 1

    def what_runs_whole(self) -> str:
        """The same in words."""
        return "the first trial runs to the end" if self.whole_trials == 1 else f"{self.whole_trials} run to the end"

    @abstractmethod
    def stops_nothing(self, epochs: int, seeds: int) -> str:
        """Why no trial of so many epochs and seeds is ever stopped, as `key: sentence`; empty if some may be."""
