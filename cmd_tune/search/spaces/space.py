"""A search space: what a search varies, over which values, judged by which metric."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cmd_tune.errors import UsageError, usage_error
from cmd_tune.mistakes import reason
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.spaces.comparison import Comparison
from cmd_tune.search.spaces.conditions import Conditions
from cmd_tune.search.spaces.confirm import Confirm
from cmd_tune.search.spaces.constraints import Constraint, negation
from cmd_tune.search.spaces.file_model import FileModel
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.refit import Refit
from cmd_tune.search.spaces.region import MOST_DRAWS, RULES, Region
from cmd_tune.search.spaces.reported import Origin
from cmd_tune.settings import Settings

DEFAULT_METHOD = "tpe"  # of a search; a file with cells is a comparison
DEFAULT_METRIC, DEFAULT_TABLE_METRIC = "val/knn/fused", "test/knn/fused"  # of a search; of a comparison
DEFAULT_TRIALS = 20  # of a search whose trials are drawn
MAX_FAILURE_RATE = 0.5


class TrialSource(StrEnum):
    """The source of a search's configurations. Each method has one."""

    DRAWN = "drawn from the parameters, one after the other"
    COMBINED = "every combination of the parameters' values"
    CELLS = "the cells of the file, each with every seed"


@dataclass(frozen=True)
class MetricGoal:
    """A metric that trials are judged by. maximize: whether larger is better."""

    name: str
    maximize: bool


@dataclass(frozen=True)
class Space:
    """A space file, read and checked. `fixed` are parameters of one value; `settings` hold for every trial as well.

    If its trials are cells, there is a `comparison`; `parameters` are then what differs between its trials. `metric` is
    the first of several, and ranks trials.
    """

    path: Path
    method: str
    source: TrialSource
    metric: str
    maximize: bool
    parameters: dict[str, Parameter]
    fixed: dict[str, Any]
    constraints: tuple[Constraint, ...]
    start_points: tuple[dict[str, Any], ...]
    early_terminate: FileModel | None
    trials: int | None
    seconds: float | None
    settings: dict[str, Any]
    preset: str | None
    comparison: Comparison | None = None
    default_stopping: bool = False  # whether the file leaves open if trials are stopped early
    warm_start: str | None = None  # a search whose finished trials the method begins with
    seeds: int = 1  # runs of a trial; each has another seed, and their mean is its score
    refit: Refit | None = None
    confirm: Confirm | None = None
    reported: Mapping[str, float] = field(default_factory=dict)  # test accuracies of others, in percent, of a search
    reported_on: Origin | None = None  # where they come from
    ablation: Ablation | None = None
    max_failure_rate: float = MAX_FAILURE_RATE
    texts: Mapping[str, str] = field(default_factory=dict)  # name, description, project: as the file has them
    remarks: tuple[str, ...] = ()  # on what the file has of W&B, a line each
    more_metrics: tuple[MetricGoal, ...] = ()  # by which trials are judged beside `metric`

    @property
    def metrics(self) -> tuple[MetricGoal, ...]:
        """All that trials are judged by; the first ranks them."""
        return (MetricGoal(self.metric, self.maximize), *self.more_metrics)

    @property
    def lists_trials(self) -> bool:
        """Whether the file says which trials there are; else they are drawn until the budget is used up."""
        return self.source is not TrialSource.DRAWN

    @cached_property
    def conditions(self) -> Conditions:
        """Which parameters count beside which values."""
        return Conditions(self.parameters)

    def allows(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
        """Whether values laid over whole settings meet the constraints and what `Settings` itself demands."""
        return not self._first_broken_rule({**settings, **self.fixed, **values})

    def is_whole(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
        """Whether values laid over whole settings are of all parameters that count beside them, and of no other."""
        return {*self.conditions.counting(values, {**settings, **self.fixed})} == values.keys() & self.parameters.keys()

    def cells(self, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All cells of a grid that are allowed under these settings, as written; the last parameter varies fastest."""
        choices = [parameter.choices for parameter in self.parameters.values()]
        cells = [dict(zip(self.parameters, values, strict=True)) for values in product(*choices)]
        if self.conditions.conditional:  # what does not count leaves equal cells
            whole = {**settings, **self.fixed}
            reduced = (self.conditions.reduced(cell, whole) for cell in cells)
            cells = [*{repr(cell): cell for cell in reduced}.values()]
        return [cell for cell in cells if self.allows(cell, settings)]

    def region(self, settings: Mapping[str, Any], seed: str, *more: Constraint) -> Region:
        """All configurations of the parameters that are allowed under these settings, to draw from.

        more: constraints beside those of the space.
        """
        whole, rules = {**settings, **self.fixed}, (*self.constraints, *more)
        return Region(self.parameters, rules, whole, lambda values: self.allows(values, whole), seed)

    def variants(self, settings: Mapping[str, Any], names: Collection[str]) -> list[dict[str, Any]]:
        """The values that these settings take together in some trial, as far as they are choices of the space."""
        if self.comparison:
            return [
                {name: cell.values[name] for name in names if name in cell.values} for cell in self.comparison.cells
            ]
        chosen = {name: p for name, p in self.parameters.items() if name in names and p.choices}
        rest = {name: parameter for name, parameter in self.parameters.items() if name not in chosen}
        idle = object()  # stands for the value of a parameter that does not count
        choices = [[*parameter.choices, *([idle] if parameter.when else [])] for parameter in chosen.values()]
        combined = (zip(chosen, values, strict=True) for values in product(*choices))
        variants = [{name: value for name, value in pairs if value is not idle} for pairs in combined]

        def possible(variant: Mapping[str, Any]) -> bool:
            whole = {**settings, **self.fixed, **variant}
            counts = [
                parameter.when if name in variant else negation(parameter.when)
                for name, parameter in chosen.items()
                if parameter.when
            ]
            rules = (*self.constraints, *counts)
            return Region(rest, rules, whole, lambda v: self.allows(v, whole), "check").draw() is not None

        return [variant for variant in variants if possible(variant)] if chosen else [{}]

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise UsageError for the start points and cells that these settings do not allow, or if no cell is allowed.

        Settings may be partial: constraints on an absent one are left out.
        """
        lines = [
            f"{self.path}: points_to_evaluate[{index}]: breaks {rule}; change the point or the constraint"
            for index, point in enumerate(self.start_points)
            if (rule := self._first_broken_rule({**settings, **self.fixed, **point}))
        ]
        whole = settings.keys() >= Settings.model_fields.keys()
        for index, point in enumerate(self.start_points if whole else ()):  # else it is not known what counts
            where = f"{self.path}: points_to_evaluate[{index}]"
            counting = self.conditions.counting(point, {**settings, **self.fixed})
            lines += [f"{where}: lacks {name}, which counts here; add it" for name in counting if name not in point]
            lines += [
                f"{where}.{name}: does not count here, since {when.text} does not hold; remove it"
                for name in point
                if name not in counting and (when := self.parameters[name].when)
            ]
        lines += [
            f"{self.path}: cells[{index}]: breaks {rule}; change the cell or the settings"
            for index, cell in enumerate(self.comparison.cells if self.comparison else ())
            if (rule := self._first_broken_rule({**settings, **cell.values}))
        ]
        if lines:
            raise UsageError(*lines)
        if self.source is TrialSource.COMBINED:
            self.check_possible(settings)

    def check_possible(self, settings: Mapping[str, Any]) -> None:
        """Raise UsageError if no configuration is allowed under these settings, or none is found.

        The same if a condition holds in none, or in all whatever the settings.
        """
        self._check_some_is_allowed(settings)
        lines = []
        for name, parameter in self.parameters.items():
            if when := parameter.when:
                where = f"{self.path}: parameters.{name}.when: '{when.text}'"
                if not self._may_hold(when, settings):
                    lines.append(f"{where} never holds, so that no trial searches {name}; change it, or remove {name}")
                elif not self._may_hold(negation(when), {}):
                    lines.append(f"{where} always holds, so that {name} counts in every trial; change or remove it")
        if lines:
            raise UsageError(*lines)

    def _may_hold(self, when: Constraint, settings: Mapping[str, Any]) -> bool:
        """Whether an allowed configuration is found that meets a condition, or it is not known what decides."""
        return self.region(settings, "check", when).draw() is not None

    def _check_some_is_allowed(self, settings: Mapping[str, Any]) -> None:
        region = self.region(settings, "check")
        if self.comparison or self.start_points or region.draw():
            return
        first = {name: parameter.first for name, parameter in self.parameters.items()}
        first = self.conditions.reduced(first, {**settings, **self.fixed})
        rule = self._first_broken_rule({**settings, **self.fixed, **first})
        key, meets, cure = (
            ("constraints", "meets them", "loosen them, or change the parameters")
            if self.constraints
            else ("parameters", "is allowed", "change them or the settings")
        )
        what = "cell of the grid" if self.source is TrialSource.COMBINED else "configuration"
        none = f"no {what}" if region.exhausted else f"none of {MOST_DRAWS} {what}s drawn"
        example = f"; one breaks {rule}" if rule else ""
        raise usage_error(f"{self.path}: {key}", f"{none} {meets}{example}; {cure}")

    def _first_broken_rule(self, values: Mapping[str, Any]) -> str:
        """The first rule that values break, in words; empty if there is none."""
        for constraint in self.constraints:
            if constraint.names <= values.keys() and not constraint.holds(values):
                those = ", ".join(f"{name} = {values[name]}" for name in sorted(constraint.names))
                return f"'{constraint.text}' with {those}"
        if values.keys() >= Settings.model_fields.keys():
            try:
                Settings(**values)
            except ValidationError as error:
                return f"a rule of the settings: {reason(error.errors()[0])}"
        for rule in RULES:
            if rule.names <= values.keys() and not rule.holds(values):
                return f"a rule of the settings: {rule.text}"
        return ""
