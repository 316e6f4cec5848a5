"""Values on their way to Optuna and back: what it samples lies in the range, and returns as it was."""

from collections import Counter

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmd_tune.search.request import read_space
from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.spaces.space_file import find_space
from cmd_tune.search.study.optuna_values import decode, distribution, distributions, encode, from_optuna, to_optuna
from cmd_tune.settings import Settings, make_settings

QUICK = make_settings("quick", ("test", {"queue_size": 512, "topk": 64, "epochs": 30})).model_dump()
SHIPPED = ("temps", "queue_momentum", "full")


def test_distributions_are_those_of_the_file(make_space):
    space = make_space(
        parameters={
            "topk": {"min": 16, "max": 64},
            "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
            "distill_weight": {"min": 0.5, "max": 2},
            "optimizer": {"values": ["sgd", "adamw"]},
            "epochs": {"value": 3},
        },
        points_to_evaluate=None,
    )
    assert distributions(space) == {
        "topk": optuna.distributions.IntDistribution(16, 64),
        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "distill_weight": optuna.distributions.FloatDistribution(0.5, 2.0),
        "optimizer": optuna.distributions.CategoricalDistribution(["sgd", "adamw"]),
    }


def test_the_cells_of_a_grid_return_as_they_were(make_space):
    space = make_space(
        method="grid",
        parameters={"queue_size": {"values": [8, 2]}, "topk": {"values": [2, 4]}, "epochs": {"value": 3}},
        constraints=["topk <= queue_size"],
        points_to_evaluate=None,
        budget=None,
    )
    cells = space.cells(QUICK)
    assert len(cells) == 3
    assert [from_optuna(space, to_optuna(space, cell)) for cell in cells] == cells


def test_multiples_lie_inside_the_range_and_are_exact():
    tenths = Parameter("distill_weight", "q_uniform", 0.25, 0.95, 0.1)
    assert [decode(tenths, k) for k in range(3, 10)] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert distribution(tenths) == optuna.distributions.IntDistribution(3, 9)
    banks = Parameter("queue_size", "q_log_uniform_values", 100, 1000, 64)
    assert distribution(banks) == optuna.distributions.IntDistribution(2, 15, log=True)
    assert (decode(banks, 2), decode(banks, 15)) == (128, 960)
    assert type(decode(banks, 2)) is int
    assert type(decode(Parameter("distill_weight", "int_uniform", 0.0, 2.0, 1), 2)) is float


decimals = st.decimals(0, 10, places=3).map(float)


@given(decimals, decimals, st.sampled_from([0.1, 0.25, 0.003, 1, 3]), st.data())
def test_stepped_values_stay_inside_and_return(a, b, q, data):
    low, high = min(a, b), max(a, b)
    parameter = Parameter("distill_weight", "q_uniform", low, high, q)
    first, last = parameter.multiples()
    assert first * q > low - 1e-9
    assert (first - 1) * q < low
    assert (last + 1) * q > high
    if first > last:
        return
    k = data.draw(st.integers(first, last))
    value = decode(parameter, k)
    assert low <= value <= high
    assert abs(value / q - k) < 1e-9
    assert parameter.why_invalid(value) == ""
    assert encode(parameter, value) == k


@given(decimals, decimals, st.sampled_from(["uniform", "log_uniform_values"]), st.integers(0, 2**32 - 1))
def test_sampled_values_stay_inside_and_return(a, b, kind, seed):
    low, high = min(a, b) + 0.001, max(a, b) + 0.001
    parameter = Parameter("distill_weight", kind, low, high)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    sampled = study.ask({"distill_weight": distribution(parameter)}).params["distill_weight"]
    value = decode(parameter, sampled)
    assert low <= value <= high
    assert decode(parameter, encode(parameter, value)) == value
    assert decode(parameter, high * (1 + 1e-15)) == high


@given(st.integers(1, 3000), st.integers(0, 3000), st.integers(1, 80), st.data())
def test_whole_numbers_are_multiples(low, more, q, data):
    parameter = Parameter("queue_size", "q_log_uniform_values", low, low + more, q)
    multiples = [k for k in range(low, low + more + 1) if k % q == 0]
    if multiples:
        value = data.draw(st.sampled_from(multiples))
        assert (decode(parameter, parameter.multiples()[0]), decode(parameter, parameter.multiples()[1])) == (
            multiples[0],
            multiples[-1],
        )
        assert decode(parameter, encode(parameter, value)) == value
    else:
        assert parameter.multiples()[0] > parameter.multiples()[1]


def test_log_range_is_sampled_evenly_on_a_log_scale(make_space):
    """Of 1 … 100, as many samples lie below 10 as above; a uniform range has a tenth there."""
    space = make_space(
        parameters={"distill_weight": {"distribution": "log_uniform_values", "min": 1, "max": 100}},
        points_to_evaluate=None,
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [from_optuna(space, study.ask(distributions(space)).params)["distill_weight"] for _ in range(400)]
    assert 150 < sum(value < 10 for value in values) < 250


def test_counts_of_a_stepped_log_range_follow_the_logarithm(make_space):
    """Below 4 of 1 … 15 multiples lies about half of a log range, a fifth of a uniform one."""
    space = make_space(
        parameters={"topk": {"distribution": "q_log_uniform_values", "min": 16, "max": 240, "q": 16}},
        points_to_evaluate=None,
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    counts = Counter(from_optuna(space, study.ask(distributions(space)).params)["topk"] for _ in range(600))
    assert set(counts) == set(range(16, 241, 16))
    assert 240 < sum(counts[value] for value in (16, 32, 48)) < 400


def test_lists_travel_through_optuna_as_json(make_space, tmp_path):
    space = make_space(
        parameters={"modalities": {"values": [["joint"], ["joint", "motion", "bone"]]}}, points_to_evaluate=None
    )
    point = {"modalities": ["joint", "motion", "bone"]}
    assert to_optuna(space, point) == {"modalities": '["joint", "motion", "bone"]'}
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}")
    study.enqueue_trial(to_optuna(space, point))
    study.ask(distributions(space))
    assert from_optuna(space, study.trials[0].params) == point


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spaces_start_from_valid_settings(name):
    space = read_space(find_space(name))
    assert space.preset == "quick"
    point = space.start_points[0]
    quick = make_settings("quick").model_dump()
    assert {key: quick[key] for key in point} == point  # comparable with a run of the preset as it is
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(to_optuna(space, point))
    samples = [from_optuna(space, study.ask(distributions(space)).params) for _ in range(300)]
    assert samples[0] == point
    allowed = [values for values in samples if space.allows(values, QUICK)]
    assert len(allowed) > 200
    for values in allowed:
        Settings(**{**QUICK, **values})
