"""A searched setting: what belongs to it, which multiples it has, and what a file says where it is none."""

import pytest

from cmd_tune.search.spaces.parameter import Parameter

CHOICE = Parameter("modalities", "categorical", choices=(["joint"], ["joint", "bone"]))
RANGE = Parameter("teacher_temperature", "uniform", 0.1, 0.5)
STEPS = Parameter("distill_weight", "q_uniform", 0.25, 1.0, 0.1)
COUNT = Parameter("queue_size", "q_log_uniform_values", 100, 1000, 64)


def test_multiples_are_of_numbers_as_they_are_written():
    assert STEPS.multiples() == (3, 10)  # 0.3 to 1.0, although 0.1 · 3 is not 0.3 in floating point
    assert COUNT.multiples() == (2, 15)  # 128 to 960
    assert Parameter("topk", "int_uniform", 3, 5, 1).multiples() == (3, 5)
    first, last = Parameter("distill_weight", "q_uniform", 0.25, 0.28, 0.1).multiples()
    assert first > last  # none


@pytest.mark.parametrize(
    ("parameter", "first"), [(CHOICE, ["joint"]), (RANGE, 0.1), (STEPS, 0.3), (COUNT, 128)], ids=lambda x: str(x)[:20]
)
def test_the_first_value(parameter, first):
    assert parameter.first == first
    assert type(parameter.first) is type(first)
    assert parameter.why_invalid(first) == ""


@pytest.mark.parametrize(
    ("parameter", "value", "why"),
    [
        (CHOICE, ["bone"], "is none of ['joint'], ['joint', 'bone']"),
        (RANGE, 0.51, "lies outside 0.1 to 0.5"),
        (STEPS, 0.25, "is no multiple of 0.1"),
        (STEPS, 0.2, "lies outside 0.25 to 1.0"),
        (STEPS, 0.7, ""),
        (COUNT, 200, "is no multiple of 64"),
        (COUNT, 192, ""),
    ],
)
def test_what_keeps_a_value_from_being_one_of_it(parameter, value, why):
    assert parameter.why_invalid(value) == why


def test_which_ranges_are_even_on_a_log_scale():
    assert (RANGE.log, STEPS.log, CHOICE.log, COUNT.log) == (False, False, False, True)
