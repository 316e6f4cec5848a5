"""The keys of a space file: what they mean to a search, and one line for each thing that can be wrong in them."""

import pickle
from collections.abc import Callable

import pytest

from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space import Space, TrialSource
from cmd_tune.search.study.early_stopping.asha import Asha

Load = Callable[..., Space]


def test_a_file_with_everything(load: Load) -> None:
    space = load(
        metric="{name: loss/cmd, goal: minimize}",
        parameters="""
  topk: {min: 16, max: 64}
  learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  queue_size: {value: 512}
  optimizer: {values: [sgd, adamw]}""",
        constraints="[topk <= queue_size]",
        points_to_evaluate="[{topk: 32, learning_rate: 0.001, optimizer: sgd}]",
        early_terminate="{type: asha, grace_period: 4}",
        budget="{trials: 7, time: 1h30m}",
        settings="{epochs: 12}",
        preset="quick",
    )
    assert (space.method, space.metric, space.maximize, space.preset) == ("tpe", "loss/cmd", False, "quick")
    assert list(space.parameters) == ["topk", "learning_rate", "optimizer"]
    assert space.fixed == {"queue_size": 512}
    assert [constraint.text for constraint in space.constraints] == ["topk <= queue_size"]
    assert space.start_points == ({"topk": 32, "learning_rate": 0.001, "optimizer": "sgd"},)
    assert space.early_terminate == Asha(type="asha", grace_period=4, reduction_factor=3)
    assert (space.trials, space.seconds, space.settings) == (7, 5400, {"epochs": 12})
    assert space.parameters == {
        "topk": Parameter("topk", "int_uniform", 16, 64, 1),
        "learning_rate": Parameter("learning_rate", "log_uniform_values", 1e-4, 1e-2),
        "optimizer": Parameter("optimizer", "categorical", choices=("sgd", "adamw")),
    }
    assert pickle.loads(pickle.dumps(space)) == space  # noqa: S301


def test_what_is_left_out(load: Load) -> None:
    space = load()
    assert (space.trials, space.seconds, space.early_terminate, space.preset) == (20, None, None, None)
    grid = load(method="grid", parameters="{topk: {values: [4, 8]}}")
    assert grid.trials is None
    assert load(early_terminate="{type: asha}").early_terminate == Asha(
        type="asha", grace_period=10, reduction_factor=3
    )


def test_two_parameters_alone_are_a_search(load: Load) -> None:
    space = load(method=None, metric=None, parameters="{topk: {min: 16, max: 64}, layers: {values: [1, 2]}}")
    assert (space.method, space.metric, space.maximize) == ("tpe", "val/knn/fused", True)
    assert (space.source, space.trials, space.seconds) == (TrialSource.DRAWN, 20, None)


def test_cells_alone_are_a_table(load_table: Load) -> None:
    """A table holds nothing out, so that it is shown by the test set."""
    table = load_table(method=None, metric=None)
    assert (table.method, table.metric, table.maximize) == ("cells", "test/knn/fused", True)


@pytest.mark.parametrize(
    ("metric", "maximize"),
    [
        ("{name: val/linear/joint}", True),
        ("{name: loss/total}", False),
        ("{name: loss/cmd}", False),
        ("{name: cost/parameters}", False),
        ("{name: loss/cmd, goal: maximize}", True),
        ("{name: val/knn/fused, goal: minimize}", False),
    ],
)
def test_losses_fall_and_accuracies_rise_unless_the_goal_is_written(load: Load, metric: str, maximize: bool) -> None:
    assert load(metric=metric).maximize is maximize


TWO = "[{name: val/knn/fused}, {name: cost/seconds}]"
BESIDE = "stands beside metric; remove one of them: the first of metrics ranks as metric does"


def test_the_first_of_several_metrics_ranks(load: Load) -> None:
    space = load(metric=None, metrics="[{name: val/knn/fused}, {name: cost/seconds}, {name: loss/cmd, goal: maximize}]")
    assert (space.metric, space.maximize) == ("val/knn/fused", True)
    names = [(metric.name, metric.maximize) for metric in space.more_metrics]
    assert names == [("cost/seconds", False), ("loss/cmd", True)]
    assert [metric.name for metric in space.metrics] == ["val/knn/fused", "cost/seconds", "loss/cmd"]


def test_nothing_is_stopped_early_where_several_metrics_judge(load: Load) -> None:
    """Optuna knows no values of a trial before its end, if there are several."""
    assert load().default_stopping
    assert not load(metric=None, metrics=TWO).default_stopping
    assert load(metric=None, metrics=TWO, early_terminate="none").early_terminate is None


def test_metrics_beside_a_metric_hide_no_other_mistake(check_mistakes: Callable[..., None], load: Load) -> None:
    check_mistakes(
        load,
        {"metrics": TWO, "early_terminate": "{type: asha}"},
        [
            f"metrics: {BESIDE}",
            "early_terminate: does not go with metrics: what is worse by one may be better by another; remove it",
        ],
    )


@pytest.mark.parametrize("method", ["auto", "tpe", "gp", "random", "qmc", "grid"])
def test_methods_that_search_by_several_metrics(load: Load, method: str) -> None:
    assert load(method=method, metric=None, metrics=TWO, parameters="{topk: {values: [4, 8]}}").more_metrics


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("90s", 90), ("1h1m1s", 3661), ("2h", 7200), ("45", 45), ("0.5", 0.5)],
)
def test_time(load: Load, text: str, seconds: float) -> None:
    assert load(budget=f"{{trials: 3, time: {text}}}").seconds == seconds


def test_constant_is_fixed_and_not_searched(load: Load) -> None:
    space = load(
        parameters="{topk: {min: 1, max: 9}, epochs: {distribution: constant, value: 3}, layers: {value: 1.0}}"
    )
    assert space.fixed == {"epochs": 3, "layers": 1}
    assert type(space.fixed["layers"]) is int
    assert list(space.parameters) == ["topk"]


def one(spec: str, name: str = "topk") -> dict[str, str]:
    return {"parameters": f"{{{name}: {spec}}}"}


BAD: list[tuple[dict[str, str | None], str, str]] = [
    ({"methd": "tpe"}, "methd", "did you mean 'method'?"),
    ({"method": ""}, "method", "nothing is unknown, known: auto, cells, cmaes, gp, grid, qmc, random, tpe"),
    ({"method": "bays"}, "method", "'bays' is unknown, known: auto, cells, cmaes, gp, grid, qmc, random, tpe"),
    ({"method": "rando"}, "method", "did you mean 'random'?"),
    ({"method": "[tpe]"}, "method", "['tpe'] is unknown"),
    ({"metric": ""}, "metric", "should be a mapping"),
    ({"metric": "val/knn/fused"}, "metric", "should be a mapping"),
    ({"metric": "{name: a, goal: }"}, "metric.goal", "nothing is unknown"),
    ({"metrics": TWO}, "metrics", BESIDE),
    ({"metric": None, "metrics": ""}, "metrics", "should be a list of metrics such as {name: val/knn/fused"),
    ({"metric": None, "metrics": "[]"}, "metrics", "lists 0; write two or three"),
    ({"metric": None, "metrics": "[{name: loss/total}]"}, "metrics", "lists 1; write two or three"),
    ({"metric": None, "metrics": "[a]"}, "metrics[0]", "should be a mapping"),
    ({"metric": None, "metrics": "[{name: a}, {name: b}, {name: c}, {name: d}]"}, "metrics", "lists 4; write two or"),
    ({"metric": None, "metrics": "[{name: a}, {name: b, goal: up}]"}, "metrics[1].goal", "'up' is unknown"),
    ({"metric": None, "metrics": "[{name: a}, {name: a}]"}, "metrics[1].name", "a is listed twice; remove one"),
    ({"method": "cmaes", "metric": None, "metrics": TWO}, "metrics", "method cmaes searches by one; write metric, or"),
    (
        {"metric": None, "metrics": TWO, "early_terminate": "{type: asha}"},
        "early_terminate",
        "does not go with metrics: what is worse by one may be better by another; remove it",
    ),
    ({"metric": "{goal: maximize}"}, "metric.name", "is missing"),
    ({"metric": "{name: 3, goal: maximize}"}, "metric.name", "should be a name"),
    ({"metric": "{name: a, goal: maximise}"}, "metric.goal", "did you mean 'maximize'?"),
    ({"metric": "{name: a, gaol: maximize}"}, "metric.gaol", "did you mean 'goal'?"),
    ({"preset": "quik"}, "preset", "did you mean 'quick'?"),
    ({"parameters": None}, "parameters", "is missing"),
    ({"parameters": ""}, "parameters", "found nothing"),
    ({"parameters": "{}"}, "parameters", "there is nothing to search"),
    ({"parameters": "[topk]"}, "parameters", "should be a mapping"),
    (one("{value: 3}"), "parameters", "there is nothing to search"),
    (one("{min: 0.1, max: 0.2}", "teacher_temprature"), "parameters.teacher_temprature", "'teacher_temperature'?"),
    (one("{min: 0.1, max: 0.2}", "3"), "parameters.3", "unknown key"),
    ({"settings": "{topk: 3}"}, "parameters.topk", "is in settings, too"),
    ({"settings": "{epohcs: 3}"}, "settings.epohcs", "did you mean 'epochs'?"),
    ({"settings": "{epochs: 0}"}, "settings.epochs", "0 should be greater than or equal to 1"),
    ({"settings": "[epochs]"}, "settings", "should be a mapping"),
    ({"method": "grid"}, "parameters.topk", "a grid takes value or values, not a range"),
    (
        {"method": "grid", "points_to_evaluate": "[{topk: 3}]", **one("{values: [3]}")},
        "points_to_evaluate",
        "a grid runs every cell",
    ),
    (
        {
            "method": "grid",
            "parameters": f"{{topk: {{values: {list(range(1, 400))}}}, epochs: {{values: {list(range(1, 400))}}}}}",
        },
        "parameters",
        "more than 100000 cells",
    ),
    ({"constraints": "topk <= queue_size"}, "constraints", "should be a list of expressions"),
    (
        {"constraints": "[topk <= quue_size]"},
        "constraints[0]",
        "'topk <= quue_size': unknown setting 'quue_size', did you mean 'queue_size'?",
    ),
    ({"constraints": "[topk > 1, topk]"}, "constraints[1]", "'topk': is not true or false"),
    ({"constraints": "[3]"}, "constraints[0]", "should be an expression"),
    ({"points_to_evaluate": "{topk: 20}"}, "points_to_evaluate", "should be a list"),
    ({"points_to_evaluate": "[20]"}, "points_to_evaluate[0]", "should be a mapping"),
    ({"points_to_evaluate": "[{topk: 20}, {topk: 65}]"}, "points_to_evaluate[1].topk", "65 lies outside 16 to 64"),
    ({"points_to_evaluate": "[{topk: 0}]"}, "points_to_evaluate[0].topk", "0 should be greater"),
    ({"points_to_evaluate": "[{}]"}, "points_to_evaluate[0]", "lacks topk"),
    ({"points_to_evaluate": "[{tpok: 20}]"}, "points_to_evaluate[0].tpok", "did you mean 'topk'?"),
    (
        {"points_to_evaluate": "[{topk: 4}]", **one("{values: [3, 5]}")},
        "points_to_evaluate[0].topk",
        "4 is none of 3, 5",
    ),
    (
        {"points_to_evaluate": "[{topk: 20}]", **one("{distribution: q_uniform, min: 16, max: 64, q: 16}")},
        "points_to_evaluate[0].topk",
        "20 is no multiple of 16",
    ),
    (
        {"early_terminate": "{type: envelope}"},
        "early_terminate.type",
        "'envelope' is unknown, known: asha, hyperband, median",
    ),
    ({"early_terminate": "{grace_period: 3}"}, "early_terminate.type", "is missing"),
    ({"early_terminate": "{type: asha, min_iter: 3}"}, "early_terminate.min_iter", "unknown key"),
    (
        {"early_terminate": "{type: asha, grace_perod: 3}"},
        "early_terminate.grace_perod",
        "did you mean 'grace_period'?",
    ),
    ({"early_terminate": "{type: asha, grace_period: 0}"}, "early_terminate.grace_period", "1 or more; found 0"),
    (
        {"early_terminate": "{type: asha, reduction_factor: 1}"},
        "early_terminate.reduction_factor",
        "2 or more; found 1",
    ),
    ({"budget": "20"}, "budget", "should be a mapping"),
    ({"budget": "{}"}, "budget", "is empty; write trials, time or both"),
    ({"budget": "{trails: 5}"}, "budget.trails", "did you mean 'trials'?"),
    ({"budget": "{trials: 0}"}, "budget.trials", "whole number of 1 or more; found 0"),
    ({"budget": "{trials: true}"}, "budget.trials", "whole number of 1 or more; found True"),
    ({"budget": "{trials: 5, time: 5 minutes}"}, "budget.time", "write 5m, 1h30m, 90s or a number of seconds"),
    ({"budget": "{trials: 5, time: 30m1h}"}, "budget.time", "'30m1h' is not a duration"),
    ({"budget": "{trials: 5, time: 0}"}, "budget.time", "0 is not a duration"),
    ({"budget": "{trials: 5, time: ''}"}, "budget.time", "'' is not a duration"),
    ({'"a\\nb\\u2028c"': "3"}, "a b c", "unknown key"),
    ({"preset": '"qui\\nck"'}, "preset", "is unknown"),
]


@pytest.mark.parametrize(("keys", "place", "said"), BAD)
def test_each_mistake_is_named_in_one_line(
    check_mistake: Callable[..., None], load: Load, keys: dict[str, str | None], place: str, said: str
) -> None:
    check_mistake(load, keys, place, said)


ALL_AT_ONCE = [
    (
        {
            "method": "tpee",
            "metric": "{name: 3, goal: maximise}",
            "parameters": "{topk: {min: 0, max: a}, layers: {values: [0, 1.5, 1]}, epohcs: {value: 1}}",
            "constraints": "[topk < 3, topk, epohcs > 2]",
            "points_to_evaluate": "{topk: 20}",
            "early_terminate": "{type: asha, grace_period: 0, reduction_factor: 1, rungs: 3}",
            "budget": "{trials: 0, time: soon}",
            "settings": "{seed: -1, optimizer: sdg, hidden: 3}",
            "preset": "quik",
            "prest": "quick",
        },
        [
            "prest: unknown key, did you mean 'preset'?",
            "method: 'tpee' is unknown, did you mean 'tpe'?",
            "metric.name: should be a name; found 3",
            "metric.goal: 'maximise' is unknown, did you mean 'maximize'?",
            "preset: 'quik' is unknown, did you mean 'quick'?",
            "settings.seed: -1 should be greater than or equal to 0",
            "settings.optimizer: 'sdg' should be 'sgd' or 'adamw'",
            "settings.hidden: unknown key, did you mean 'hidden_size'?",
            "budget.trials: should be a whole number of 1 or more; found 0",
            "budget.time: 'soon' is not a duration; write 5m, 1h30m, 90s or a number of seconds",
            "parameters.topk.max: should be a finite number; found 'a'",
            "parameters.layers.values[0]: 0 should be greater than or equal to 1",
            "parameters.layers.values[1]: 1.5 should be a valid integer, got a number with a fractional part",
            "parameters.epohcs: unknown key, did you mean 'epochs'?",
            "constraints[1]: 'topk': is not true or false; compare it with something, such as 'topk <= queue_size'",
            "constraints[2]: 'epohcs > 2': unknown setting 'epohcs', did you mean 'epochs'?",
            "points_to_evaluate: should be a list of mappings, one a trial; found {'topk': 20}",
            "early_terminate.rungs: unknown key, known: grace_period, reduction_factor, type",
            "early_terminate.grace_period: should be a whole number of 1 or more; found 0",
            "early_terminate.reduction_factor: should be a whole number of 2 or more; found 1",
        ],
    ),
    ({"early_terminate": "{typ: asha}"}, ["early_terminate.typ: unknown key, did you mean 'type'?"]),
    (
        {"early_terminate": "{rungs: 3, grace_period: 4}"},
        [
            "early_terminate.rungs: unknown key, known: chance, eta, grace_period, max_iter, min_iter, p_threshold, "
            "reduction_factor, startup_seeds, startup_trials, type",
            "early_terminate.type: is missing; write {type: asha, grace_period: epochs, reduction_factor: 3}",
        ],
    ),
    (
        {"early_terminate": "{type: ahsa, rungs: 3}"},
        [
            "early_terminate.rungs: unknown key, known: chance, eta, grace_period, max_iter, min_iter, p_threshold, "
            "reduction_factor, startup_seeds, startup_trials, type",
            "early_terminate.type: 'ahsa' is unknown, did you mean 'asha'?",
        ],
    ),
    (
        {"points_to_evaluate": "[{topk: 0}, {topk: 65}, {}, {topk: 20}, {tpok: 3}]"},
        [
            "points_to_evaluate[0].topk: 0 should be greater than or equal to 1",
            "points_to_evaluate[1].topk: 65 lies outside 16 to 64; change the point or the parameter",
            "points_to_evaluate[2]: lacks topk; a start point gives every searched parameter a value",
            "points_to_evaluate[4].tpok: unknown key, did you mean 'topk'?",
        ],
    ),
    (
        {"method": None, "cells": "[{topk: 3}]", "parameters": "{topk: 4}", "seeds": "3"},
        [
            "parameters: does not go with method cells, whose cells all run to their end; remove it",
            "seeds: should be a list of whole numbers, such as [0, 1, 2]; found 3",
        ],
    ),
    (
        {"seeds": "[3]", "title": "a", "parameters": "{topk: {min: 9, max: 8}}"},
        [
            "title: needs method: cells, not tpe; remove it, or change the method",
            "parameters.topk.min: 9 is above max, 8; swap them",
            "seeds: lists seeds, which needs method: cells; write how many runs a trial has, such as 3",
        ],
    ),
]


@pytest.mark.parametrize(("keys", "lines"), ALL_AT_ONCE)
def test_all_mistakes_are_named_at_once(
    check_mistakes: Callable[..., None], load: Load, keys: dict[str, str | None], lines: list[str]
) -> None:
    check_mistakes(load, keys, lines)
