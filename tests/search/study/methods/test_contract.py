"""What every method of choosing trials must do: a new line in METHODS is held to it here."""

import shutil
from itertools import product

import pytest

from cmd_tune.search.spaces.space import TrialSource
from cmd_tune.search.study.methods import METHODS, Method
from cmd_tune.search.study.study import SearchStudy

POINTS = [{"topk": 6, "key_momentum": 0.97, "layers": 2}, {"topk": 12, "key_momentum": 0.9, "layers": 1}]
COMMON = {"points_to_evaluate": None, "budget": None}
# A space for each source of trials: one of more configurations than trials, one of just nine.
LARGE = {
    TrialSource.DRAWN: {
        "parameters": {
            "topk": {"distribution": "q_log_uniform_values", "min": 2, "max": 20, "q": 2},
            "key_momentum": {"min": 0.9, "max": 0.999},
            "layers": {"values": [1, 2, 3]},
        },
        "constraints": ["topk >= 4 * layers - 2"],
        "points_to_evaluate": POINTS,
        "budget": {"trials": 8},
    },
    TrialSource.COMBINED: {
        "parameters": {
            "topk": {"values": [2, 20, 8, 14]},
            "key_momentum": {"values": [0.9, 0.99]},
            "layers": {"values": [3, 1, 2]},
        },
        "constraints": ["topk >= 4 * layers - 2"],
    },
    TrialSource.CELLS: {
        "parameters": None,
        "cells": [{"topk": topk, "layers": layers} for topk in (8, 4, 2) for layers in (1, 2)],
        "seeds": [3, 0, 7],
    },
}
NINE = {"parameters": {"key_momentum": {"values": [0.9, 0.97, 0.99]}, "layers": {"values": [1, 2, 3]}}}
NINE_DRAWN = {"parameters": {"key_momentum": {"values": [0.9, 0.97, 0.99]}, "layers": {"min": 1, "max": 3}}}
NINE_CELLS = {"parameters": None, "cells": [{"layers": layers} for layers in (2, 3, 1)], "seeds": [2, 0, 1]}
TRIALS = 8


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


@pytest.fixture
def large(make_space, method):
    return make_space(method=method, **{**COMMON, **LARGE[METHODS[method].trials]})


@pytest.fixture
def open_study(tmp_path, tiny):
    """Opens the study of a space in a folder of this name."""

    def make(space, name="search", trials=TRIALS, **settings):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return SearchStudy(folder, space, tiny(**settings), "quick", trials)

    return make


def score(values):
    return values.get("topk", 5) - 3 * values["layers"]


def run(study, trials=10**6):
    """Runs so many trials to their last epoch. Returns their values."""
    done = []
    while len(done) < trials and (trial := study.next()) is not None:
        study.record(trial, {"epoch": study.epochs_of(trial), "val/knn/fused": score(trial.values)})
        study.end(trial)
        done.append(trial.values)
    return done


def test_every_trial_lies_in_the_space_and_is_allowed(large, open_study, tiny):
    values = run(open_study(large))
    assert len(values) == TRIALS
    for trial in values:
        assert trial.keys() == large.parameters.keys()
        assert {parameter.why_invalid(trial[name]) for name, parameter in large.parameters.items()} == {""}
        assert large.allows(trial, tiny().model_dump())
    assert all(trial not in values[:index] for index, trial in enumerate(values))


def test_what_is_listed_comes_first_in_its_order(large, method, open_study, tiny):
    listed = METHODS[method].listed(large, tiny().model_dump())
    values = run(open_study(large))
    assert values[: len(listed)] == listed[:TRIALS]
    assert len(listed) == 2 if large.source is TrialSource.DRAWN else 18


def test_the_same_seed_gives_the_same_trials(large, open_study):
    first = run(open_study(large, "first"))
    assert run(open_study(large, "second")) == first
    drawn = large.source is TrialSource.DRAWN
    assert (run(open_study(large, "third", seed=1)) == first) is not drawn


def test_a_finite_space_is_run_whole_and_each_trial_once(make_space, method, open_study):
    cells = METHODS[method].trials is TrialSource.CELLS
    nine = {TrialSource.DRAWN: NINE_DRAWN, TrialSource.COMBINED: NINE, TrialSource.CELLS: NINE_CELLS}
    space = make_space(method=method, **COMMON, **nine[METHODS[method].trials])
    values = run(open_study(space, trials=20))
    assert len({tuple(trial.values()) for trial in values}) == len(values) == 9
    if METHODS[method].trials is TrialSource.COMBINED:
        assert [tuple(trial.values()) for trial in values] == [(m, n) for m in (0.9, 0.97, 0.99) for n in (1, 2, 3)]
    if cells:
        assert [(trial["layers"], trial["seed"]) for trial in values] == [(n, s) for s in (2, 0, 1) for n in (2, 3, 1)]
    assert run(open_study(space, trials=20)) == []


def test_an_interrupted_study_goes_on_with_what_was_running_and_always_the_same(large, open_study, tmp_path):
    study = open_study(large, "first")
    before = run(study, 5)
    running = study.next()
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    after = run(open_study(large, "first"))
    assert after[0] == running.values
    assert run(open_study(large, "second")) == after
    assert len(before + after) == TRIALS
    assert all(trial not in before for trial in after)
    if large.lists_trials:
        assert before + after == run(open_study(large, "unbroken"))


CONDITIONAL = {
    "layers": {"values": [3, 1, 2]},
    "key_momentum": {"values": [0.9, 0.97, 0.99], "when": "topk == 2 or layers == 3"},
    "topk": {"values": [2, 8], "when": "layers > 1"},
}


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.takes_conditions])
def test_what_does_not_count_has_no_value_and_makes_no_other_trial(make_space, method, open_study, tmp_path):
    space = make_space(method=method, **COMMON, parameters=CONDITIONAL)
    settings = {"topk": 4, "hidden_size": 8}
    study = open_study(space, "first", trials=20, **settings)
    before = run(study, 4)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    values = before + run(open_study(space, "first", trials=20, **settings))
    assert before + run(open_study(space, "second", trials=20, **settings)) == values
    combined = product((3, 1, 2), (0.9, 0.97, 0.99), (2, 8))
    expected = {(n, m if n == 3 or (n, k) == (2, 2) else None, k if n > 1 else None) for n, m, k in combined}
    found = [(trial["layers"], trial.get("key_momentum"), trial.get("topk")) for trial in values]
    assert len(found) == len(expected) == 11
    assert set(found) == expected
    on_disk = study._study.get_trials()
    assert [{**trial.params} for trial in on_disk] == values  # what Optuna shows is what ran
    assert all({*trial.distributions} == {*trial.params} for trial in on_disk)


@pytest.mark.parametrize("prior", [None, {"mode": 3, "confidence": 1.0}])
def test_a_sampler_learns_of_what_counts_in_some_trials_alone(make_space, open_study, prior):
    """The best is topk 20 of three layers, where it counts; of 20 random draws, 2 come near."""
    layers = {"min": 1, "max": 3, **({"prior": prior} if prior else {})}
    ranges = {"layers": layers, "topk": {"min": 2, "max": 20, "when": "layers == 3"},
              "shear_range": {"min": 0.0, "max": 1.0}}  # fmt: skip
    space = make_space(method="tpe", **COMMON, parameters=ranges)

    study, topks = open_study(space, trials=40, hidden_size=8, topk=4), []
    while (trial := study.next()) is not None:
        assert ("topk" in trial.values) is (trial.values["layers"] == 3)
        top = 10 + trial.values.get("topk", 0)
        study.record(trial, {"epoch": study.epochs_of(trial), "val/knn/fused": top})
        study.end(trial)
        topks.append(trial.values.get("topk", 0))
    assert sum(topk >= 15 for topk in topks[-20:]) >= 10
    if prior:  # the first, drawn around what is believed, have what counts there
        assert all(topks[:10])


def test_whether_results_decide_what_comes_next(large, method, open_study, monkeypatch):
    """Those of a method that learns; of another they may be any."""
    trials = 11 if large.source is TrialSource.DRAWN else TRIALS
    first = run(open_study(large, "first", trials=trials))
    monkeypatch.setattr(f"{__name__}.score", lambda values: 3 * values["layers"] - values.get("topk", 5))
    assert (run(open_study(large, "second", trials=trials)) == first) is not METHODS[method].learns


def test_a_method_without_a_sampler_cannot_be_registered():
    class Half(Method):
        trials = TrialSource.DRAWN

    with pytest.raises(TypeError, match=r"abstract method .?sampler"):
        Half()
