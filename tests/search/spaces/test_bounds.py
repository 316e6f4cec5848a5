"""What a constraint can be over a range of configurations."""

from typing import Any

import pytest

from cmd_tune.search.spaces.bounds import can_hold, truths
from cmd_tune.search.spaces.constraints import negation, parse_constraint


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("topk <= queue_size", True),
        ("topk > queue_size", False),
        ("topk == queue_size", False),
        ("topk != queue_size", True),
        ("not topk < queue_size", False),
        ("topk * 2 + 1 > queue_size", False),
        ("queue_size / topk >= 20.1", False),
        ("topk ** 2 <= 99", True),
        ("topk ** 2 > 100", False),
        ("abs(topk - queue_size) < 40", False),
        ("max(topk, 7) < 7", False),
        ("-topk > -5", False),
        ("topk > 10 or queue_size < 50", False),
        ("topk > 9 and queue_size < 60", True),
        ("5 <= topk < 5", False),
        ("queue_size % topk == 0", True),
        ("topk / (queue_size - 60) > 1e9", True),  # what has no bound may be anything
        ("optimizer == 'sgd'", False),
        ("objective == 'cmd'", True),
        ("objective != 'cmd' and objective != 'base'", True),
        ("(topk < 20) == (queue_size < 20)", False),
    ],
)
def test_whether_a_constraint_can_hold_in_a_range(text: str, possible: bool) -> None:
    bounds: dict[str, Any] = {
        "topk": (5, 10),
        "queue_size": (50, 100),
        "optimizer": frozenset(["adamw"]),
        "objective": frozenset(["base", "cmd"]),
    }
    assert can_hold(parse_constraint(text), bounds) is possible


@pytest.mark.parametrize(
    ("text", "may_be"),
    [
        ("layers >= 1", {True}),
        ("8 / layers <= 8", {True}),
        ("abs(8 / (layers - 1)) >= 0", {True, False}),  # with one layer there is no quotient
        ("min(8 // (layers - 1), 5) <= 5", {True, False}),
        ("layers > 4", {False}),
    ],
)
def test_what_may_not_be_computed_may_be_false(text: str, may_be: set[bool]) -> None:
    rule = parse_constraint(text)
    assert truths(rule, {"layers": (1, 3)}) == may_be
    assert truths(negation(rule), {"layers": (1, 3)}) == {not truth for truth in may_be}
    for layers in (1, 2, 3):
        assert rule.holds({"layers": layers}) in may_be
        assert negation(rule).holds({"layers": layers}) is not rule.holds({"layers": layers})
