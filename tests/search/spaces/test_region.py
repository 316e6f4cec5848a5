"""What may still be tried: all of it, once, in the shares that rejection gives, and surely nothing where nothing is."""

from itertools import product
from math import log
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.region import RULED
from cmd_tune.settings import Settings, make_settings

QUICK = make_settings("quick").model_dump()


@pytest.fixture
def region(make_space):
    """The region of these parameters and constraints under the quick preset."""

    def make(parameters, *constraints, seed="0"):
        space = make_space(parameters=parameters, constraints=list(constraints), points_to_evaluate=None)
        return space.region(QUICK, seed)

    return make


def drawn(region, most=1000):
    """Draws until there is nothing left, or `most`; no configuration comes twice."""
    seen = []
    while len(seen) < most and (values := region.draw(lambda values: values in seen)) is not None:
        seen.append(values)
    return seen


def uniform(low, high):
    return {"distribution": "uniform", "min": low, "max": high}


def log_uniform(low, high):
    return {"distribution": "log_uniform_values", "min": low, "max": high}


FINITE = {
    "choices": ({"key_momentum": {"values": [0.99, 0.9, 0.97]}, "layers": {"values": [1, 2, 3]}}, [], 9),
    "stepped": (
        {
            "queue_size": {"distribution": "q_uniform", "min": 40, "max": 100, "q": 20},
            "topk": {"distribution": "q_log_uniform_values", "min": 10, "max": 70, "q": 10},
        },
        ["topk <= queue_size"],
        sum(topk <= queue for queue, topk in product((40, 60, 80, 100), range(10, 80, 10))),
    ),
    "words and lists": (
        {
            "objective": {"values": ["base", "mcl", "cmd"]},
            "stages": {"values": ["one", "two"]},
            "modalities": {"values": [["joint"], ["joint", "bone"]]},
        },
        ["objective != 'mcl' or stages == 'two'"],
        5,  # base in one stage, with either; mcl in two, cmd in one or two, between two modalities
    ),
    "one of a hundred million": (
        {"queue_size": {"min": 1, "max": 10000}, "topk": {"min": 1, "max": 10000}},
        ["topk + queue_size == 20000"],
        1,
    ),
    "a line through whole numbers": (
        {"queue_size": {"min": 1, "max": 1000}, "topk": {"min": 1, "max": 60}},
        ["3 * queue_size == 5 * topk"],
        20,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FINITE)
def test_a_finite_space_is_drawn_whole(region, case):
    parameters, constraints, count = FINITE[case]
    whole = region(parameters, *constraints)
    assert len(drawn(whole)) == count
    assert whole.exhausted


def test_draws_are_even_over_what_is_allowed(region):
    triangle = region(
        {"learning_rate": uniform(0.001, 1.0), "weight_decay": uniform(0.0, 1.0)}, "learning_rate + weight_decay < 0.1"
    )
    points = drawn(triangle, 1500)
    # The mean of a triangle is a third of its sides, with a deviation of 0.0006 over so many draws.
    assert mean(p["weight_decay"] for p in points) == pytest.approx(0.099 / 3, abs=0.002)
    assert mean(p["learning_rate"] for p in points) == pytest.approx(0.001 + 0.099 / 3, abs=0.002)


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (log_uniform(1, 400), 1, 100),
        # As Optuna has whole numbers: each stands for what is rounded to it.
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 400, "q": 1}, 0.5, 100.5),
    ],
)
def test_draws_of_a_log_range_are_even_on_a_log_scale(region, spec, low, high):
    parameters = {"queue_size": {"value": 400}, "distill_weight": spec, "learning_rate": uniform(0.001, 1.0)}
    points = drawn(region(parameters, "distill_weight <= 100"), 1000)
    assert mean(log(p["distill_weight"]) for p in points) == pytest.approx((log(low) + log(high)) / 2, abs=0.15)


@pytest.mark.parametrize(
    ("parameters", "constraints"),
    [
        ({"learning_rate": uniform(1e-4, 1), "weight_decay": uniform(0, 1)}, ["learning_rate * weight_decay > 0.99"]),
        ({"learning_rate": log_uniform(1e-9, 1), "shear_range": uniform(0, 1)}, ["shear_range < 1e-7"]),
        ({"teacher_temperature": uniform(0.1, 1), "student_temperature": uniform(0.1, 1), "layers": {"values": [1, 2]}},
         ["abs(student_temperature - 2 * teacher_temperature) < 1e-4", "layers == 2"]),
        ({"queue_size": {"min": 1, "max": 16384}, "topk": {"min": 1, "max": 8192}, "learning_rate": uniform(1e-4, 1)},
         ["topk == queue_size", "learning_rate > 0.9"]),
    ],
    ids=["corner", "edge", "band", "mixed"],
)  # fmt: skip
def test_what_is_narrow_is_found(region, parameters, constraints):
    narrow = region(parameters, *constraints)
    assert len(drawn(narrow, 20)) == 20
    assert not narrow.exhausted


@pytest.mark.parametrize(
    ("parameters", "constraints"),
    [
        ({"learning_rate": uniform(0.001, 0.01), "weight_decay": uniform(0, 0.001)}, ["weight_decay > learning_rate"]),
        ({"queue_size": {"min": 1, "max": 10000}, "topk": {"min": 1, "max": 10000}}, ["topk + queue_size > 20000"]),
        ({"topk": {"min": 193, "max": 10000}, "learning_rate": uniform(0.001, 0.01)}, []),  # the preset's queue has 192
        ({"modalities": {"values": [["joint"]]}, "learning_rate": uniform(0.001, 0.01)}, []),  # its objective is cmd
    ],
    ids=["ranges", "whole numbers", "settings", "lists"],
)
def test_an_impossible_space_is_refused_when_it_is_checked(make_space, parameters, constraints):
    def check():
        make_space(parameters=parameters, constraints=constraints, points_to_evaluate=None).check_possible(QUICK)

    with pytest.raises(
        UsageError, match=r"space.yaml: (constraints|parameters): no configuration (meets|is)"
    ) as caught:
        check()
    assert "; one breaks " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_found_is_refused_without_an_example_where_the_first_values_break_nothing(make_space):
    line = {"teacher_temperature": uniform(0.01, 0.2), "student_temperature": uniform(0.01, 0.2)}
    rules = ["teacher_temperature == student_temperature"]
    with pytest.raises(UsageError, match=r"constraints: none of \d+ configurations drawn meets them; loosen them"):
        make_space(parameters=line, constraints=rules, points_to_evaluate=None).check_possible(QUICK)


@given(
    st.fixed_dictionaries(
        {
            "queue_size": st.integers(1, 20),
            "topk": st.integers(1, 20),
            "crossclr_topk": st.integers(1, 20),
            "objective": st.sampled_from(["base", "mcl", "crossclr", "cmd"]),
            "stages": st.sampled_from(["one", "two"]),
            "modalities": st.sampled_from([("joint",), ("joint", "bone")]),
            "mcl_form": st.sampled_from(["added", "instead"]),
            "distillation": st.sampled_from(["pairwise", "consensus"]),
            "optimizer": st.sampled_from(["sgd", "adamw"]),
            "schedule": st.sampled_from(["step", "cosine"]),
            "precision": st.sampled_from(["float32", "tf32", "bfloat16"]),
            "frames": st.integers(1, 100),
            "crop_min_frames": st.integers(1, 100),
            "crop_min_share": st.floats(0.1, 1),
            "epochs": st.integers(1, 400),
            "step_epoch": st.integers(1, 400),
            "evaluate_every": st.integers(1, 400),
            "checkpoint_every": st.integers(1, 400),
            "stage_switch": st.floats(0, 1),
            "batch_size": st.integers(2, 400),
        }
    )
)
def test_what_settings_demand_together_is_of_the_ruled_ones_alone(values):
    """A box in which none of these varies is dropped at the first refusal."""

    def valid(values):
        try:
            Settings(**values)
        except ValidationError:
            return False
        return True

    assert valid(values) == valid({name: value for name, value in values.items() if name in RULED})
