"""What every space file has, as a typed model; `search_form` and `comparison_form` have the keys of the two kinds.

Fields hold what the file means, and are read in their order: the check of one sees those before it that are valid, so
that one mistake hides no other.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import PlainValidator, ValidationInfo, field_validator

from cmd_tune.mistakes import found, unknown
from cmd_tune.search.spaces.file_model import FileModel, IfWritten, Text, at_least, number, one_of, read_settings, share
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space import DEFAULT_METRIC, DEFAULT_TRIALS, MAX_FAILURE_RATE, Space, TrialSource
from cmd_tune.settings import PRESETS
from cmd_tune.train.costs import COST

GOALS = ("maximize", "minimize")


class MethodKind(Protocol):
    """What the reader of space files needs to know about a method."""

    trials: ClassVar[TrialSource]
    stops_early: ClassVar[bool]  # whether trials are stopped early where the file says nothing of it
    takes_conditions: ClassVar[bool]  # whether a parameter may count in some trials alone
    takes_prior: ClassVar[bool]  # whether its first trials, or all, are independent draws
    takes_earlier: ClassVar[bool]  # whether it learns of trials of an earlier search
    takes_metrics: ClassVar[bool]  # whether it searches by several metrics

    def unfit(self, parameters: Mapping[str, Parameter]) -> str:
        """Why it cannot search these parameters, and what to write instead; empty if it can."""


@dataclass(frozen=True)
class Words:
    """The words that a space file may use: the methods, and the rules of early stopping with models of their keys."""

    methods: Mapping[str, MethodKind]
    early_stopping: Mapping[str, type[FileModel]]


class Metric(FileModel):
    """A metric that trials are judged by, and its direction.

    Unless that is written, losses and costs are minimised, and accuracies maximised.
    """

    example: ClassVar[str] = "{name: val/knn/fused, goal: maximize}"

    name: Text
    goal: IfWritten[Annotated[str, PlainValidator(lambda word: one_of(word, GOALS))]] = None

    @property
    def maximize(self) -> bool:
        """Whether larger is better."""
        return self.goal == "maximize" if self.goal else not self.name.startswith(("loss/", COST))


def seconds(value: Any) -> float:
    """A duration in seconds, written as 5m, 1h30m, 90s or a number of seconds. Raises ValueError."""
    total = 0.0
    if not isinstance(value, str):
        total = number(value)
    elif parts := re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", value.strip(), re.ASCII):
        total = sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
    if total <= 0:
        raise ValueError(f"{found(value)} is not a duration; write 5m, 1h30m, 90s or a number of seconds")
    return total


class Budget(FileModel):
    """The most trials that a search may run, the longest time in seconds, the largest share of trials that may fail."""

    example: ClassVar[str] = "{trials: 20, time: 1h30m}"

    trials: IfWritten[Annotated[int, at_least(1)]] = None
    time: IfWritten[Annotated[float, PlainValidator(seconds)]] = None
    max_failure_rate: Annotated[float, PlainValidator(share)] = MAX_FAILURE_RATE


class SpaceForm(FileModel):
    """The keys that every space file has."""

    example: ClassVar[str] = "method, metric, parameters, …"

    method: str
    metric: Metric = Metric(name=DEFAULT_METRIC)
    preset: IfWritten[Annotated[str, PlainValidator(lambda word: one_of(word, PRESETS))]] = None
    settings: Annotated[dict[str, Any], PlainValidator(read_settings)] = {}  # noqa: RUF012  (pydantic copies it)
    budget: IfWritten[Budget] = None

    @field_validator("method", mode="plain")
    @classmethod
    def _known_method(cls, value: Any, info: ValidationInfo) -> str:
        return one_of(value, words_of(info).methods)

    @field_validator("budget")
    @classmethod
    def _ends(cls, budget: Budget, info: ValidationInfo) -> Budget:
        if not budget.model_fields_set and source_of(info) is TrialSource.DRAWN:
            raise ValueError("is empty; write trials, time or both, such as {trials: 20, time: 1h30m}")
        return budget

    @classmethod
    def about_unknown(cls, key: object, value: dict[Any, Any]) -> str:
        """The same; and that a key goes with other methods only."""
        known = {name for form in SpaceForm.__subclasses__() for name in form.model_fields}
        return cls.misplaced(str(key), value["method"]) if key in known else unknown(key, known)

    def common(self, path: Path, source: TrialSource) -> Space:
        """A space of what the keys here say, and of nothing else yet."""
        return Space(
            path=path,
            method=self.method,
            source=source,
            metric=self.metric.name,
            maximize=self.metric.maximize,
            parameters={},
            fixed={},
            constraints=(),
            start_points=(),
            early_terminate=None,
            trials=trials_of(self.budget, source),
            seconds=self.budget.time if self.budget else None,
            max_failure_rate=self.budget.max_failure_rate if self.budget else MAX_FAILURE_RATE,
            settings=self.settings,
            preset=self.preset,
        )

    @classmethod
    @abstractmethod
    def misplaced(cls, key: str, method: str) -> str:
        """What is wrong with a key that files of the other kind have."""


def words_of(info: ValidationInfo) -> Words:
    assert isinstance(info.context, Words)
    return info.context


def method_of(info: ValidationInfo) -> MethodKind | None:
    """The file's method; None if it is unknown."""
    return words_of(info).methods[info.data["method"]] if "method" in info.data else None


def source_of(info: ValidationInfo) -> TrialSource | None:
    """The source of the file's trials; None if its method is unknown."""
    method = method_of(info)
    return method.trials if method else None


def trials_of(budget: Budget | None, source: TrialSource | None) -> int | None:
    """The number of trials in the budget; None if time, or the list of trials, is the only limit."""
    if budget is None:
        return DEFAULT_TRIALS if source is TrialSource.DRAWN else None
    return budget.trials
