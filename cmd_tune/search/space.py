"""Space files: what a search varies, over which values, judged by which metric. Written as W&B sweeps are."""

import json
import math
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError

import cmd_tune
from cmd_tune.config import PRESETS, Settings, check_setting, plain_yaml, reason_of, usage_error
from cmd_tune.errors import UsageError, nearest
from cmd_tune.search.constraints import Constraint, parse_constraint

METHODS = ("tpe", "random", "grid")
DEFAULT_TRIALS = 20
MOST_CELLS = 100_000  # of a grid, which is held as a list
LARGEST = sys.float_info.max
MOST_MULTIPLES = 2**53  # of q, which samplers treat as float64

_KEYS = (
    "method",
    "metric",
    "parameters",
    "constraints",
    "points_to_evaluate",
    "early_terminate",
    "budget",
    "settings",
    "preset",
)
_LOG = ("log_uniform_values", "q_log_uniform_values")
_RANGES = ("uniform", "q_uniform", "int_uniform", *_LOG)
_EXPONENTS = ("log_uniform", "q_log_uniform")  # W&B's, whose bounds are exponents


@dataclass(frozen=True)
class Parameter:
    """One searched setting: `choices`, or a range from `low` to `high`, both included.

    Where `q` is not 0, only its multiples count. Optuna then sees k of k·q: what it suggests is what runs, exactly.
    """

    name: str
    distribution: str
    low: float = 0
    high: float = 0
    q: float = 0
    choices: tuple[Any, ...] = ()

    def optuna(self) -> BaseDistribution:
        """The same as Optuna samples it."""
        log = self.distribution in _LOG
        if self.choices:
            return CategoricalDistribution([_carried(choice) for choice in self.choices])
        if not self.q:
            return FloatDistribution(self.low, self.high, log=log)
        return IntDistribution(*self.multiples(), log=log)

    def multiples(self) -> tuple[int, int]:
        """The first and last k for which k·q lies in the range; the first is the larger where none does."""
        return math.ceil(_exact(self.low) / _exact(self.q)), math.floor(_exact(self.high) / _exact(self.q))

    def decode(self, value: Any) -> Any:
        """A value that Optuna sampled, as the setting has it."""
        if self.choices:
            return next(choice for choice in self.choices if _carried(choice) == value)
        if not self.q:
            return min(max(value, self.low), self.high)  # exp(log(high)) may round past high
        multiple = value * _exact(self.q)
        return int(multiple) if _whole(self.name) else float(multiple)

    def encode(self, value: Any) -> Any:
        """A setting's value as Optuna has it: the inverse of `decode`."""
        if self.choices or not self.q:
            return _carried(value)
        return int(_exact(value) / _exact(self.q))

    def misfit(self, value: Any) -> str:
        """What keeps a value from being one of this parameter's; empty where nothing does."""
        if self.choices:
            return "" if value in self.choices else f"is none of {', '.join(map(str, self.choices))}"
        if not self.low <= value <= self.high:
            return f"lies outside {self.low} to {self.high}"
        if self.q and (_exact(value) / _exact(self.q)).denominator != 1:
            return f"is no multiple of {self.q}"
        return ""


@dataclass(frozen=True)
class _At:
    """A place in a space file, and how a value that stands there is read."""

    file: str
    keys: str = ""

    def __getitem__(self, key: str | int) -> "_At":
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.keys else key
        return _At(self.file, self.keys + step)

    def __str__(self) -> str:
        return f"{self.file}: {self.keys}" if self.keys else self.file

    def error(self, message: str) -> UsageError:
        return usage_error(str(self), message)

    def mapping(self, value: Any, known: Collection[str], example: str, needed: Iterable[str] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"should be a mapping ({example}); found {_found(value)}")
        for key in value:
            if key not in known:
                raise self[str(key)].error(f"unknown key, {nearest(str(key), known)}")
        for key in needed:
            if key not in value:
                raise self[key].error(f"is missing; write {example}")
        return value

    def items(self, value: Any, example: str) -> list[tuple["_At", Any]]:
        if not isinstance(value, list):
            raise self.error(f"should be a list of {example}; found {_found(value)}")
        return [(self[index], item) for index, item in enumerate(value)]

    def one_of(self, value: Any, known: Collection[str]) -> str:
        if not isinstance(value, str) or value not in known:
            raise self.error(f"{_found(value)} is unknown, {nearest(str(value), known)}")
        return value

    def text(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise self.error(f"should be a name; found {_found(value)}")
        return value

    def number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise self.error(f"should be a finite number; found {_found(value)}")
        return value

    def count(self, value: Any, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(f"should be a whole number of {least} or more; found {_found(value)}")
        return value

    def setting(self, name: str, value: Any) -> Any:
        checked = check_setting(str(self), name, value)
        return list(checked) if isinstance(checked, tuple) else checked


def _parameter(at: _At, name: str, value: Any) -> Parameter:
    spec = at.mapping(value, ("value", "values", "distribution", "min", "max", "q"), "value, values, or min and max")
    kind = spec["distribution"] if "distribution" in spec else _inferred(at, spec)
    if kind in _EXPONENTS:
        raise at["distribution"].error(
            f"W&B's {kind} takes exponents as min and max; write {kind}_values for the values"
        )
    kind = at["distribution"].one_of(kind, ("constant", "categorical", *_RANGES))
    takes = {"constant": ["value"], "categorical": ["values"]}.get(kind, ["min", "max"])
    for key in takes:
        if key not in spec:
            raise at[key].error(f"is missing; {kind} takes {' and '.join(takes)}")
    for key in spec:
        if key not in (*takes, "distribution") and not (key == "q" and kind.startswith("q_")):
            raise at[key].error(f"does not go with {kind}, which takes {' and '.join(takes)}; remove it")
    if kind in _RANGES:
        return _range(at, name, kind, spec)
    if kind == "constant":
        return Parameter(name, kind, choices=(at["value"].setting(name, spec["value"]),))
    choices = []
    for place, choice in at["values"].items(spec["values"], "values"):
        checked = place.setting(name, choice)
        if checked in choices:
            raise place.error(f"{checked} stands there twice; remove one")
        choices.append(checked)
    if not choices:
        raise at["values"].error("is empty; list one value or more")
    return Parameter(name, kind, choices=tuple(choices))


def _inferred(at: _At, spec: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is written."""
    if "value" in spec or "values" in spec:
        return "constant" if "value" in spec else "categorical"
    if "min" not in spec and "max" not in spec:
        raise at.error("says nothing to try; give it value, values, or min and max")
    return "int_uniform" if all(isinstance(spec.get(key), int) for key in ("min", "max")) else "uniform"


def _range(at: _At, name: str, kind: str, spec: Mapping[str, Any]) -> Parameter:
    if Settings.model_fields[name].annotation not in (int, float):
        raise at.error("is not a number and has no range; list its values")
    low, high = (at[key].number(spec[key]) for key in ("min", "max"))
    q = at["q"].number(spec.get("q", 1)) if kind.startswith("q_") else int(kind == "int_uniform")
    if low > high:
        raise at["min"].error(f"{low} is above max, {high}; swap them")
    if kind in _LOG and low <= 0:
        raise at["min"].error(f"{low} has no logarithm; {kind} needs a min above 0")
    for key, number in (("min", low), ("max", high), ("q", q)):
        if not float(number).is_integer() and (kind == "int_uniform" or (_whole(name) and key == "q")):
            raise at[key].error(f"{number} is not whole; {kind if kind == 'int_uniform' else name} takes whole numbers")
    if q < 0 or (q == 0 and kind.startswith("q_")):
        raise at["q"].error(f"{q} is not above 0; results are multiples of q")
    if _whole(name) and not q:
        raise at.error(f"takes whole numbers, not {kind}; write distribution: int_uniform or q_log_uniform_values")
    parameter = Parameter(name, kind, at["min"].setting(name, low), at["max"].setting(name, high), q)
    if q:
        first, last = parameter.multiples()
        if first > last or last > MOST_MULTIPLES:
            amount = "no multiple" if first > last else "too many multiples"
            raise at["q"].error(f"{q} has {amount} in {low} to {high}; change q or the range")
    return parameter


def _whole(name: str) -> bool:
    return Settings.model_fields[name].annotation is int


def _exact(number: float) -> Fraction:
    """A number as it is written: 0.1 is one tenth, so that 3·0.1 is 0.3."""
    return Fraction(str(number))


def _carried(value: Any) -> Any:
    """A value as Optuna's categories can hold it: a list as JSON."""
    return json.dumps(value) if isinstance(value, list) else value


def _found(value: Any) -> str:
    return "nothing" if value is None else shortened(value)


@dataclass(frozen=True)
class EarlyTerminate:
    """Asynchronous successive halving: rungs after `grace_period` epochs, then each `reduction_factor` times later.

    At a rung, a trial goes on if it is among the best 1/`reduction_factor` that came there so far.
    """

    grace_period: int = 10
    reduction_factor: int = 3


@dataclass(frozen=True)
class Space:
    """A space file, read and checked. `fixed` are parameters of one value; `settings` hold for every trial as well."""

    path: Path
    method: str
    metric: str
    maximize: bool
    parameters: dict[str, Parameter]
    fixed: dict[str, Any]
    constraints: tuple[Constraint, ...]
    start_points: tuple[dict[str, Any], ...]
    early_terminate: EarlyTerminate | None
    trials: int | None
    seconds: float | None
    settings: dict[str, Any]
    preset: str | None

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna samples."""
        return {name: parameter.optuna() for name, parameter in self.parameters.items()}

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Optuna's values of the parameters as settings."""
        return {name: self.parameters[name].decode(value) for name, value in params.items()}

    def encode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of the parameters (a start point, a cell) as Optuna has them: the inverse of `decode`."""
        return {name: self.parameters[name].encode(value) for name, value in point.items()}

    def allows(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
        """Whether values laid over whole settings meet the constraints and what `Settings` itself demands."""
        return not self._broken({**settings, **self.fixed, **values})

    def cells(self, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All cells of a grid that are allowed under these settings, as written; the last parameter varies fastest."""
        choices = [parameter.choices for parameter in self.parameters.values()]
        cells = (dict(zip(self.parameters, values, strict=True)) for values in product(*choices))
        return [cell for cell in cells if self.allows(cell, settings)]

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise UsageError for a start point that is not allowed under these settings, or a grid without a cell.

        Settings may be partial: what speaks of an absent one is left out.
        """
        for index, point in enumerate(self.start_points):
            if rule := self._broken({**settings, **self.fixed, **point}):
                where = f"{self.path}: points_to_evaluate[{index}]"
                raise usage_error(where, f"breaks {rule}; change the point or the constraint")
        if self.method == "grid" and not self.cells(settings):
            raise usage_error(f"{self.path}: constraints", "no cell of the grid meets them; loosen them or add values")

    def _broken(self, values: Mapping[str, Any]) -> str:
        """The first rule that values break, in words; empty where there is none."""
        for constraint in self.constraints:
            if constraint.names <= values.keys() and not constraint.holds(values):
                those = ", ".join(f"{name} = {values[name]}" for name in sorted(constraint.names))
                return f"'{constraint.text}' with {those}"
        if values.keys() >= Settings.model_fields.keys():
            try:
                Settings(**values)
            except ValidationError as error:
                return f"a rule of the settings: {reason_of(error)}"
        return ""


def find_space(text: str) -> Path:
    """The file that `--space` means: a path, or a name in search_spaces/ with or without .yaml."""
    if Path(text).is_file():
        return Path(text)
    package = Path(cmd_tune.__file__).parent
    folders = [package.parent / "search_spaces", package / "search_spaces"]  # a repository's; a wheel's
    for folder in folders if Path(text).name == text else ():
        for path in (folder / text, folder / f"{text}.yaml"):
            if path.is_file():
                return path
    names = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    raise usage_error(
        f"--space {text}", f"no such file, nor a search space of that name; {nearest(Path(text).stem, names)}"
    )


def load_space(path: Path) -> Space:
    """Read a space file. Raises UsageError in one line: file, key path, what is wrong, what to do."""
    top = _At(str(path))
    content = top.mapping(
        _read(path), _KEYS, "method, metric, parameters, …", needed=("method", "metric", "parameters")
    )
    method = top["method"].one_of(content["method"], METHODS)
    metric = top["metric"].mapping(
        content["metric"], ("name", "goal"), "{name: val/knn/fused, goal: maximize}", needed=("name", "goal")
    )
    settings = top["settings"].mapping(content.get("settings", {}), Settings.model_fields, "setting: value")
    parameters = _parameters(top["parameters"], content["parameters"], method, settings)
    searched = {name: parameter for name, parameter in parameters.items() if parameter.distribution != "constant"}
    if not searched:
        raise top["parameters"].error("there is nothing to search; give a setting values, or min and max")
    trials, seconds = _budget(
        top["budget"], content.get("budget", {} if method == "grid" else {"trials": DEFAULT_TRIALS}), method
    )
    constraints = top["constraints"].items(content.get("constraints", []), "expressions such as 'topk <= queue_size'")
    points = top["points_to_evaluate"].items(content.get("points_to_evaluate", []), "mappings, one a trial")
    if points and method == "grid":
        raise top["points_to_evaluate"].error("a grid runs every cell anyway; remove them")
    space = Space(
        path=path,
        method=method,
        metric=top["metric"]["name"].text(metric["name"]),
        maximize=top["metric"]["goal"].one_of(metric["goal"], ("maximize", "minimize")) == "maximize",
        parameters=searched,
        fixed={name: parameter.choices[0] for name, parameter in parameters.items() if name not in searched},
        constraints=tuple(parse_constraint(str(at), text) for at, text in constraints),
        start_points=tuple(_start_point(at, point, searched) for at, point in points),
        early_terminate=_early_terminate(top["early_terminate"], content["early_terminate"])
        if "early_terminate" in content
        else None,
        trials=trials,
        seconds=seconds,
        settings={key: top["settings"][key].setting(key, value) for key, value in settings.items()},
        preset=top["preset"].one_of(content["preset"], PRESETS) if "preset" in content else None,
    )
    # Without a preset, what a trial starts from is known only to the command line.
    preset = {**Settings().model_dump(), **PRESETS[space.preset]} if space.preset else {}
    space.check({**preset, **space.settings})
    return space


def _read(path: Path) -> Any:
    try:
        content = plain_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise usage_error(str(path), f"cannot be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise usage_error(str(path), f"line {line}: {error.problem or error.context}; correct the YAML there") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise usage_error(str(path), f"is not YAML text: {error}") from None
    if content is None:
        raise usage_error(str(path), "is empty; write method, metric and parameters, as in search_spaces/temps.yaml")
    return content


def _parameters(at: _At, value: Any, method: str, settings: Collection[str]) -> dict[str, Parameter]:
    specs = at.mapping(value, Settings.model_fields, "setting: {min: …, max: …} or setting: {values: […]}")
    for name in specs:
        if name in settings:
            raise at[name].error("stands in settings too; keep it in one place")
    parameters = {name: _parameter(at[name], name, spec) for name, spec in specs.items()}
    if method == "grid":
        for name, parameter in parameters.items():
            if parameter.distribution in _RANGES:
                raise at[name].error("a grid takes value or values, not a range; list values, or use method: tpe")
        if math.prod(len(parameter.choices) for parameter in parameters.values()) > MOST_CELLS:
            raise at.error(f"the grid has more than {MOST_CELLS} cells; list fewer values, or use method: tpe")
    return parameters


def _start_point(at: _At, value: Any, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    point = at.mapping(value, parameters, "parameter: value")
    if absent := [name for name in parameters if name not in point]:
        raise at.error(f"lacks {', '.join(absent)}; a start point gives every searched parameter a value")
    checked = {name: at[name].setting(name, point[name]) for name in parameters}
    for name, parameter in parameters.items():
        if problem := parameter.misfit(checked[name]):
            raise at[name].error(f"{checked[name]} {problem}; change the point or the parameter")
    return checked


def _early_terminate(at: _At, value: Any) -> EarlyTerminate:
    keys = ("type", "grace_period", "reduction_factor")
    spec = at.mapping(value, keys, "{type: asha, grace_period: epochs, reduction_factor: 3}", needed=("type",))
    at["type"].one_of(spec["type"], ("asha",))
    least = {"grace_period": 1, "reduction_factor": 2}
    return EarlyTerminate(**{key: at[key].count(spec[key], least[key]) for key in least if key in spec})


def _budget(at: _At, value: Any, method: str) -> tuple[int | None, float | None]:
    """(trials, seconds). A grid's trials are its cells unless told otherwise."""
    spec = at.mapping(
        value, ("trials", "time"), "{trials: 20, time: 1h30m}", needed=() if method == "grid" else ("trials",)
    )
    trials = at["trials"].count(spec["trials"], 1) if "trials" in spec else None
    return trials, _seconds(at["time"], spec["time"]) if "time" in spec else None


def _seconds(at: _At, value: Any) -> float:
    seconds = 0.0
    if not isinstance(value, str):
        seconds = at.number(value)
    elif parts := re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", value.strip(), re.ASCII):
        seconds = sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
    if seconds <= 0:
        raise at.error(f"{_found(value)} is no length of time; write 5m, 1h30m, 90s or a number of seconds")
    return seconds
