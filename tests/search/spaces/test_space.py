"""Space files: what they mean to the settings, and one line for each thing that can be wrong in them."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import cmd_tune
from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space import Space
from cmd_tune.search.spaces.space_file import find_space, load_space
from cmd_tune.search.study.early_stopping import EARLY_STOPPING
from cmd_tune.search.study.early_stopping.asha import Asha
from cmd_tune.search.study.methods import METHODS
from cmd_tune.settings import make_settings

QUICK = make_settings("quick", ("test", {"queue_size": 512, "topk": 64, "epochs": 30})).model_dump()

Load = Callable[..., Space]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a space file of the given keys, each written as YAML; None leaves a key out."""

    def write(**keys: str | None) -> Space:
        usual = {
            "method": "tpe",
            "metric": "{name: val/knn/fused, goal: maximize}",
            "parameters": "{topk: {min: 16, max: 64}}",
        }
        path = tmp_path / "mine.yaml"
        path.write_text("".join(f"{key}: {text}\n" for key, text in {**usual, **keys}.items() if text is not None))
        return load_space(path, METHODS, EARLY_STOPPING)

    return write


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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("90s", 90), ("1h1m1s", 3661), ("2h", 7200), ("45", 45), ("0.5", 0.5)],
)
def test_time(load: Load, text: str, seconds: float) -> None:
    assert load(budget=f"{{trials: 3, time: {text}}}").seconds == seconds


@pytest.mark.parametrize(
    ("name", "spec", "distribution"),
    [
        ("topk", "{min: 1, max: 9}", "int_uniform"),
        ("distill_weight", "{min: 0, max: 2}", "int_uniform"),
        ("distill_weight", "{min: 0, max: 2.0}", "uniform"),
        ("distill_weight", "{min: 0.5, max: 2}", "uniform"),
        ("learning_rate", "{min: 1e-4, max: 1e-2}", "uniform"),
        ("topk", "{values: [1]}", "categorical"),
        ("topk", "{distribution: categorical, values: [1, 2]}", "categorical"),
    ],
)
def test_distribution_inferred_as_by_wandb(load: Load, name: str, spec: str, distribution: str) -> None:
    assert load(parameters=f"{{{name}: {spec}}}").parameters[name].distribution == distribution


def test_constant_is_fixed_and_not_searched(load: Load) -> None:
    space = load(
        parameters="{topk: {min: 1, max: 9}, epochs: {distribution: constant, value: 3}, layers: {value: 1.0}}"
    )
    assert space.fixed == {"epochs": 3, "layers": 1}
    assert type(space.fixed["layers"]) is int
    assert list(space.parameters) == ["topk"]


def test_cells_in_the_order_written_without_those_that_break_a_constraint(load: Load) -> None:
    space = load(
        method="grid",
        parameters="{queue_size: {values: [8, 2]}, topk: {values: [2, 4]}, epochs: {value: 3}}",
        constraints="[topk <= queue_size]",
    )
    expected = [(8, 2), (8, 4), (2, 2)]
    cells = [{"queue_size": queue, "topk": topk} for queue, topk in expected]
    assert space.cells(QUICK) == cells


def test_constraints_see_searched_fixed_and_other_settings(load: Load) -> None:
    space = load(
        parameters="{topk: {min: 1, max: 64}, queue_size: {value: 100}}",
        constraints="[topk * 2 <= queue_size, topk <= epochs]",
    )
    assert space.allows({"topk": 30}, QUICK)
    assert not space.allows({"topk": 31}, QUICK)
    assert space.allows({"topk": 50}, {**QUICK, "epochs": 50})
    assert not space.allows({"topk": 51}, {**QUICK, "epochs": 60})


def test_what_settings_demand_holds_without_being_written(load: Load) -> None:
    space = load(method="grid", parameters="{queue_size: {values: [32, 64, 512]}}")
    assert space.cells(QUICK) == [{"queue_size": 64}, {"queue_size": 512}]  # topk is 64


def test_shipped_temperatures_span_table_1() -> None:
    space = load_space(find_space("temps.yaml"), METHODS, EARLY_STOPPING)
    teacher, student = space.parameters["teacher_temperature"], space.parameters["student_temperature"]
    for pair in ((0.05, 0.05), (0.1, 0.1), (0.01, 0.1), (0.01, 1.0), (0.02, 0.5), (0.05, 1.0)):
        assert (teacher.why_invalid(pair[0]), student.why_invalid(pair[1])) == ("", "")
    assert (space.trials, space.early_terminate) == (12, None)


def test_find_space_prefers_a_path_to_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(cmd_tune.__file__).parent.parent / "search_spaces" / "temps.yaml"
    assert find_space("temps") == find_space("temps.yaml") == find_space(str(shipped)) == shipped
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temps.yaml").touch()
    assert find_space("temps.yaml") == Path("temps.yaml")
    with pytest.raises(UsageError, match=r"^--space tepms.yaml: no such file.*did you mean 'temps'\?$"):
        find_space("tepms.yaml")


def one(spec: str, name: str = "topk") -> dict[str, str]:
    return {"parameters": f"{{{name}: {spec}}}"}


BAD: list[tuple[dict[str, str | None], str, str]] = [
    ({"methd": "tpe"}, "methd", "did you mean 'method'?"),
    ({"method": None}, "method", "is missing"),
    ({"method": "bayes"}, "method", "'bayes' is unknown, known: cells, grid, random, tpe"),
    ({"method": "rando"}, "method", "did you mean 'random'?"),
    ({"method": "[tpe]"}, "method", "['tpe'] is unknown"),
    ({"metric": None}, "metric", "is missing"),
    ({"metric": "val/knn/fused"}, "metric", "should be a mapping"),
    ({"metric": "{name: a}"}, "metric.goal", "is missing"),
    ({"metric": "{goal: maximize}"}, "metric.name", "is missing"),
    ({"metric": "{name: 3, goal: maximize}"}, "metric.name", "should be a name"),
    ({"metric": "{name: a, goal: maximise}"}, "metric.goal", "did you mean 'maximize'?"),
    ({"metric": "{name: a, gaol: maximize}"}, "metric.gaol", "did you mean 'goal'?"),
    ({"preset": "quik"}, "preset", "did you mean 'quick'?"),
    # parameters
    ({"parameters": None}, "parameters", "is missing"),
    ({"parameters": ""}, "parameters", "found nothing"),
    ({"parameters": "{}"}, "parameters", "there is nothing to search"),
    ({"parameters": "[topk]"}, "parameters", "should be a mapping"),
    (one("{value: 3}"), "parameters", "there is nothing to search"),
    (one("{min: 0.1, max: 0.2}", "teacher_temprature"), "parameters.teacher_temprature", "'teacher_temperature'?"),
    (one("{min: 0.1, max: 0.2}", "3"), "parameters.3", "unknown key"),
    (one("5"), "parameters.topk", "should be a mapping (value, values, or min and max); found 5"),
    (one("{}"), "parameters.topk", "give it value, values, or min and max"),
    (one("{mni: 1, max: 5}"), "parameters.topk.mni", "did you mean 'min'?"),
    (one("{min: 1}"), "parameters.topk.max", "is missing; uniform takes min and max"),
    (one("{distribution: constant}"), "parameters.topk.value", "is missing"),
    (one("{value: 1, values: [1]}"), "parameters.topk.values", "does not go with constant"),
    (one("{values: [1], min: 1}"), "parameters.topk.min", "does not go with categorical"),
    (one("{min: 1, max: 5, q: 2}"), "parameters.topk.q", "does not go with int_uniform"),
    (one("{values: []}"), "parameters.topk.values", "is empty"),
    (one("{values: 3}"), "parameters.topk.values", "should be a list"),
    (one("{values: [3, 3.0]}"), "parameters.topk.values[1]", "3 is listed twice"),
    (one("{values: [3, 2.5]}"), "parameters.topk.values[1]", "2.5 should be a valid integer"),
    (one("{values: [3, 0]}"), "parameters.topk.values[1]", "0 should be greater than or equal to 1"),
    (one("{values: [true]}"), "parameters.topk.values[0]", "True is a truth value"),
    (one("{values: [[joint, bnoe]]}", "modalities"), "parameters.modalities.values[0]", "did you mean 'bone'?"),
    (one("{values: [sgd, adam]}", "optimizer"), "parameters.optimizer.values[1]", "'adam' should be 'sgd' or 'adamw'"),
    (one("{min: 64, max: 16}"), "parameters.topk.min", "64 is above max, 16; swap them"),
    (one("{min: a, max: 16}"), "parameters.topk.min", "should be a finite number; found 'a'"),
    (one("{min: 1, max: .inf}"), "parameters.topk.max", "should be a finite number"),
    (one("{min: 1, max: .nan}"), "parameters.topk.max", "should be a finite number"),
    (one(f"{{min: 1, max: {10**400}}}"), "parameters.topk.max", "should be a finite number"),
    (one("{min: 0, max: 5}"), "parameters.topk.min", "0 should be greater than or equal to 1"),
    (one("{min: 0.5, max: 1.5}", "key_momentum"), "parameters.key_momentum.max", "less than or equal to 1"),
    (one("{min: 0.0, max: 1.0}", "teacher_temperature"), "parameters.teacher_temperature.min", "greater than 0"),
    (one("{value: 0}", "teacher_temperature"), "parameters.teacher_temperature.value", "greater than 0"),
    (
        one("{min: 1.0, max: 5.0}"),
        "parameters.topk",
        "takes whole numbers, not uniform; write distribution: int_uniform",
    ),
    (one("{min: 1, max: 2}", "optimizer"), "parameters.optimizer", "is not a number"),
    (
        one("{distribution: int_uniform, min: 0.5, max: 2}", "distill_weight"),
        "parameters.distill_weight.min",
        "not whole",
    ),
    (one("{distribution: unifrom, min: 1, max: 5}"), "parameters.topk.distribution", "did you mean 'uniform'?"),
    (one("{distribution: uniform, mu: 1}"), "parameters.topk.mu", "unknown key, known: distribution, max, min, q,"),
    (one("{distribution: beta, min: 1, max: 5}"), "parameters.topk.distribution", "known: categorical, constant"),
    (one("{distribution: [a], min: 1, max: 5}"), "parameters.topk.distribution", "['a'] is unknown"),
    (
        one("{distribution: log_uniform, min: -5, max: 0}", "learning_rate"),
        "parameters.learning_rate.distribution",
        "W&B's log_uniform takes exponents as min and max; write log_uniform_values",
    ),
    (
        one("{distribution: q_log_uniform, min: 0, max: 5}"),
        "parameters.topk.distribution",
        "write q_log_uniform_values",
    ),
    (
        one("{distribution: log_uniform_values, min: 0, max: 5}", "distill_weight"),
        "parameters.distill_weight.min",
        "0 has no logarithm",
    ),
    (one("{distribution: q_log_uniform_values, min: -8, max: 64}"), "parameters.topk.min", "-8 has no logarithm"),
    (one("{distribution: q_uniform, min: 1, max: 5, q: 0}"), "parameters.topk.q", "0 is not above 0"),
    (one("{distribution: q_uniform, min: 1, max: 5, q: -2}"), "parameters.topk.q", "-2 is not above 0"),
    (one("{distribution: q_uniform, min: 1, max: 5, q: 1.5}"), "parameters.topk.q", "1.5 is not whole"),
    (one("{distribution: q_uniform, min: 17, max: 31, q: 16}"), "parameters.topk.q", "no multiple in 17 to 31"),
    (
        one("{distribution: q_uniform, min: 0, max: 1, q: 1e-300}", "distill_weight"),
        "parameters.distill_weight.q",
        "too many",
    ),
    ({"settings": "{topk: 3}"}, "parameters.topk", "is in settings, too"),
    # the rest
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
    (
        {"method": "grid", "preset": "quick", "constraints": "[topk > queue_size / 2]", **one("{values: [3, 4]}")},
        "constraints",
        "no cell of the grid meets them",
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
        {"points_to_evaluate": "[{topk: 20}]", "settings": "{queue_size: 19}", "constraints": "[topk <= queue_size]"},
        "points_to_evaluate[0]",
        "breaks 'topk <= queue_size' with queue_size = 19, topk = 20",
    ),
    (
        {"points_to_evaluate": "[{topk: 40}]", "settings": "{epochs: 30}", "constraints": "[topk <= epochs]"},
        "points_to_evaluate[0]",
        "breaks 'topk <= epochs' with epochs = 30, topk = 40",
    ),
    (
        {
            "points_to_evaluate": "[{topk: 600}]",
            "preset": "quick",
            "settings": "{queue_size: 512}",
            **one("{min: 64, max: 1024}"),
        },
        "points_to_evaluate[0]",
        "topk 600 exceeds queue_size 512",
    ),
    ({"early_terminate": "{type: hyperband}"}, "early_terminate.type", "'hyperband' is unknown, known: asha"),
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
        one("{distribution: normal, mu: 1, sigma: 5}"),
        [
            "parameters.topk.mu: unknown key, known: distribution, max, min, q, value, values",
            "parameters.topk.sigma: unknown key, did you mean 'max'?",
            "parameters.topk.distribution: 'normal' is unknown, did you mean 'uniform'?",
        ],
    ),
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
            "early_terminate.rungs: unknown key, known: grace_period, reduction_factor, type",
            "early_terminate.type: is missing; write {type: asha, grace_period: epochs, reduction_factor: 3}",
        ],
    ),
    (
        {"early_terminate": "{type: ahsa, rungs: 3}"},
        [
            "early_terminate.rungs: unknown key, known: grace_period, reduction_factor, type",
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
            "method: is missing; write method, metric, cells, …",
            "seeds: should be a list of whole numbers, such as [0, 1, 2]; found 3",
        ],
    ),
    (
        {"seeds": "[3]", "title": "a", "parameters": "{topk: {min: 9, max: 8}}"},
        [
            "seeds: needs method: cells, not tpe; remove it, or change the method",
            "title: needs method: cells, not tpe; remove it, or change the method",
            "parameters.topk.min: 9 is above max, 8; swap them",
        ],
    ),
    (
        {"points_to_evaluate": "[{topk: 20}, {topk: 64}, {topk: 50}]", "constraints": "[topk < 30]"},
        [
            f"points_to_evaluate[{point}]: breaks 'topk < 30' with topk = {topk}; change the point or the constraint"
            for point, topk in ((1, 64), (2, 50))
        ],
    ),
]


@pytest.mark.parametrize(("keys", "lines"), ALL_AT_ONCE)
def test_all_mistakes_are_named_at_once(
    check_mistakes: Callable[..., None], load: Load, keys: dict[str, str | None], lines: list[str]
) -> None:
    check_mistakes(load, keys, lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"# nothing yet\n", "is empty"),
        (b"- tpe\n", "should be a mapping"),
        (b"tpe", "should be a mapping"),
        (b"method: tpe\nmetric: {name: a\nparameters: 3\n", "line 3: "),
        (b"method: tpe\nparameters:\n\ttopk: 3\n", "line 3: "),
        (b"method: tpe\nmetric: {name: a, goal: maximize}\nmethod: grid\n", "line 3: 'method' is written twice"),
        (
            b"method: tpe\nparameters:\n  topk: {min: 1, max: 2}\n  topk: {value: 2}\n",
            "line 4: 'topk' is written twice",
        ),
        (b"method: !!python/object:os.system {}\n", "line 1: could not determine a constructor"),
        (b"method: *tpe\n", "line 1: found undefined alias"),
        (b"{[1]: 2, {}: 3}\n", "line 1: "),
        (b"method: \xff\xfe\n", "is not YAML text"),
        (b"method: \x00\n", "is not YAML text"),
        (b"[" * 5000, "is not YAML text"),
    ],
)
def test_a_file_that_is_no_space_is_named_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_space(path, METHODS, EARLY_STOPPING)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml: cannot be read: No such file or directory$"):
        load_space(tmp_path / "gone.yaml", METHODS, EARLY_STOPPING)
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory$"):
        load_space(tmp_path, METHODS, EARLY_STOPPING)


def test_nested_aliases_do_not_fill_the_memory(load: Load) -> None:
    bomb = "[&a0 [1, 2]" + "".join(f", &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)) + "]"
    with pytest.raises(UsageError, match=r"method: .* is unknown, known: cells, grid, random, tpe$"):
        load(method=bomb)


def test_aliases_and_merge_keys_are_not_repetitions(load: Load) -> None:
    """`<<` lays one mapping under another, which is what YAML has it for."""
    space = load(
        parameters="""
  student_temperature: &range {distribution: log_uniform_values, min: 0.01, max: 1.0}
  teacher_temperature: {<<: *range, max: 0.2}"""
    )
    assert space.parameters["teacher_temperature"].high == 0.2
    assert space.parameters["teacher_temperature"].low == 0.01
