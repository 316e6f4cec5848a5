"""What every rule of early stopping offers."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from cmd_tune.search.spaces.file_model import FileModel

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def rounds_of(trials: int, at_once: int) -> int:
    """So many trials, and those that run at the same time as the last of them."""
    return -(-trials // at_once) * at_once


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

    def whole_trials(self, at_once: int) -> int:
        """Trials that run to their end whatever their scores, where so many run at the same time."""
        return 1

    @abstractmethod
    def stops_nothing(self, epochs: int, seeds: int) -> str:
        """Why no trial of so many epochs and seeds is ever stopped, as `key: sentence`; empty if some may be."""
