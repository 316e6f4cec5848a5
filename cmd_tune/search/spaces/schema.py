"""The JSON schema of space files, from their typed models and the settings: for editors, which complete and check.

A schema knows less than the reader of the files: not what must hold between two keys. What it refuses, the reader does.
"""

from collections.abc import Mapping
from typing import Any

from cmd_tune.evaluate.scores import PROBES
from cmd_tune.search.spaces import sweep_file
from cmd_tune.search.spaces.ablation import NO_ABLATION
from cmd_tune.search.spaces.comparison_file import ClaimSpec
from cmd_tune.search.spaces.comparison_form import ComparisonForm
from cmd_tune.search.spaces.confirm import AUTO, FEWEST, NO_CONFIRM
from cmd_tune.search.spaces.file_model import FileModel
from cmd_tune.search.spaces.forms import GOALS, Budget, MethodKind, Metric
from cmd_tune.search.spaces.parameter_file import DISTRIBUTIONS, RANGES
from cmd_tune.search.spaces.refit import NO_REFIT
from cmd_tune.search.spaces.reported import REPORTED, TESTED, Origin
from cmd_tune.search.spaces.search_form import MOST_METRICS, SearchForm
from cmd_tune.search.spaces.space import DEFAULT_METHOD, TrialSource
from cmd_tune.settings import PRESETS, Settings

SCHEMA_FILE = "space.schema.json"  # in search_spaces/

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_SEEDS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}, "uniqueItems": True}
_FRESH: Schema = {"anyOf": [{"const": AUTO}, {"type": "integer", "minimum": FEWEST}]}
_ACCURACY: Schema = {**_NUMBER, "minimum": 0, "maximum": 100}
_TIME: Schema = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+s)?$"},
    ]
}
_WORDS = {  # what a key is for, as editors show it
    "method": "how trials are chosen",
    "metric": "by what trials are judged",
    "metrics": "by what trials are judged, in place of metric: two or three, of which the first ranks",
    "parameters": "what varies: settings, each with a range or a list of values",
    "constraints": "what must hold between settings, such as topk <= queue_size",
    "points_to_evaluate": "configurations that run first",
    "warm_start": "an earlier search of the same storage, whose finished trials the method begins with",
    "early_terminate": "when a trial is stopped before its last epoch",
    "confirm": "how the best trials and the start point are run again with fresh seeds, and ranked by the mean",
    "refit": "how the best trials are pretrained again, on the whole training set",
    "ablation": "how the path from the start point to the best trial is run, one parameter changed after the other",
    "budget": "how many trials, how long",
    "settings": "settings of every trial",
    "preset": "the scale that settings are laid over",
    "cells": "the configurations of a table, each of them run with every seed",
    "seeds": "the seeds of a table; of a search, how many runs a trial has, whose mean is its score",
    "claims": "what a table is to show",
    "title": "the heading of a table's report",
    "reported": "test accuracies that others report, in percent, to stand beside those of the best trial",
    "reported_on": "what the reported accuracies were measured on",
}


def space_schema(methods: Mapping[str, MethodKind], early_stopping: Mapping[str, type[FileModel]]) -> Schema:
    """The JSON schema (draft 2020-12) of a space file.

    methods, early_stopping: as those of `load_space`.
    """
    of_cells = [word for word, method in methods.items() if method.trials is TrialSource.CELLS]
    searches = [word for word in methods if word not in of_cells] + list(sweep_file.METHODS)
    rules = [_closed(rule, {"type": {"const": word}}) for word, rule in early_stopping.items()]
    for rule in rules:
        rule["required"] = ["type"]
    common = {**_common(), **_of_sweeps()}
    search = _closed(
        SearchForm,
        {
            "method": {"enum": searches, "default": DEFAULT_METHOD},
            "metrics": {"type": "array", "minItems": 2, "maxItems": MOST_METRICS, "items": common["metric"]},
            "parameters": {
                "type": "object",
                "minProperties": 1,
                "properties": {name: _parameter(name) for name in Settings.model_fields},
                "additionalProperties": False,
            },
            "constraints": {"type": "array", "items": _TEXT},
            "points_to_evaluate": {"type": "array", "items": {"$ref": "#/$defs/settings"}},
            "early_terminate": {"anyOf": [*rules, _hyperband(), *_no_early_stopping()]},
            "warm_start": _TEXT,
            "seeds": _COUNT,
            "confirm": {"anyOf": [{"const": NO_CONFIRM}, _closed_mapping({"top": _COUNT, "seeds": _FRESH})]},
            "refit": {"anyOf": [{"const": NO_REFIT}, _closed_mapping({"seeds": _SEEDS})]},
            "reported": _closed_mapping(dict.fromkeys(TESTED, _ACCURACY)),
            "reported_on": _origin(),
            "ablation": {"anyOf": [{"enum": [AUTO, NO_ABLATION]}, _closed_mapping({"seeds": _COUNT})]},
        },
        common,
    )
    cell = {**_references(), REPORTED: {"type": "object", "additionalProperties": _ACCURACY}}
    table = _closed(
        ComparisonForm,
        {
            "method": {"enum": of_cells},
            "cells": {"type": "array", "minItems": 1, "items": _closed_mapping(cell)},
            "seeds": {**_SEEDS, "minItems": 1},
            "claims": {"type": "array", "items": _claim()},
            "title": _TEXT,
            "reported_on": _origin(),
        },
        common,
    )
    table["required"], search["required"] = ["cells"], ["parameters"]
    compares: list[Schema] = [
        {"properties": {"method": {"enum": of_cells}}, "required": ["method"]},
        {"not": {"required": ["method"]}, "required": ["cells"]},
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A space file of cmd_tune",
        "type": "object",
        "if": {"anyOf": compares},
        "then": table,
        "else": search,
        "$defs": {"settings": _closed_mapping(_settings())},
    }


def _closed_mapping(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _closed(model: type[FileModel], parts: Schema, more: Schema | None = None) -> Schema:
    """The schema of a model's mapping. parts: of its fields; those that it lacks are as pydantic has them.

    more: of keys beside the model's own, or of fields of its base.
    """
    more, properties = more or {}, {}
    given = parts.keys() | more.keys() >= model.model_fields.keys()
    own: Schema = {} if given else model.model_json_schema()["properties"]
    for name in model.model_fields:
        schema = parts.get(name) or more.get(name) or {key: value for key, value in own[name].items() if key != "title"}
        properties[name] = {"description": _WORDS[name], **schema} if name in _WORDS else schema
    return _closed_mapping({**properties, **{key: part for key, part in more.items() if key not in properties}})


def _common() -> Schema:
    """The keys of every space file but its method."""
    metric = _closed_mapping(
        {"name": _TEXT, "goal": {"enum": list(GOALS)}, **dict.fromkeys(sweep_file.METRIC_PASSED_OVER, True)}
    )
    budget = {"trials": _COUNT, "time": _TIME, "max_failure_rate": {**_NUMBER, "minimum": 0, "maximum": 1}}
    assert {*Metric.model_fields} <= {*metric["properties"]}
    assert {*Budget.model_fields} == {*budget}
    return {
        "metric": {**metric, "required": ["name"]},
        "preset": {"enum": list(PRESETS)},
        "settings": {"$ref": "#/$defs/settings"},
        "budget": _closed_mapping(budget),
    }


def _of_sweeps() -> Schema:
    """The keys of W&B's sweeps that are taken or passed over."""
    return {**dict.fromkeys(sweep_file.TAKEN, _TEXT), "run_cap": _COUNT, **dict.fromkeys(sweep_file.PASSED_OVER, True)}


def _hyperband() -> Schema:
    """W&B's early stopping, where it has a key that ours has not."""
    keys: Schema = {"type": {"const": "hyperband"}, "min_iter": _COUNT, "max_iter": _COUNT, "s": _COUNT, "strict": True}
    found = _closed_mapping({**keys, "eta": {"type": "integer", "minimum": 2}})
    first = ({"required": ["min_iter", "strict"]}, {"required": ["min_iter", "s"]}, {"required": ["max_iter", "s"]})
    return {**found, "required": ["type"], "anyOf": [*first]}


def _no_early_stopping() -> list[Schema]:
    """The word alone, or as a rule."""
    return [{"const": "none"}, {**_closed_mapping({"type": {"const": "none"}}), "required": ["type"]}]


def _settings() -> Schema:
    """Each setting by itself."""
    own = Settings.model_json_schema()
    dropped = ("title", "default")
    return {
        name: {key: part for key, part in schema.items() if key not in dropped}
        for name, schema in own["properties"].items()
    }


def _references() -> Schema:
    """The settings, each as it is defined once."""
    return {name: {"$ref": f"#/$defs/settings/properties/{name}"} for name in Settings.model_fields}


def _parameter(name: str) -> Schema:
    """What a parameter of this setting may be."""
    schema, whole = _references()[name], _settings()[name]
    listed = {"type": "array", "minItems": 1, "items": schema}
    aliases = {own: theirs for theirs, own in sweep_file.DISTRIBUTIONS.items()}

    def one(needed: tuple[str, ...], kinds: list[str], properties: Schema) -> Schema:
        kinds += [aliases[kind] for kind in kinds if kind in aliases]
        return {**_closed_mapping({**properties, "distribution": {"enum": kinds}}), "required": list(needed)}

    weights = {"type": "array", "items": _NUMBER}
    share = {**_NUMBER, "minimum": 0, "maximum": 1}
    more = {"when": _TEXT, "prior": {**_closed_mapping({"mode": schema, "confidence": share}), "required": ["mode"]}}
    forms = [
        one(("value",), ["constant"], {"value": schema}),
        one(("values",), ["categorical"], {"values": listed, "probabilities": weights} | more),
    ]
    if whole.get("type") in ("integer", "number"):
        step = {"q": {**_NUMBER, "exclusiveMinimum": 0}}
        plain = [kind for kind in RANGES if not kind.startswith("q_")]
        stepped = [kind for kind in RANGES if kind.startswith("q_")]
        ends = {"min": schema, "max": schema} | more
        forms.append(one(("min", "max"), plain, ends))
        forms.append(one(("min", "max", "distribution"), stepped, ends | step))
    assert {*RANGES, "constant", "categorical"} == {*DISTRIBUTIONS}
    return {"description": whole["description"], "anyOf": forms}


def _claim() -> Schema:
    cell, cells = {"$ref": "#/$defs/settings"}, {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/settings"}}
    parts: Schema = {
        "says": _TEXT,
        "best": cell,
        "ordered": cells,
        "decreasing": {**_closed_mapping({"along": _TEXT, "over": {"type": "array"}}), "required": ["along", "over"]},
        "flat": cells,
        "no_worse": {**_closed_mapping({"cell": cell, "than": cell}), "required": ["cell", "than"]},
        "metrics": {"type": "array", "items": _TEXT},
        "margin": {**_NUMBER, "exclusiveMinimum": 0},
    }
    return {**_closed(ClaimSpec, parts), "required": ["says"]}


def _origin() -> Schema:
    parts = {"by": _TEXT, "dataset": _TEXT, "protocol": _TEXT, "probes": _closed_mapping(dict.fromkeys(PROBES, _TEXT))}
    return {**_closed(Origin, parts), "required": list(Origin.model_fields)}
