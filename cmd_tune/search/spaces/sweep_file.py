"""W&B sweep files: the keys of a sweep in the words of a space file, and what is said of those that mean nothing here.

The tables are of W&B's reference, "Sweep configuration options", and of the schema in its package `sweeps`.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cmd_tune.formatting import format_value
from cmd_tune.mistakes import Mistakes, found, mistake
from cmd_tune.search.spaces.file_model import number, text, whole
from cmd_tune.search.spaces.parameter import is_whole
from cmd_tune.settings import Settings

TAKEN = ("name", "description", "project")  # texts that the search keeps
PASSED_OVER = ("program", "command", "entity", "apiVersion", "kind", "controller", "job", "image_uri")
METRIC_PASSED_OVER = ("target", "impute", "impute_while_running")
HYPERBAND = ("min_iter", "max_iter", "s", "eta", "strict")  # beside `type`
METHODS = {"bayes": "tpe"}
ANSWERED = ("scheduler",)

_NESTED = "parameters"
_SPREAD = 2  # standard deviations to either side: a range for what has no bounds
_LOG_NORMAL, _NORMAL = ("log_normal", "q_log_normal"), ("normal", "q_normal")
_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")
_BETA = ("beta", "q_beta")
ANSWERED_DISTRIBUTIONS = (*_NORMAL, *_LOG_NORMAL, *_EXPONENTS, *_BETA)
# 1/x is even on a log scale just where x is.
DISTRIBUTIONS = {"inv_log_uniform_values": "log_uniform_values", "categorical_w_probabilities": "categorical"}


@dataclass(frozen=True)
class Sweep:
    """A file's content in the words of space files; texts that were taken; remarks to be shown, a line each."""

    content: dict[str, Any]
    texts: dict[str, str]
    remarks: tuple[str, ...]


def read_sweep(content: Mapping[str, Any], rules: Collection[str], mistakes: Mistakes) -> Sweep:
    """Translate a file's content; what is none of W&B's stays as it is.

    rules: the types of early stopping that there are. mistakes: get what is to be written otherwise; such keys are left
    out of the content, so that the rest is read, too.
    """
    left, texts, remarks = dict(content), dict[str, str](), list[str]()
    for key in TAKEN:
        if key in left:
            value = left.pop(key)
            with mistakes.at(key):
                texts[key] = text(value)
    if passed := [key for key in PASSED_OVER if key in left]:
        left = {key: value for key, value in left.items() if key not in passed}
        remarks.append(f"{', '.join(passed)}: of W&B, passed over")
    if "scheduler" in left:
        del left["scheduler"]
        mistakes.add("W&B's scheduler is code of one's own; remove it, and write method: tpe", "scheduler")
    if left.get("method") == "custom":
        left["method"] = "tpe"
        mistakes.add("W&B's custom runs a scheduler of one's own; write method: tpe", "method")
    if isinstance(left.get("method"), str) and (method := METHODS.get(left["method"])):
        remarks.append(f"method: {left['method']} runs as {method}")
        left["method"] = method
    if {"metric", "metrics"} <= left.keys():
        del left["metric"]
        mistakes.add("stands beside metric; remove one of them: the first of metrics ranks as metric does", "metrics")
    listed = left["metrics"] if isinstance(left.get("metrics"), list) else []
    for key, metric in (("metric", left.get("metric")), *((f"metrics[{n}]", item) for n, item in enumerate(listed))):
        if isinstance(metric, dict) and (passed := [part for part in METRIC_PASSED_OVER if part in metric]):
            remarks.append(f"{key}: {', '.join(passed)}: of W&B, passed over; the budget ends a search")
    if "metric" in left:
        left["metric"] = _own_metric(left["metric"])
    if listed:
        left["metrics"] = [_own_metric(item) for item in listed]
    if "run_cap" in left:
        with mistakes.at("run_cap"):
            left = _with_run_cap(left)
        left.pop("run_cap", None)
    stop = left.get("early_terminate")
    # A hyperband of our words is ours; it has the same ones but for two.
    if (
        isinstance(stop, dict)
        and stop.get("type") == "hyperband"
        and not ("hyperband" in rules and _OWN.isdisjoint(stop))
    ):
        left.pop("early_terminate")
        with mistakes.at("early_terminate"):
            left["early_terminate"] = asha = _asha(stop)
            remarks.append(f"early_terminate: hyperband runs as {_flow(asha)}, in epochs")
    return Sweep(left, texts, tuple(remarks))


_OWN = {"s", "strict"}  # keys of W&B's hyperband alone


def _own_metric(metric: Any) -> Any:
    """A metric without what is W&B's alone; what is no mapping stays as it is."""
    if not isinstance(metric, dict):
        return metric
    return {key: value for key, value in metric.items() if key not in METRIC_PASSED_OVER}


def _with_run_cap(content: dict[str, Any]) -> dict[str, Any]:
    """The content with `run_cap` as budget.trials."""
    cap, budget = whole(content["run_cap"], 1), content.get("budget", {})
    if isinstance(budget, dict):
        if "trials" in budget:
            raise ValueError("is budget.trials, which is there, too; remove one")
        return {**content, "budget": {**budget, "trials": cap}}
    return content  # what is wrong with the budget is said of it


def _asha(stop: Mapping[str, Any]) -> dict[str, Any]:
    """W&B's hyperband as ASHA, which stops at the same rungs. Raises ValueError."""
    with Mistakes() as mistakes:
        for key in stop:
            if key not in (*HYPERBAND, "type"):
                mistakes.add(f"unknown key; W&B's hyperband has {', '.join(HYPERBAND)}", key)
        counts = {}
        for key, least in (("min_iter", 1), ("max_iter", 1), ("s", 1), ("eta", 2)):
            if key in stop:
                with mistakes.at(key):
                    value = number(stop[key])
                    if key == "eta" and value != int(value):
                        near = {"type": "asha", "grace_period": stop.get("min_iter", 10), "reduction_factor": 3}
                        raise ValueError(f"{value} is not whole; write early_terminate: {_flow(near)}")
                    counts[key] = whole(int(value) if value == int(value) else value, least)
        if "min_iter" not in stop and not {"max_iter", "s"} <= stop.keys():
            example = {"type": "asha", "grace_period": 20, "reduction_factor": 3}
            mistakes.add(f"has no min_iter, nor max_iter and s; write early_terminate: {_flow(example)}")
    eta = counts.get("eta", 3)
    first = counts["min_iter"] if "min_iter" in counts else max(1, counts["max_iter"] // eta ** counts["s"])
    return {"type": "asha", "grace_period": first, "reduction_factor": eta}


def nested(parameters: Any) -> list[str]:
    """The names under which parameters hold others, which are no settings."""
    if not isinstance(parameters, dict):
        return []
    return [str(name) for name, value in parameters.items() if isinstance(value, dict) and _NESTED in value]


def own_parameter(name: str, value: Any) -> Any:
    """A parameter in the words of space files; what is none of W&B's own stays as it is.

    Raises ValueError with the line to write instead, for what would be another search if it were taken.
    """
    if not isinstance(value, dict):
        return value
    if isinstance(inner := value.get(_NESTED), dict):
        lines = "; ".join(f"{key}: {_flow(part)}" for key, part in inner.items())
        raise ValueError(
            f"W&B's nested parameters: no setting lies in another; write, under parameters itself, {lines}"
        )
    word = value.get("distribution")
    if isinstance(word, str) and word in ANSWERED_DISTRIBUTIONS:
        line = f"write {name}: {_flow(_range(name, word, value))}"
        raise mistake(f"W&B's {word} {_WHY[word.removeprefix('q_')]}; {line}", "distribution")
    own = dict(value)
    if isinstance(word, str) and word in DISTRIBUTIONS:
        own["distribution"] = DISTRIBUTIONS[word]
    if "probabilities" in own:
        weights = own.pop("probabilities")
        if not isinstance(weights, list) or len({str(weight) for weight in weights}) != 1:
            line = f"write {name}: {_flow({key: part for key, part in own.items() if key == 'values'})}"
            raise mistake(f"here every value is as likely as the others; {line}", "probabilities")
    return own


_WHY = {
    "normal": "has no bounds",
    "log_normal": "has no bounds",
    "log_uniform": "takes exponents as min and max",
    "inv_log_uniform": "takes exponents as min and max",
    "beta": "is not there",
}


def _range(name: str, word: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The range that comes next to a distribution of W&B, within the bounds of the setting. Raises ValueError."""
    with Mistakes() as mistakes:
        given = dict[str, float]()
        for key, default in (("mu", 0), ("sigma", 1), ("min", None), ("max", None)):
            if key in value or (word in _EXPONENTS and default is None):
                with mistakes.at(key):
                    given[key] = number(value.get(key))
            elif default is not None:
                given[key] = default
    if word in _EXPONENTS:
        low, high = given["min"], given["max"]
        if word == "inv_log_uniform":
            low, high = -high, -low
    elif word in _BETA:
        low, high = 0.0, 1.0
    else:
        low, high = (given["mu"] + side * _SPREAD * given["sigma"] for side in (-1, 1))
    log = word in _LOG_NORMAL or word in _EXPONENTS
    if log:
        low, high = (math.exp(min(end, 700)) for end in (low, high))
    low, high = _inside(name, low, high)
    whole_numbers = is_whole(name) if name in Settings.model_fields else False
    ends = (math.floor(low), math.ceil(high)) if whole_numbers else (float(f"{low:.4g}"), float(f"{high:.4g}"))
    step = {"q": value.get("q", 1)} if word.startswith("q_") or (log and whole_numbers) else {}
    even = "log_uniform_values" if log else "int_uniform" if whole_numbers and not step else "uniform"
    return {"distribution": f"q_{even}" if step else even, "min": ends[0], "max": ends[1], **step}


def _inside(name: str, low: float, high: float) -> tuple[float, float]:
    """A range cut to what a setting may be."""
    field = Settings.model_fields.get(name)
    for bound in field.metadata if field else ():
        if (least := getattr(bound, "ge", None)) is not None:
            low, high = max(low, least), max(high, least)
        if (least := getattr(bound, "gt", None)) is not None:
            low = low if low > least else least + max(high - least, 1) / 100
            high = max(high, low)
        if (most := getattr(bound, "le", None)) is not None:
            low, high = min(low, most), min(high, most)
    return low, high


def _flow(value: Any) -> str:
    """A value as a person writes it in YAML, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str | bool):
        return found(value).strip("'") if isinstance(value, str) else str(value).lower()
    return format_value(value)
