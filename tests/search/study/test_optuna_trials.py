"""One number a trial, in Optuna as in the search, whatever happens; and Optuna shows what ran."""

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.spaces.parameter import Parameter
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.optuna_values import from_shown, shown, to_shown
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialState

BANKS = {
    "parameters": {
        "queue_size": {"distribution": "q_log_uniform_values", "min": 64, "max": 512, "q": 64},
        "topk": {"distribution": "q_log_uniform_values", "min": 16, "max": 256, "q": 16},
        "key_momentum": {"distribution": "q_uniform", "min": 0.9, "max": 0.99, "q": 0.03},
        "modalities": {"values": [["bone", "joint"], ["joint", "bone"]]},
    },
    "constraints": ["topk <= queue_size / 4"],
    "points_to_evaluate": None,
}


def run(study, trial, value):
    study.record(trial, {"epoch": 1, "val/knn/fused": value})
    study.end(trial)


def shows_what_ran(study):
    """Whether Optuna's numbers are 0 … n-1 and those of the search, and its parameters the values that ran."""
    trials = study._study.trials
    assert [trial.number for trial in trials] == sorted(study.trials) == list(range(len(trials)))
    for trial in trials:
        assert from_shown(study.space, trial.params) == study.trials[trial.number].values


@pytest.mark.parametrize("method", ["tpe", "random", "qmc", "gp", "cmaes"])
def test_numbers_and_values_are_those_that_ran(make_space, open_study, method):
    """With suggestions that are not allowed, repeats, failures that run again, and sessions."""
    space = make_space(method=method, **BANKS)
    study = open_study(space, trials=12, epochs=1)
    for value in range(9):
        trial = study.next()
        if value == 3:
            study.end(trial, failure="killed", tag=FailureTag.KILLED)
        elif value == 4:
            study.end(trial, failure="diverged", tag=FailureTag.DIVERGED)
        else:
            run(study, trial, 50.0 - abs(value - 5))
    shows_what_ran(study)
    again = open_study(space, trials=12, epochs=1)
    trial = again.next()
    assert (trial.index, trial.values) == (3, study.trials[3].values)
    run(again, trial, 90.0)
    while trial := again.next():
        run(again, trial, 10.0)
    shows_what_ran(again)
    assert len(again.trials) == 12
    best = again._study.best_trial
    assert (best.number, best.value, again.ranked()[0].index) == (3, 90.0, 3)
    assert again._study.best_params == to_shown(space, again.trials[3].values)
    assert [trial.state for trial in again._study.trials].count(OptunaState.FAIL) == 1
    assert best.intermediate_values == {1: 90.0}


def test_a_failure_that_is_retried_keeps_its_number_and_forgets_what_it_said(make_space, open_study, tmp_path):
    space = make_space()
    study = open_study(space, trials=2, epochs=2)
    trial = study.next()
    study.record(trial, {"epoch": 1, "val/knn/fused": 1.0})
    study.end(trial, failure="diverged", tag=FailureTag.DIVERGED)
    again = SearchStudy(tmp_path / "search", space, study.base, "quick", 2, retry_failed=True)
    trial = again.next()
    (shown_trial,) = again._study.trials
    assert (trial.index, shown_trial.state) == (0, OptunaState.RUNNING)
    assert shown_trial.intermediate_values == {1: 1.0}
    assert shown_trial.user_attrs == {"values": trial.values}
    assert shown_trial.datetime_complete is None
    study = open_study(space, trials=2, epochs=2)  # killed here: it is unfinished, and runs again
    assert study.trials[0].state is TrialState.UNFINISHED


def test_the_queue_runs_under_its_numbers(make_space, open_study):
    """A point that may not run ends as failed, with why; its number is no trial's."""
    study = open_study(make_space(**BANKS), trials=6, epochs=1)
    run(study, study.next(), 1.0)
    study._study.enqueue_trial({"queue_size": 192, "topk": 32, "key_momentum": 0.93, "modalities": '["bone", "joint"]'})
    study._study.enqueue_trial({"queue_size": 3})
    study._study.enqueue_trial({"queue_size": 64, "topk": 128})
    study._study.enqueue_trial({"learning_rate": 0.1})
    study._study.enqueue_trial({"topk": 16})
    first, second = study.next(), study.next()
    assert (first.index, second.index) == (1, 5)
    assert first.values == {"queue_size": 192, "topk": 32, "key_momentum": 0.93, "modalities": ["bone", "joint"]}
    assert second.values["topk"] == 16
    refused = {trial.number: trial.user_attrs.get("rejected") for trial in study._study.trials[2:5]}
    assert refused == {
        2: "queue_size 3 lies outside 64 to 512",
        3: "constraint",
        4: "learning_rate is no parameter of the space",
    }
    assert [trial.state for trial in study._study.trials[1:]] == [
        OptunaState.RUNNING, OptunaState.FAIL, OptunaState.FAIL, OptunaState.FAIL, OptunaState.RUNNING,
    ]  # fmt: skip
    for trial in (first, second):
        assert from_shown(study.space, study._study.trials[trial.index].params) == trial.values
    assert study.next().index == 6
    again = open_study(make_space(**BANKS), trials=6, epochs=1)
    assert [again.next().index for _ in range(3)] == [1, 5, 6]


def test_a_value_of_the_queue_that_does_not_count_is_refused(make_space, open_study):
    spec = {"objective": {"values": ["mcl", "cmd"]}, "topk": {"values": [4, 8], "when": "objective == 'cmd'"}}
    study = open_study(make_space(parameters=spec, points_to_evaluate=None), trials=6, epochs=1)
    study._study.enqueue_trial({"objective": "mcl", "topk": 8})
    study._study.enqueue_trial({"objective": "cmd", "topk": 8})
    study._study.enqueue_trial({"objective": "mcl"})
    assert [study.next().values for _ in range(2)] == [{"objective": "cmd", "topk": 8}, {"objective": "mcl"}]
    refused = study._study.trials[0].user_attrs["rejected"]
    assert refused == "topk does not count in it, since objective == 'cmd' does not hold"


def test_a_study_of_an_earlier_release_goes_on_with_its_own_numbers(make_space, open_study, tmp_path):
    """It has numbers of suggestions that never ran, and stepped values as k of k·q."""
    space = make_space(**{**BANKS, "method": "random"})
    (tmp_path / "search").mkdir()
    storage = f"sqlite:///{tmp_path / 'search' / 'study.db'}"
    earlier = optuna.create_study(study_name="search", storage=storage, direction="maximize")
    params = {"queue_size": 3, "topk": 2, "key_momentum": 31, "modalities": '["bone", "joint"]'}
    distributions = {
        "queue_size": optuna.distributions.IntDistribution(1, 8, log=True),
        "topk": optuna.distributions.IntDistribution(1, 16, log=True),
        "key_momentum": optuna.distributions.IntDistribution(30, 33),
        "modalities": optuna.distributions.CategoricalDistribution(['["bone", "joint"]', '["joint", "bone"]']),
    }
    values = {"queue_size": 192, "topk": 32, "key_momentum": 0.93, "modalities": ["bone", "joint"]}
    for attributes, state in (
        ({"rejected": "repeated"}, OptunaState.FAIL),
        ({"values": values, "index": 0, "failure": "killed", "reason": "killed"}, OptunaState.FAIL),
    ):
        earlier.add_trial(
            optuna.trial.create_trial(state=state, params=params, distributions=distributions, user_attrs=attributes)
        )
    study = open_study(space, trials=2, epochs=1)
    first, second = study.next(), study.next()
    assert [(first.index, first.values), second.index] == [(0, values), 1]
    run(study, first, 1.0)
    run(study, second, 2.0)
    trials = study._study.trials
    assert [(trial.number, trial.user_attrs.get("index")) for trial in trials] == [(0, None), (1, 0), (2, 1)]
    assert trials[2].params["queue_size"] * 64 == second.values["queue_size"]
    assert [trial.index for trial in open_study(space, trials=2, epochs=1).ranked()] == [1, 0]


def test_what_is_shown_is_what_runs():
    banks = Parameter("queue_size", "q_log_uniform_values", 100, 1000, 64)
    assert shown(banks) == optuna.distributions.IntDistribution(128, 960, step=64)
    counts = Parameter("topk", "q_log_uniform_values", 2, 20, 1)
    assert shown(counts) == optuna.distributions.IntDistribution(2, 20, log=True)
    tenths = Parameter("distill_weight", "q_uniform", 0.25, 0.95, 0.1)
    assert shown(tenths) == optuna.distributions.FloatDistribution(0.3, 0.9, step=0.1)
