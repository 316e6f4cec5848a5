"""What a constraint can be over a range of configurations."""

from typing import Any

import pytest

from cmd_tune.search.spaces.bounds import can_hold
from cmd_tune.search.spaces.constraints import parse_constraint


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
