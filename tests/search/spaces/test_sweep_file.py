"""W&B's sweep files: each key of its reference is taken, passed over, or answered with what to write instead."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces import sweep_file
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.spaces.space_file import load_space
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.early_stopping.asha import Asha
from cmd_tune.search.study.early_stopping.hyperband import Hyperband
from cmd_tune.search.study.methods import METHODS

Load = Callable[..., Space]
PAGE = (Path(__file__).parents[3] / "docs/spaces.md").read_text(encoding="utf-8")

SWEEP = """
program: train.py
command: ["${env}", python, "${program}", "${args}"]
entity: me
project: skeletons
name: temperatures
description: Which temperatures suit us?
method: bayes
metric: {name: loss/total, goal: minimize, target: 0.1}
run_cap: 7
early_terminate: {type: hyperband, min_iter: 4, eta: 2, strict: true}
parameters:
  learning_rate: {distribution: inv_log_uniform_values, min: 1e-4, max: 1e-2}
  optimizer: {distribution: categorical, values: [sgd, adamw], probabilities: [0.5, 0.5]}
  topk: {distribution: int_uniform, min: 1, max: 9}
  weight_decay: {distribution: constant, value: 1e-4}
"""


def read(folder: Path, text: str) -> Space:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(path, METHODS, EARLY_STOPPING)


def test_a_sweep_file_runs_as_it_is(tmp_path: Path) -> None:
    space = read(tmp_path, SWEEP)
    assert (space.method, space.metric, space.maximize, space.trials) == ("tpe", "loss/total", False, 7)
    assert space.early_terminate == Asha(type="asha", grace_period=4, reduction_factor=2)
    assert space.texts == {
        "name": "temperatures",
        "description": "Which temperatures suit us?",
        "project": "skeletons",
    }
    rate = space.parameters["learning_rate"]  # log(1/x) is even just where log x is
    assert (rate.distribution, rate.low, rate.high) == ("log_uniform_values", 1e-4, 1e-2)
    assert space.parameters["optimizer"].choices == ("sgd", "adamw")
    assert (list(space.parameters), space.fixed) == (["learning_rate", "optimizer", "topk"], {"weight_decay": 1e-4})
    assert space.remarks == (
        "program, command, entity: of W&B, passed over",
        "method: bayes runs as tpe",
        "metric: target: of W&B, passed over; the budget ends a search",
        "early_terminate: hyperband runs as {type: asha, grace_period: 4, reduction_factor: 2}, in epochs",
    )


def test_a_space_file_has_no_remarks(load: Load) -> None:
    assert (load().remarks, load().texts) == ((), {})


@pytest.mark.parametrize(
    ("rule", "first", "factor"),
    [
        ("{type: hyperband, min_iter: 5, strict: false}", 5, 3),
        ("{type: hyperband, max_iter: 27, s: 2}", 3, 3),  # rungs at 27/3 and 27/9
        ("{type: hyperband, max_iter: 64, s: 3, eta: 4.0}", 1, 4),
    ],
)
def test_hyperband_stops_first_where_wandb_does(load: Load, rule: str, first: int, factor: int) -> None:
    assert load(early_terminate=rule).early_terminate == Asha(type="asha", grace_period=first, reduction_factor=factor)


def test_a_hyperband_of_words_that_are_ours_too_is_ours(load: Load) -> None:
    space = load(early_terminate="{type: hyperband, min_iter: 5, eta: 4}")
    assert space.early_terminate == Hyperband(type="hyperband", min_iter=5, eta=4)
    assert space.remarks == ()


# The values with a probability of 95 % in W&B, or all of them, within what the setting may be.
ANSWERS: list[tuple[str, dict[str, Any], float, float]] = [
    ("distill_weight", {"distribution": "normal", "mu": 1.5, "sigma": 0.5}, 0.5, 2.5),
    ("distill_weight", {"distribution": "normal"}, 0, 2),  # mu 0, sigma 1, and no weight below 0
    ("distill_weight", {"distribution": "q_normal", "mu": 2, "sigma": 1, "q": 0.5}, 0, 4),
    ("learning_rate", {"distribution": "log_normal", "mu": -6, "sigma": 1}, math.exp(-8), math.exp(-4)),
    ("queue_size", {"distribution": "q_log_normal", "mu": 5, "sigma": 0.5, "q": 8}, math.exp(4), math.exp(6)),
    ("learning_rate", {"distribution": "log_uniform", "min": -9, "max": -5}, math.exp(-9), math.exp(-5)),
    ("learning_rate", {"distribution": "inv_log_uniform", "min": 5, "max": 9}, math.exp(-9), math.exp(-5)),
    ("queue_size", {"distribution": "q_log_uniform", "min": 4, "max": 7, "q": 16}, math.exp(4), math.exp(7)),
    ("topk", {"distribution": "normal", "mu": 20, "sigma": 4}, 12, 28),
    ("topk", {"distribution": "log_uniform", "min": 2, "max": 4}, math.exp(2), math.exp(4)),
    ("key_momentum", {"distribution": "normal", "mu": 0.99, "sigma": 0.02}, 0.95, 1),
    ("corrupted_share", {"distribution": "beta", "a": 2, "b": 2}, 0, 1),
    ("corrupted_share", {"distribution": "q_beta", "q": 0.25}, 0, 1),
]


@pytest.mark.parametrize(("name", "spec", "low", "high"), ANSWERS)
def test_the_line_to_write_instead_is_read(
    tmp_path: Path, name: str, spec: dict[str, Any], low: float, high: float
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, yaml.safe_dump({"parameters": {name: spec}}))
    (line,) = caught.value.lines
    assert f"mine.yaml: parameters.{name}.distribution: W&B's {spec['distribution']} " in line
    parameter = read(tmp_path, f"parameters: {{{line.partition('; write ')[2]}}}").parameters[name]
    near = pytest.approx([low, high], rel=1e-3, abs=1.0 if name in ("topk", "queue_size") else 1e-9)
    assert [parameter.low, parameter.high] == near
    assert parameter.log == ("log" in spec["distribution"])
    assert parameter.q == (spec.get("q", 1) if name in ("topk", "queue_size") else spec.get("q", 0))


def test_every_answered_distribution_is_tried() -> None:
    assert {spec["distribution"] for _, spec, _, _ in ANSWERS} == {*sweep_file.ANSWERED_DISTRIBUTIONS}


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"parameters": "{topk: {values: [4, 8], probabilities: [0.1, 0.9]}}"},
            "parameters.topk.probabilities: here every value is as likely as the others; write topk: {values: [4, 8]}",
        ),
        (
            {"parameters": "{optim: {parameters: {learning_rate: {min: 0.1, max: 0.2}}}}"},
            "parameters.optim: W&B's nested parameters: no setting lies in another; write, under parameters itself, "
            "learning_rate: {min: 0.1, max: 0.2}",
        ),
        (
            {"parameters": "{topk: {parameters: {learning_rate: {min: 0.1, max: 0.2}, layers: {value: 3}}}}"},
            "parameters.topk: W&B's nested parameters: no setting lies in another; write, under parameters itself, "
            "learning_rate: {min: 0.1, max: 0.2}; layers: {value: 3}",
        ),
        ({"name": "[a]"}, "name: should be a name; found ['a']"),
        ({"run_cap": "0"}, "run_cap: should be a whole number of 1 or more; found 0"),
        ({"run_cap": "3", "budget": "{trials: 4}"}, "run_cap: is budget.trials, which is there, too; remove one"),
        ({"method": "custom"}, "method: W&B's custom runs a scheduler of one's own; write method: tpe"),
        (
            {"scheduler": "{engine: ax}"},
            "scheduler: W&B's scheduler is code of one's own; remove it, and write method: tpe",
        ),
        (
            {"early_terminate": "{type: hyperband, strict: true}"},
            "early_terminate: has no min_iter, nor max_iter and s; "
            "write early_terminate: {type: asha, grace_period: 20, reduction_factor: 3}",
        ),
        (
            {"early_terminate": "{type: hyperband, min_iter: 4, eta: 1.5, strict: true}"},
            "early_terminate.eta: 1.5 is not whole; "
            "write early_terminate: {type: asha, grace_period: 4, reduction_factor: 3}",
        ),
        (
            {"early_terminate": "{type: hyperband, min_iter: 0, strict: true}"},
            "early_terminate.min_iter: should be a whole number of 1 or more; found 0",
        ),
    ],
)
def test_what_cannot_be_taken_is_answered(load: Load, keys: dict[str, str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(**keys)
    (said,) = caught.value.lines
    assert said.partition("mine.yaml: ")[2].startswith(line)


def test_metrics_are_taken_without_what_is_wandbs_alone(load: Load) -> None:
    space = load(metric=None, metrics="[{name: val/knn/fused, goal: maximize, target: 90}, {name: loss/total}]")
    assert [(metric.name, metric.maximize) for metric in space.metrics] == [
        ("val/knn/fused", True),
        ("loss/total", False),
    ]
    assert space.remarks == ("metrics[0]: target: of W&B, passed over; the budget ends a search",)


def test_answers_and_all_other_mistakes_come_at_once(check_mistakes: Callable[..., None], load: Load) -> None:
    check_mistakes(
        load,
        {
            "run_cap": "many",
            "method": "custom",
            "preset": "quik",
            "parameters": "{topk: {distribution: normal, mu: a}}",
        },
        [
            "method: W&B's custom runs a scheduler of one's own; write method: tpe",
            "run_cap: should be a whole number of 1 or more; found 'many'",
            "preset: 'quik' is unknown, did you mean 'quick'?",
            "parameters.topk.mu: should be a finite number; found 'a'",
        ],
    )


# W&B's reference, "Sweep configuration options", and the schema of its package `sweeps`.
REFERENCE = {
    "": "program entity project description name method metric parameters early_terminate command run_cap "
    "apiVersion kind controller job image_uri metrics scheduler",
    "metric": "name goal target impute impute_while_running",
    "method": "grid random bayes custom",
    "early_terminate": "type min_iter max_iter s eta strict",
    "parameters": "values value distribution probabilities min max mu sigma q parameters a b",
    "distribution": "constant categorical categorical_w_probabilities int_uniform uniform q_uniform log_uniform "
    "log_uniform_values q_log_uniform q_log_uniform_values inv_log_uniform inv_log_uniform_values normal q_normal "
    "log_normal q_log_normal beta q_beta",
}


def test_each_key_of_wandb_is_a_row_of_the_page() -> None:
    section = PAGE.partition("\n## W&B sweep files\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (taken|passed over|answered)", section, re.MULTILINE)
    listed = {key: fate for cell, fate in rows for key in re.findall(r"`([^`]+)`", cell)}
    keys = {f"{place}.{key}".lstrip(".") for place, names in REFERENCE.items() for key in names.split()}
    assert listed.keys() == keys
    assert {key for key, fate in listed.items() if fate == "passed over"} == {
        *sweep_file.PASSED_OVER,
        *(f"metric.{key}" for key in sweep_file.METRIC_PASSED_OVER),
        "early_terminate.strict",
    }
    assert {key.removeprefix("distribution.") for key, fate in listed.items() if fate == "answered"} == {
        *sweep_file.ANSWERED,
        *sweep_file.ANSWERED_DISTRIBUTIONS,
        "method.custom",
        *(f"parameters.{key}" for key in ("probabilities", "mu", "sigma", "parameters", "a", "b")),
    }
