"""The two forms of a space file, as typed models: a search among values, and a comparison of cells.

Fields hold what the file means, and are read in their order: the check of one sees those before it that are valid, so
that one mistake hides no other.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import PlainValidator, ValidationInfo, field_validator

from cmd_tune.mistakes import Mistakes, found, mistake, unknown
from cmd_tune.search.spaces.ablation import Ablation, read_ablation
from cmd_tune.search.spaces.comparison import SEED, Cell, Claim, Comparison
from cmd_tune.search.spaces.comparison_file import ClaimSpec, read_cells, read_seeds
from cmd_tune.search.spaces.conditions import Conditions
from cmd_tune.search.spaces.confirm import Confirm, read_confirm
from cmd_tune.search.spaces.constraints import Constraint, parse_constraint
from cmd_tune.search.spaces.file_model import (
    FileModel,
    IfWritten,
    Text,
    at_least,
    check_mapping,
    number,
    one_of,
    read_list,
    read_mapping,
    read_settings,
    setting,
    share,
    whole,
)
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.parameter_file import RANGES, read_parameter
from cmd_tune.search.spaces.refit import Refit, read_refit
from cmd_tune.search.spaces.reported import Origin, read_tested
from cmd_tune.search.spaces.space import (
    DEFAULT_METRIC,
    DEFAULT_TABLE_METRIC,
    DEFAULT_TRIALS,
    MAX_FAILURE_RATE,
    MetricGoal,
    Space,
    TrialSource,
)
from cmd_tune.search.spaces.sweep_file import nested
from cmd_tune.settings import PRESETS, Settings
from cmd_tune.train.costs import COST

GOALS = ("maximize", "minimize")
MOST_METRICS = 3  # beyond, few trials are worse than another one by all
MOST_CELLS = 100_000  # of a grid, which is held as a list


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
        return one_of(value, _words(info).methods)

    @field_validator("budget")
    @classmethod
    def _ends(cls, budget: Budget, info: ValidationInfo) -> Budget:
        if not budget.model_fields_set and _source(info) is TrialSource.DRAWN:
            raise ValueError("is empty; write trials, time or both, such as {trials: 20, time: 1h30m}")
        return budget

    @classmethod
    def about_unknown(cls, key: object, value: dict[Any, Any]) -> str:
        """The same; and that a key goes with other methods only."""
        if key in SearchForm.model_fields or key in ComparisonForm.model_fields:
            if cls is SearchForm:
                return f"needs method: cells, not {value['method']}; remove it, or change the method"
            if key == "metrics":
                return "does not go with method cells, which selects nothing; write metric"
            return f"does not go with method {value['method']}, whose cells all run to their end; remove it"
        return unknown(key, SearchForm.model_fields | ComparisonForm.model_fields)


def _seed_count(value: Any) -> int:
    if isinstance(value, list):
        raise ValueError("lists seeds, which needs method: cells; write how many runs a trial has, such as 3")
    return whole(value, 1)


def _read_metrics(value: Any) -> tuple[Metric, ...]:
    metrics = read_list(value, f"metrics such as {Metric.example}", Metric.model_validate)
    if not 2 <= len(metrics) <= MOST_METRICS:
        raise ValueError(f"lists {len(metrics)}; write two or three, of which the first ranks the trials, or metric")
    with Mistakes() as mistakes:
        for index, metric in enumerate(metrics):
            if metric.name in [other.name for other in metrics[:index]]:
                mistakes.add(f"{metric.name} is listed twice; remove one", index, "name")
    return metrics


class SearchForm(SpaceForm):
    """A search among the values of its parameters."""

    metrics: Annotated[tuple[Metric, ...], PlainValidator(_read_metrics)] = ()
    parameters: dict[str, Parameter]
    constraints: tuple[Constraint, ...] = ()
    points_to_evaluate: tuple[dict[str, Any], ...] = ()
    warm_start: IfWritten[Text] = None
    early_terminate: FileModel | None = None
    seeds: Annotated[int, PlainValidator(_seed_count)] = 1
    confirm: Annotated[Confirm | None, PlainValidator(read_confirm)] = Confirm()
    refit: Annotated[Refit | None, PlainValidator(read_refit)] = Refit()
    reported: Annotated[dict[str, float], PlainValidator(read_tested)] = {}  # noqa: RUF012
    reported_on: IfWritten[Origin] = None
    ablation: Annotated[Ablation | None, PlainValidator(read_ablation)] = Ablation()

    @field_validator("metrics")
    @classmethod
    def _several(cls, metrics: tuple[Metric, ...], info: ValidationInfo) -> tuple[Metric, ...]:
        if "method" in info.data and not _words(info).methods[info.data["method"]].takes_metrics:
            raise ValueError(f"method {info.data['method']} searches by one; write metric, or use method: tpe")
        return metrics

    @field_validator("parameters", mode="plain")
    @classmethod
    def _parameters(cls, value: Any, info: ValidationInfo) -> dict[str, Parameter]:
        example = "setting: {min: …, max: …} or setting: {values: […]}"
        known = {*Settings.model_fields, *nested(value)}  # the nested are answered by their reader
        parameters = read_mapping(value, example, read_parameter, known)
        searched = _searched(parameters)
        combined = _source(info) is TrialSource.COMBINED
        method = _words(info).methods[info.data["method"]] if "method" in info.data else None
        with Mistakes() as mistakes:
            for name, parameter in parameters.items():
                if name in info.data.get("settings", {}):
                    mistakes.add("is in settings, too; keep it in one place", name)
                if parameter.prior and method and not method.takes_prior:
                    message = f"does not go with method {info.data['method']}; remove it, or use method: tpe"
                    mistakes.add(message, name, "prior")
                if parameter.when and method and not method.takes_conditions:
                    message = f"does not go with method {info.data['method']}; remove it, or use method: tpe"
                    mistakes.add(message, name, "when")
                elif parameter.when and not parameter.when.names & searched.keys() - {name}:
                    message = f"{parameter.when.text} speaks of no other searched parameter: it tells no trials apart"
                    mistakes.add(f"{message}; remove it, or the parameter", name, "when")
                if combined and parameter.distribution in RANGES:
                    message = "a grid takes value or values, not a range; list values, or use method: tpe"
                    mistakes.add(message, name)
        if combined and math.prod(len(parameter.choices) for parameter in parameters.values()) > MOST_CELLS:
            raise ValueError(f"the grid has more than {MOST_CELLS} cells; list fewer values, or use method: tpe")
        Conditions(parameters)
        if not searched:
            raise ValueError("there is nothing to search; give a setting values, or min and max")
        if "method" in info.data and (reason := _words(info).methods[info.data["method"]].unfit(searched)):
            raise ValueError(reason)
        return parameters

    @field_validator("warm_start")
    @classmethod
    def _learnt_of(cls, name: str, info: ValidationInfo) -> str:
        if "method" in info.data and not _words(info).methods[info.data["method"]].takes_earlier:
            raise ValueError(f"method {info.data['method']} learns nothing of it; remove it, or use method: tpe")
        return name

    @field_validator("seeds")
    @classmethod
    def _fresh(cls, seeds: int, info: ValidationInfo) -> int:
        if seeds > 1 and SEED in info.data.get("parameters", {}):
            raise ValueError("does not go with the parameter seed, which it would replace; remove one of them")
        return seeds

    @field_validator("ablation")
    @classmethod
    def _has_ends(cls, ablation: Ablation | None, info: ValidationInfo) -> Ablation | None:
        if ablation is None or ablation.seeds is None:
            return ablation
        if SEED in info.data.get("parameters", {}):
            raise ValueError("does not go with the parameter seed, which it would replace; remove one of them")
        if info.data.get("points_to_evaluate") == ():
            raise ValueError("has no start point to begin at; write points_to_evaluate, or remove it")
        return ablation

    @field_validator("constraints", mode="plain")
    @classmethod
    def _constraints(cls, value: Any) -> tuple[Constraint, ...]:
        return read_list(value, "expressions such as 'topk <= queue_size'", parse_constraint)

    @field_validator("points_to_evaluate", mode="plain")
    @classmethod
    def _start_points(cls, value: Any, info: ValidationInfo) -> tuple[dict[str, Any], ...]:
        points = read_list(value, "mappings, one a trial", lambda point: point)
        if points and _source(info) is TrialSource.COMBINED:
            raise ValueError("a grid runs every cell anyway; remove them")
        if "budget" in info.data:
            trials = _trials(info.data["budget"], _source(info))
            if trials is not None and len(points) > trials:
                had = f"has {len(points)} points, of which budget.trials lets {trials} run"
                raise ValueError(f"{had}; raise it, or remove some")
        if "parameters" not in info.data:
            return ()
        searched = _searched(info.data["parameters"])
        return read_list(value, "mappings, one a trial", lambda point: _start_point(point, searched))

    @field_validator("early_terminate", mode="plain")
    @classmethod
    def _early_terminate(cls, value: Any, info: ValidationInfo) -> FileModel | None:
        if value in ("none", {"type": "none"}):
            return None
        if info.data.get("metrics"):
            raise ValueError("does not go with metrics: what is worse by one may be better by another; remove it")
        rules = _words(info).early_stopping
        example = next(iter(rules.values())).example
        check_mapping(value, example)
        word = value.get("type")
        if isinstance(word, str) and word in rules:
            return rules[word].model_validate(value)
        known = {key for rule in rules.values() for key in rule.model_fields}
        strange = {str(key): unknown(key, known) for key in value if key not in known}
        with Mistakes() as mistakes:
            for key, message in strange.items():
                mistakes.add(message, key)
            with mistakes.at("type"):
                if "type" in value:
                    one_of(word, rules)
                elif not any("'type'?" in message for message in strange.values()):  # else misspelt
                    raise ValueError(f"is missing; write {example}")
        raise AssertionError("a mistake has been raised")

    def space(self, path: Path, source: TrialSource) -> Space:
        """The space that the file describes."""
        searched = _searched(self.parameters)
        metric, *more = self.metrics or (self.metric,)
        return Space(
            path=path,
            method=self.method,
            source=source,
            metric=metric.name,
            maximize=metric.maximize,
            more_metrics=tuple(MetricGoal(other.name, other.maximize) for other in more),
            parameters=searched,
            fixed={name: p.choices[0] for name, p in self.parameters.items() if name not in searched},
            constraints=self.constraints,
            start_points=self.points_to_evaluate,
            early_terminate=self.early_terminate,
            trials=_trials(self.budget, source),
            seconds=self.budget.time if self.budget else None,
            max_failure_rate=self.budget.max_failure_rate if self.budget else MAX_FAILURE_RATE,
            settings=self.settings,
            preset=self.preset,
            warm_start=self.warm_start,
            seeds=self.seeds,
            confirm=self.confirm,
            refit=self.refit,
            reported=self.reported,
            reported_on=self.reported_on,
            ablation=self.ablation,
        )


class ComparisonForm(SpaceForm):
    """A comparison of cells, each with every seed."""

    example: ClassVar[str] = "method, metric, cells, …"

    metric: Metric = Metric(name=DEFAULT_TABLE_METRIC)
    cells: tuple[Cell, ...]
    seeds: Annotated[tuple[int, ...], PlainValidator(read_seeds)] = (0,)
    claims: tuple[Claim, ...] = ()
    title: Text = ""
    reported_on: IfWritten[Origin] = None

    @field_validator("settings")
    @classmethod
    def _without_seed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if SEED in settings:
            raise mistake("does not go with method cells, whose seeds replace it; write seeds: [0]", SEED)
        return settings

    @field_validator("cells", mode="plain")
    @classmethod
    def _cells(cls, value: Any, info: ValidationInfo) -> tuple[Cell, ...]:
        return read_cells(value, info.data.get("settings", {}))

    @field_validator("claims", mode="plain")
    @classmethod
    def _claims(cls, value: Any, info: ValidationInfo) -> tuple[Claim, ...]:
        def read(claim: Any) -> Claim | None:
            spec = ClaimSpec.model_validate(claim)
            return spec.claim(info.data["cells"]) if "cells" in info.data else None

        claims = read_list(value, f"claims such as {ClaimSpec.example}", read)
        return tuple(claim for claim in claims if claim)

    def space(self, path: Path, source: TrialSource) -> Space:
        """The space that the file describes."""
        comparison = Comparison(self.title, self.cells, self.seeds, self.claims, self.reported_on)
        return Space(
            path=path,
            method=self.method,
            source=source,
            metric=self.metric.name,
            maximize=self.metric.maximize,
            parameters=comparison.parameters(),
            fixed={},
            constraints=(),
            start_points=(),
            early_terminate=None,
            trials=_trials(self.budget, source),
            seconds=self.budget.time if self.budget else None,
            max_failure_rate=self.budget.max_failure_rate if self.budget else MAX_FAILURE_RATE,
            settings=self.settings,
            preset=self.preset,
            comparison=comparison,
        )


def _words(info: ValidationInfo) -> Words:
    assert isinstance(info.context, Words)
    return info.context


def _source(info: ValidationInfo) -> TrialSource | None:
    """The source of the file's trials; None if its method is unknown."""
    return _words(info).methods[info.data["method"]].trials if "method" in info.data else None


def _trials(budget: Budget | None, source: TrialSource | None) -> int | None:
    """The number of trials in the budget; None if time, or the list of trials, is the only limit."""
    if budget is None:
        return DEFAULT_TRIALS if source is TrialSource.DRAWN else None
    return budget.trials


def _searched(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The parameters that can take more than one value."""
    return {name: parameter for name, parameter in parameters.items() if parameter.distribution != "constant"}


def _start_point(value: Any, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    def read(name: str, given: Any) -> Any:
        checked = setting(name, given)
        if problem := parameters[name].why_invalid(checked):
            raise ValueError(f"{checked} {problem}; change the point or the parameter")
        return checked

    point = read_mapping(value, "parameter: value", read, parameters)
    if absent := [name for name, parameter in parameters.items() if name not in point and not parameter.when]:
        raise ValueError(f"lacks {', '.join(absent)}; a start point gives every searched parameter a value")
    return {name: point[name] for name in parameters if name in point}
