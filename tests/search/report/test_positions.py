"""Where values stand in their ranges."""

import pytest

from cmd_tune.search.report.positions import in_order, is_scale, position
from cmd_tune.search.spaces.parameter import Parameter

RATE = Parameter("learning_rate", "log_uniform_values", 1e-4, 1e-2)


def test_a_value_stands_between_the_ends_of_its_range():
    assert position(RATE, 1e-3, log=True) == pytest.approx(0.5)
    assert position(RATE, 1e-3, log=False) == pytest.approx(1 / 11)
    assert (position(RATE, 1e-4, log=True), position(RATE, 1e-2, log=True)) == (0, 1)
    assert position(Parameter("topk", "int_uniform", 4, 4, 1), 4, log=False) == 0


def test_choices_are_a_scale_if_they_are_numbers():
    sizes, names = (Parameter("x", "categorical", choices=choices) for choices in ((256, 64, 128), ("b", "a")))
    assert [position(sizes, size, log=False) for size in sizes.choices] == [0, 0.5, 1]
    assert (is_scale(sizes), is_scale(names), is_scale(RATE)) == (True, False, True)
    assert not is_scale(Parameter("x", "categorical", choices=(True, False)))
    assert (in_order(sizes), in_order(names)) == ((64, 128, 256), ("b", "a"))
