"""Which method `auto` stands for: the rule of docs/spaces.md."""

import pytest

from cmd_tune.search.study.methods import method_of, method_title

RANGES = {"key_momentum": {"min": 0.9, "max": 0.99}, "teacher_temperature": {"min": 0.01, "max": 0.2}}
CHOICES = {"layers": {"values": [1, 2, 3]}, "key_momentum": {"values": [0.9, 0.99]}}
ASHA = {"type": "asha", "grace_period": 1, "reduction_factor": 2}


@pytest.mark.parametrize(
    ("parameters", "trials", "early", "word", "learns"),
    [
        (CHOICES, 6, None, "grid", False),
        (CHOICES, 5, None, "tpe", True),
        (CHOICES, None, None, "tpe", True),
        (RANGES, 200, None, "gp", True),
        (RANGES, 201, None, "tpe", True),
        (RANGES, None, None, "tpe", True),
        (RANGES, 20, ASHA, "tpe", True),
        ({**RANGES, "layers": {"values": [1, 2]}}, 20, None, "tpe", True),
    ],
)
def test_the_rule(make_space, parameters, trials, early, word, learns):
    space = make_space(method="auto", parameters=parameters, points_to_evaluate=None, early_terminate=early)
    assert method_title(space, trials).startswith(f"auto ({word}: ")
    assert method_of(space, trials).learns is learns


def test_all_combinations_run_after_the_start_point(make_space, open_study):
    points = [{"layers": 2, "key_momentum": 0.99}]
    study = open_study(make_space(method="auto", parameters=CHOICES, points_to_evaluate=points), trials=6)
    values = []
    while trial := study.next():
        values.append(tuple(trial.values.values()))
    assert values == [(2, 0.99), (1, 0.9), (1, 0.99), (2, 0.9), (3, 0.9), (3, 0.99)]
