"""What every method of choosing trials offers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space import Space, TrialSource

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Method(ABC):
    """How the trials of a search are chosen. One object serves all searches and keeps nothing of any.

    Life cycle: each time that a study is opened, also after an interruption, it asks for the `listed` trials. It runs
    these first, in their order, but for those that have been run. If the trials are drawn (`trials`), it then asks for
    a `sampler` for each, and that for one trial. Optuna hands the sampler all results so far. A
    suggestion that breaks a constraint or repeats a trial is dropped; after several in a row, a random configuration
    that is allowed takes their place. So a method need not know constraints, and no configuration runs twice.

    What must hold, and is tested of every method in METHODS: the same seed and the same results give the same trials,
    also after an interruption; each trial lies in the space and is allowed.
    """

    trials: ClassVar[TrialSource]
    learns: ClassVar[bool] = False  # whether the results of earlier trials decide what comes next
    stops_early: ClassVar[bool] = False  # whether trials are stopped early where the file says nothing of it
    takes_conditions: ClassVar[bool] = False  # whether a parameter may count in some trials alone
    takes_prior: ClassVar[bool] = False  # whether its first trials, or all, are independent draws
    takes_earlier: ClassVar[bool] = False  # whether it learns of trials of an earlier search
    takes_metrics: ClassVar[bool] = True  # whether it searches by several metrics
    sequence: ClassVar[bool] = False  # whether its trials are points of one sequence, which Optuna counts in the study
    # How it is told of configurations that may not run, or failed for their own values: as pruned trials that break a
    # constraint; else as finished ones with the worst score so far.
    constrained: ClassVar[bool] = False

    def listed(self, space: Space, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The trials that the file gives, in order, as values of the searched parameters.

        settings: what every trial starts from. Here: the start points that are allowed under it.
        """
        return [point for point in space.start_points if space.allows(point, settings)]

    def unfit(self, parameters: Mapping[str, Parameter]) -> str:
        """Why it cannot search these parameters, and what to write instead; empty if it can."""
        return ""

    def remark(self, parameters: Mapping[str, Parameter]) -> str:
        """What it does not do for these parameters, in one line that the start of a search says; empty: nothing."""
        return ""

    @abstractmethod
    def sampler(self, seed: int, startup: int) -> "BaseSampler":
        """An Optuna sampler that suggests trials.

        seed: another one for each trial, which depends on that of the search and the trial's number alone, so that an
        interruption changes no draw; the same one for all trials of a `sequence`. startup: trials that should have a
        score before the sampler learns from them.
        """
