"""Priors: how they are written, where their draws lie, and which trials take them."""

import math
from random import Random

import numpy as np
import pytest
from scipy import stats

from cmd_tune.errors import UsageError
from cmd_tune.search.spaces.prior_draws import draw_from_prior

TEMPERATURE = {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}


def parameter_of(make_space, name, **keys):
    return make_space(parameters={name: keys, "layers": {"values": [1, 2]}}, points_to_evaluate=None).parameters[name]


def test_draws_are_normal_around_the_mode_on_the_scale_of_the_range(make_space):
    """With the mode in the middle the ends, five standard deviations away, cut nothing off."""
    parameter = parameter_of(make_space, "teacher_temperature", **TEMPERATURE, prior={"mode": 0.1})
    random = Random(1)  # noqa: S311
    place = (np.log10([draw_from_prior(parameter, random) for _ in range(2000)]) + 2) / 2
    assert stats.kstest(place, stats.norm(0.5, 0.1).cdf).pvalue > 0.01
    uniform = parameter_of(make_space, "distill_weight", min=0.0, max=4.0, prior={"mode": 2.0})
    drawn = np.array([draw_from_prior(uniform, random) for _ in range(2000)])
    assert stats.kstest(drawn / 4, stats.norm(0.5, 0.1).cdf).pvalue > 0.01


def test_draws_stay_in_the_range_and_on_its_steps(make_space):
    keys = {"distribution": "q_log_uniform_values", "min": 64, "max": 2048, "q": 64}
    parameter = parameter_of(make_space, "queue_size", **keys, prior={"mode": 64, "confidence": 1})
    random = Random(2)  # noqa: S311
    drawn = {draw_from_prior(parameter, random) for _ in range(500)}
    assert min(drawn) == 64
    assert all(value % 64 == 0 and 64 <= value <= 2048 for value in drawn)
    assert len(drawn) > 2
    edge = parameter_of(make_space, "teacher_temperature", **TEMPERATURE, prior={"mode": 1.0})
    assert all(0.01 <= draw_from_prior(edge, random) <= 1.0 for _ in range(500))
    choice = parameter_of(make_space, "topk", values=[4, 8, 16], prior={"mode": 8})
    assert draw_from_prior(choice, random) == 8


def test_the_first_trials_take_it_as_often_as_its_confidence_says(make_space, open_study):
    """Choices: the mode by the prior, or by chance one time in five."""
    for method, share in (("random", 0.5 + 0.5 / 5), ("tpe", None)):
        space = make_space(
            method=method,
            parameters={"topk": {"values": [4, 8, 16, 32, 64], "prior": {"mode": 8, "confidence": 0.5}},
                        "student_temperature": {"min": 0.05, "max": 1.0}},
            points_to_evaluate=None,
        )  # fmt: skip
        study = open_study(space, 200, epochs=1)
        values = [study._suggestions._believed(number, 0) for number in range(200)]
        taken = sum(value == {"topk": 8} for value in values)
        assert all(value in ({}, {"topk": 8}) for value in values)
        if share:
            assert 80 < taken < 120  # 100 ± 3 standard deviations of 7
        else:
            assert taken < 12  # of ten start-up trials
            assert values[10:] == [{}] * 190
        (study.folder / "study.db").unlink()


def test_a_study_draws_alike_after_an_interruption(make_space, open_study):
    temperature = {**TEMPERATURE, "prior": {"mode": 0.05, "confidence": 1.0}}
    space = make_space(parameters={"teacher_temperature": temperature}, points_to_evaluate=None)
    first = [trial.values for trial in (open_study(space).next() for _ in range(1))]
    again = open_study(space)
    assert [again.next().values] == first
    assert abs(math.log10(first[0]["teacher_temperature"] / 0.05)) < 0.2 * 4


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ({"mode": 2.0}, r"prior.mode: 2.0 lies outside 0.01 to 1.0; change it or the parameter"),
        ({"confidence": 0.5}, "prior.mode: is missing; write {mode: value, confidence: 0.5}"),
        ({"mode": 0.1, "confidence": 2}, "prior.confidence: should be a share from 0 to 1; found 2"),
        ({"mode": 0.1, "width": 2}, "prior.width: unknown key"),
        ({"mode": "x"}, "prior.mode: "),
    ],
)
def test_what_is_wrong_with_a_prior_is_said(make_space, prior, said):
    with pytest.raises(UsageError, match=f"parameters.teacher_temperature.{said}"):
        make_space(parameters={"teacher_temperature": {**TEMPERATURE, "prior": prior}}, points_to_evaluate=None)


@pytest.mark.parametrize("method", ["grid", "qmc", "cmaes"])
def test_a_method_that_draws_nothing_at_random_takes_none(make_space, method):
    temperature = (
        {"values": [0.1, 0.2], "prior": {"mode": 0.1}} if method == "grid" else {**TEMPERATURE, "prior": {"mode": 0.1}}
    )
    with pytest.raises(UsageError, match=f"teacher_temperature.prior: does not go with method {method}"):
        make_space(method=method, parameters={"teacher_temperature": temperature}, points_to_evaluate=None, budget=None)
