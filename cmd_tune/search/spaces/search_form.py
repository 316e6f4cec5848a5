"""The keys of a space file that describes a search among values, as a typed model."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo, field_validator

from cmd_tune.mistakes import Mistakes, unknown
from cmd_tune.search.spaces.ablation import Ablation, read_ablation
from cmd_tune.search.spaces.comparison import SEED
from cmd_tune.search.spaces.conditions import Conditions
from cmd_tune.search.spaces.confirm import Confirm, read_confirm
from cmd_tune.search.spaces.constraints import Constraint, parse_constraint
from cmd_tune.search.spaces.file_model import (
    FileModel,
    IfWritten,
    Text,
    check_mapping,
    one_of,
    read_list,
    read_mapping,
    setting,
    whole,
)
from cmd_tune.search.spaces.forms import Metric, SpaceForm, method_of, source_of, trials_of, words_of
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.parameter_file import RANGES, read_parameter
from cmd_tune.search.spaces.refit import Refit, read_refit
from cmd_tune.search.spaces.reported import Origin, read_tested
from cmd_tune.search.spaces.space import MetricGoal, Space, TrialSource
from cmd_tune.search.spaces.sweep_file import nested
from cmd_tune.settings import Settings

MOST_METRICS = 3  # beyond, few trials are worse than another one by all
MOST_CELLS = 100_000  # of a grid, which is held as a list


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

    @classmethod
    def misplaced(cls, key: str, method: str) -> str:
        return f"needs method: cells, not {method}; remove it, or change the method"

    @field_validator("metrics")
    @classmethod
    def _several(cls, metrics: tuple[Metric, ...], info: ValidationInfo) -> tuple[Metric, ...]:
        if (method := method_of(info)) and not method.takes_metrics:
            raise ValueError(f"method {info.data['method']} searches by one; write metric, or use method: tpe")
        return metrics

    @field_validator("parameters", mode="plain")
    @classmethod
    def _parameters(cls, value: Any, info: ValidationInfo) -> dict[str, Parameter]:
        example = "setting: {min: …, max: …} or setting: {values: […]}"
        known = {*Settings.model_fields, *nested(value)}  # the nested are answered by their reader
        parameters = read_mapping(value, example, read_parameter, known)
        searched = _searched(parameters)
        combined = source_of(info) is TrialSource.COMBINED
        method = method_of(info)
        unfit = f"does not go with method {info.data.get('method')}; remove it, or use method: tpe"
        with Mistakes() as mistakes:
            for name, parameter in parameters.items():
                if name in info.data.get("settings", {}):
                    mistakes.add("is in settings, too; keep it in one place", name)
                if parameter.prior and method and not method.takes_prior:
                    mistakes.add(unfit, name, "prior")
                if parameter.when and method and not method.takes_conditions:
                    mistakes.add(unfit, name, "when")
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
        if method and (reason := method.unfit(searched)):
            raise ValueError(reason)
        return parameters

    @field_validator("warm_start")
    @classmethod
    def _learnt_of(cls, name: str, info: ValidationInfo) -> str:
        if (method := method_of(info)) and not method.takes_earlier:
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
        if points and source_of(info) is TrialSource.COMBINED:
            raise ValueError("a grid runs every cell anyway; remove them")
        if "budget" in info.data:
            trials = trials_of(info.data["budget"], source_of(info))
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
        rules = words_of(info).early_stopping
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
        return replace(
            self.common(path, source),
            metric=metric.name,
            maximize=metric.maximize,
            more_metrics=tuple(MetricGoal(other.name, other.maximize) for other in more),
            parameters=searched,
            fixed={name: p.choices[0] for name, p in self.parameters.items() if name not in searched},
            constraints=self.constraints,
            start_points=self.points_to_evaluate,
            early_terminate=self.early_terminate,
            warm_start=self.warm_start,
            seeds=self.seeds,
            confirm=self.confirm,
            refit=self.refit,
            reported=self.reported,
            reported_on=self.reported_on,
            ablation=self.ablation,
        )


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
