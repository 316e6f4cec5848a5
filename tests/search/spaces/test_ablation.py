"""What a space file and a plan file say of the ablation, and how many configurations the trials' work pays for."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.ablation import Ablation, ablation_content, read_ablation

OWN, THREE = Ablation(), Ablation(seeds=3)


def test_what_a_file_says_of_the_ablation_is_kept(make_space):
    assert make_space().ablation == OWN
    assert OWN.seeds is None
    assert make_space(ablation="auto").ablation == OWN
    assert make_space(ablation="none").ablation is None
    assert make_space(ablation={"seeds": 3}).ablation == THREE
    for ablation in (OWN, THREE, None):
        assert read_ablation(ablation_content(ablation)) == ablation


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ablation": "later"}, r"ablation: should be a mapping \({seeds: 3}, auto, or none\); found 'later'"),
        ({"ablation": {"seed": 3}}, r"ablation.seed: unknown key, did you mean 'seeds'\?"),
        ({"ablation": {"seeds": 0}}, r"ablation.seeds: should be a whole number of 1 or more; found 0"),
        ({"ablation": {"seeds": [1, 2]}}, r"ablation.seeds: should be a whole number of 1 or more"),
        ({"ablation": {"seeds": None}}, r"ablation.seeds: should be a whole number of 1 or more"),
        ({"ablation": {"seeds": 3}, "points_to_evaluate": None},
         r"ablation: has no start point to begin at; write points_to_evaluate, or remove it"),
        ({"ablation": {"seeds": 3}, "points_to_evaluate": [{"seed": 1}], "parameters": {"seed": {"values": [0, 1]}}},
         r"ablation: does not go with the parameter seed, which it would replace; remove one of them"),
        ({"ablation": "auto", "method": "cells", "cells": [{"topk": 8}], "budget": None, "metric": None,
          "parameters": None, "points_to_evaluate": None},
         r"ablation: does not go with method cells"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(make_space, changes, said):
    with pytest.raises(UsageError, match=said):
        make_space(**changes)


def test_all_mistakes_of_a_file_are_told_at_once(make_space):
    with pytest.raises(UsageError) as caught:
        make_space(ablation={"seeds": 0}, refit="later")
    assert len(caught.value.args) == 2


@pytest.mark.parametrize(
    ("parameters", "seeds", "runs", "between"),
    [
        (1, 5, 40, 0),  # nothing lies between two that differ in one
        (3, 5, 40, 2),
        (12, 5, 40, 4),  # 20 runs
        (12, 5, 49, 4),
        (12, 5, 50, 5),
        (12, 2, 16, 4),
        (12, 5, 9, 0),
        (12, 5, None, 11),  # the time ends the search
        (12, 0, 40, 11),
    ],
)
def test_half_the_work_of_the_trials_pays_unless_the_file_says_how_many_seeds(parameters, seeds, runs, between):
    assert OWN.between(parameters, seeds, runs) == between
    assert THREE.between(parameters, seeds, runs) == parameters - 1
