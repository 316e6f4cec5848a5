"""Space files: what a search varies, over which values, judged by which metric. Written as W&B sweeps are."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import cmd_tune
from cmd_tune.config import PRESETS, Settings, reason_of, usage_error
from cmd_tune.errors import nearest
from cmd_tune.files import home_path
from cmd_tune.plain_yaml import read_yaml
from cmd_tune.search.spaces.comparison import Table, read_table
from cmd_tune.search.spaces.constraints import Constraint, parse_constraint
from cmd_tune.search.spaces.parameter import RANGES, Parameter, Place, found, read_parameter
from cmd_tune.search.spaces.region import MOST_DRAWS, RULES, Region

METHODS = ("tpe", "random", "grid", "cells")
DEFAULT_TRIALS = 20
LISTED = ("grid", "cells")  # methods whose trials the file lists
LEARNING = ("tpe",)  # methods that choose a trial by the results of those before it
MOST_CELLS = 100_000  # of a grid, which is held as a list

_OF_SEARCHES = ("parameters", "constraints", "points_to_evaluate", "early_terminate")
_OF_TABLES = ("cells", "seeds", "claims", "title", "reported_on")
_KEYS = ("method", "metric", *_OF_SEARCHES, *_OF_TABLES, "budget", "settings", "preset")


@dataclass(frozen=True)
class EarlyTerminate:
    """Asynchronous successive halving: rungs after `grace_period` epochs, then each `reduction_factor` times later.

    At a rung, a trial goes on if it is among the best 1/`reduction_factor` that came there so far.
    """

    grace_period: int = 10
    reduction_factor: int = 3


@dataclass(frozen=True)
class Space:
    """A space file, read and checked. `fixed` are parameters of one value; `settings` hold for every trial as well.

    With method cells there is a `table`, whose trials are given; `parameters` are then what differs between them.
    """

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
    table: Table | None = None

    def allows(self, values: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
        """Whether values laid over whole settings meet the constraints and what `Settings` itself demands."""
        return not self._broken({**settings, **self.fixed, **values})

    def cells(self, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All cells of a grid that are allowed under these settings, as written; the last parameter varies fastest."""
        choices = [parameter.choices for parameter in self.parameters.values()]
        cells = (dict(zip(self.parameters, values, strict=True)) for values in product(*choices))
        return [cell for cell in cells if self.allows(cell, settings)]

    def region(self, settings: Mapping[str, Any], seed: str) -> Region:
        """All configurations of the parameters that are allowed under these settings, to draw from."""
        whole = {**settings, **self.fixed}
        return Region(self.parameters, self.constraints, whole, lambda values: self.allows(values, whole), seed)

    def variants(self, settings: Mapping[str, Any], names: Collection[str]) -> list[dict[str, Any]]:
        """The values that these settings take together in some trial, as far as they are choices of the space."""
        if self.table:
            return [{name: cell.values[name] for name in names if name in cell.values} for cell in self.table.cells]
        chosen = {name: p.choices for name, p in self.parameters.items() if name in names and p.choices}
        rest = {name: parameter for name, parameter in self.parameters.items() if name not in chosen}
        variants = [dict(zip(chosen, values, strict=True)) for values in product(*chosen.values())]

        def possible(variant: Mapping[str, Any]) -> bool:
            whole = {**settings, **self.fixed, **variant}
            return Region(rest, self.constraints, whole, lambda v: self.allows(v, whole), "check").draw() is not None

        return [variant for variant in variants if possible(variant)] if chosen else [{}]

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise UsageError for a start point or a table's cell that is not allowed under these settings, or no cell.

        Settings may be partial: what speaks of an absent one is left out.
        """
        for index, point in enumerate(self.start_points):
            if rule := self._broken({**settings, **self.fixed, **point}):
                where = f"{self.path}: points_to_evaluate[{index}]"
                raise usage_error(where, f"breaks {rule}; change the point or the constraint")
        for index, cell in enumerate(self.table.cells if self.table else ()):
            if rule := self._broken({**settings, **cell.values}):
                raise usage_error(f"{self.path}: cells[{index}]", f"breaks {rule}; change the cell or the settings")
        if self.method == "grid":
            self.check_possible(settings)

    def check_possible(self, settings: Mapping[str, Any]) -> None:
        """Raise UsageError where no configuration at all is allowed under these settings, or none is found."""
        region = self.region(settings, "check")
        if self.table or self.start_points or region.draw():
            return
        first = {name: parameter.first for name, parameter in self.parameters.items()}
        rule = self._broken({**settings, **self.fixed, **first})
        key, meets, cure = (
            ("constraints", "meets them", "loosen them, or change the parameters")
            if self.constraints
            else ("parameters", "is allowed", "change them or the settings")
        )
        what = "cell of the grid" if self.method == "grid" else "configuration"
        none = f"no {what}" if region.exhausted else f"none of {MOST_DRAWS} {what}s drawn"
        example = f"; one breaks {rule}" if rule else ""
        raise usage_error(f"{self.path}: {key}", f"{none} {meets}{example}; {cure}")

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
        for rule in RULES:
            if rule.names <= values.keys() and not rule.holds(values):
                return f"a rule of the settings: {rule.text}"
        return ""


def find_space(text: str) -> Path:
    """The file that `--space` means: a path, or a name in search_spaces/ with or without .yaml."""
    path = home_path(text)
    if path.is_file():
        return path
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
    top = Place(str(path))
    content = top.mapping(_read(path), _KEYS, "method, metric, parameters, …", needed=("method", "metric"))
    method = top["method"].one_of(content["method"], METHODS)
    what = "cells" if method == "cells" else "parameters"
    top.mapping(content, _KEYS, "what is tried, as in search_spaces/", needed=(what,))
    for key in _OF_SEARCHES if method == "cells" else _OF_TABLES:
        if key in content:
            cure = "whose cells all run to their end; remove it" if method == "cells" else "or write method: cells"
            raise top[key].error(f"does not go with method {method}, {cure}")
    metric = top["metric"].mapping(
        content["metric"], ("name", "goal"), "{name: val/knn/fused, goal: maximize}", needed=("name", "goal")
    )
    settings = top["settings"].mapping(content.get("settings", {}), Settings.model_fields, "setting: value")
    if method == "cells" and "seed" in settings:
        raise top["settings"]["seed"].error("does not go with method cells, whose seeds replace it; write seeds: [0]")
    table = read_table(top, content, settings) if method == "cells" else None
    parameters = (
        table.parameters() if table else _parameters(top["parameters"], content["parameters"], method, settings)
    )
    searched = {name: parameter for name, parameter in parameters.items() if parameter.distribution != "constant"}
    if not searched:
        raise top["parameters"].error("there is nothing to search; give a setting values, or min and max")
    trials, seconds = _budget(
        top["budget"], content.get("budget", {} if method in LISTED else {"trials": DEFAULT_TRIALS}), method
    )
    constraints = top["constraints"].items(content.get("constraints", []), "expressions such as 'topk <= queue_size'")
    points = top["points_to_evaluate"].items(content.get("points_to_evaluate", []), "mappings, one a trial")
    if trials is not None and len(points) > trials:
        raise top["points_to_evaluate"].error(
            f"has {len(points)} points, of which budget.trials lets {trials} run; raise it, or remove some"
        )
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
        table=table,
    )
    # Without a preset, what a trial starts from is known only to the command line.
    preset = {**Settings().model_dump(), **PRESETS[space.preset]} if space.preset else {}
    space.check({**preset, **space.settings})
    space.check_possible({})  # whatever the settings will be
    return space


def _read(path: Path) -> Any:
    content = read_yaml(path)
    if content is None:
        raise usage_error(str(path), "is empty; write method, metric and parameters, as in search_spaces/temps.yaml")
    return content


def _parameters(at: Place, value: Any, method: str, settings: Collection[str]) -> dict[str, Parameter]:
    specs = at.mapping(value, Settings.model_fields, "setting: {min: …, max: …} or setting: {values: […]}")
    for name in specs:
        if name in settings:
            raise at[name].error("stands in settings too; keep it in one place")
    parameters = {name: read_parameter(at[name], name, spec) for name, spec in specs.items()}
    if method == "grid":
        for name, parameter in parameters.items():
            if parameter.distribution in RANGES:
                raise at[name].error("a grid takes value or values, not a range; list values, or use method: tpe")
        if math.prod(len(parameter.choices) for parameter in parameters.values()) > MOST_CELLS:
            raise at.error(f"the grid has more than {MOST_CELLS} cells; list fewer values, or use method: tpe")
    return parameters


def _start_point(at: Place, value: Any, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    point = at.mapping(value, parameters, "parameter: value")
    if absent := [name for name in parameters if name not in point]:
        raise at.error(f"lacks {', '.join(absent)}; a start point gives every searched parameter a value")
    checked = {name: at[name].setting(name, point[name]) for name in parameters}
    for name, parameter in parameters.items():
        if problem := parameter.misfit(checked[name]):
            raise at[name].error(f"{checked[name]} {problem}; change the point or the parameter")
    return checked


def _early_terminate(at: Place, value: Any) -> EarlyTerminate:
    keys = ("type", "grace_period", "reduction_factor")
    spec = at.mapping(value, keys, "{type: asha, grace_period: epochs, reduction_factor: 3}", needed=("type",))
    at["type"].one_of(spec["type"], ("asha",))
    least = {"grace_period": 1, "reduction_factor": 2}
    return EarlyTerminate(**{key: at[key].count(spec[key], least[key]) for key in least if key in spec})


def _budget(at: Place, value: Any, method: str) -> tuple[int | None, float | None]:
    """(trials, seconds). Either may be None; a grid's or a table's trials are its cells unless told otherwise."""
    spec = at.mapping(value, ("trials", "time"), "{trials: 20, time: 1h30m}")
    if not spec and method not in LISTED:
        raise at.error("is empty; write trials, time or both, such as {trials: 20, time: 1h30m}")
    trials = at["trials"].count(spec["trials"], 1) if "trials" in spec else None
    return trials, _seconds(at["time"], spec["time"]) if "time" in spec else None


def _seconds(at: Place, value: Any) -> float:
    seconds = 0.0
    if not isinstance(value, str):
        seconds = at.number(value)
    elif parts := re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", value.strip(), re.ASCII):
        seconds = sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
    if seconds <= 0:
        raise at.error(f"{found(value)} is no length of time; write 5m, 1h30m, 90s or a number of seconds")
    return seconds
