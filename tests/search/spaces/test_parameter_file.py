"""A parameter of a space file: which distribution is meant, and one line for each thing that can be wrong in it."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from cmd_tune.mistakes import refusal
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.parameter_file import read_parameter
from cmd_tune.search.spaces.space import Space

Load = Callable[..., Space]


def read(name, **spec):
    return read_parameter(name, spec)


def test_what_a_file_says():
    assert read("topk", min=4, max=8) == Parameter("topk", "int_uniform", 4, 8, 1)
    assert read("shear_range", min=0.5, max=1) == Parameter("shear_range", "uniform", 0.5, 1.0, 0)
    assert read("seed", value=3) == Parameter("seed", "constant", choices=(3,))
    assert read("modalities", values=[["joint"], ["bone"]]).choices == (["joint"], ["bone"])


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("topk", {"values": [4, 5, 4]}, "values[2]: 4 is listed twice; remove one"),
        ("learning_rate", {"min": 2, "max": 1}, "min: 2 is above max, 1; swap them"),
        (
            "learning_rate",
            {"distribution": "log_uniform_values", "min": 0, "max": 1},
            "min: 0 has no logarithm; log_uniform_values needs a min above 0",
        ),
        (
            "distill_weight",
            {"distribution": "q_uniform", "min": 0.25, "max": 0.28, "q": 0.1},
            "q: 0.1 has no multiple in 0.25 to 0.28; change q or the range",
        ),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(name, spec, message):
    with pytest.raises(ValidationError) as caught:
        read(name, **spec)
    assert str(refusal("mine.yaml", caught.value)) == f"mine.yaml: {message}"


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


def one(spec: str, name: str = "topk") -> dict[str, str]:
    return {"parameters": f"{{{name}: {spec}}}"}


BAD: list[tuple[dict[str, str | None], str, str]] = [
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
    (
        one("{distribution: uniform, mu: 1}"),
        "parameters.topk.mu",
        "unknown key, known: distribution, max, min, prior, q,",
    ),
    (one("{distribution: gamma, min: 1, max: 5}"), "parameters.topk.distribution", "known: categorical, constant"),
    (one("{distribution: [a], min: 1, max: 5}"), "parameters.topk.distribution", "['a'] is unknown"),
    (
        one("{distribution: log_uniform, min: -5, max: 0}", "learning_rate"),
        "parameters.learning_rate.distribution",
        "W&B's log_uniform takes exponents as min and max; write learning_rate: {distribution: log_uniform_values, ",
    ),
    (
        one("{distribution: q_log_uniform, min: 0, max: 5}"),
        "parameters.topk.distribution",
        "write topk: {distribution: q_log_uniform_values, min: 1, max: 149, q: 1}",
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
]


@pytest.mark.parametrize(("keys", "place", "said"), BAD)
def test_each_mistake_is_named_in_one_line(
    check_mistake: Callable[..., None], load: Load, keys: dict[str, str | None], place: str, said: str
) -> None:
    check_mistake(load, keys, place, said)


def test_all_mistakes_are_named_at_once(check_mistakes: Callable[..., None], load: Load) -> None:
    check_mistakes(
        load,
        one("{distribution: gamma, mu: 1, sigma: 5}"),
        [
            "parameters.topk.mu: unknown key, known: distribution, max, min, prior, q, value, values, when",
            "parameters.topk.sigma: unknown key, did you mean 'max'?",
            "parameters.topk.distribution: 'gamma' is unknown, known: categorical, constant, int_uniform, "
            "log_uniform_values, q_log_uniform_values, q_uniform, uniform",
        ],
    )
