"""What a sampler is told: failures of a trial's own fault as places to avoid, passing ones not at all."""

import shutil

import pytest
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.methods import METHODS
from cmd_tune.search.study.sampler_view import SamplerView

RATES = {"learning_rate": {"min": 0.001, "max": 1.0}, "weight_decay": {"min": 0.0, "max": 1.0}}


@pytest.fixture
def ends(make_space, open_study):
    """A study whose trials are scored, or fail with the tag that `fails` gives for their values; a startup of 5."""

    def make(method, fails, trials=20):
        space = make_space(method=method, parameters=RATES, points_to_evaluate=None, budget={"trials": trials})
        study = open_study(space, trials=trials, epochs=1)
        while trial := study.next():
            if tag := fails(trial.values):
                study.end(trial, failure="it failed", tag=tag)
            else:
                study.record(trial, {"epoch": 1, "val/knn/fused": 50 + trial.values["learning_rate"]})
                study.end(trial)
        return study

    return make


def told(study):
    method = METHODS[study.space.method]
    return SamplerView(study.space, study.base.model_dump(), method, 5, study._study.get_trials()).study.trials


def test_a_failure_of_its_own_fault_is_told_as_what_is_not_allowed(ends):
    study = ends("tpe", lambda values: FailureTag.DIVERGED if values["learning_rate"] > 0.7 else None)
    failed = [t.params for t in study._study.trials if t.state is OptunaState.FAIL]
    avoided = [t.params for t in told(study) if t.constraints]
    assert 0 < len(failed) == len(avoided)
    assert avoided == failed
    assert not any(trial.constraints for trial in study._study.trials)  # the study on disk shows a failure


def test_a_passing_failure_is_not_told(ends):
    study = ends("tpe", lambda values: FailureTag.KILLED if values["learning_rate"] > 0.7 else None)
    assert 0 < len(told(study)) < 20
    assert {t.state for t in told(study)} == {OptunaState.COMPLETE}


@pytest.mark.parametrize("method", ["gp", "cmaes"])
def test_a_method_without_constraints_gets_the_worst_score(ends, method):
    study = ends(method, lambda values: FailureTag.DIVERGED if values["learning_rate"] > 0.7 else None, trials=9)
    worst = min(t.value for t in study._study.trials if t.state is OptunaState.COMPLETE)
    values = {t.number: t.value for t in study._study.trials if t.state is OptunaState.FAIL}
    assert values
    of_failed = [t.value for t in told(study) if t.params["learning_rate"] > 0.7]
    assert of_failed == [worst] * len(values)


def test_a_region_that_diverges_is_left(ends, tmp_path):
    """The score grows up to where trials fail, at half of the range. Told of it, TPE goes there half as often."""
    late = {}
    for tag in (FailureTag.DIVERGED, FailureTag.KILLED):
        study = ends("tpe", lambda values, tag=tag: tag if values["learning_rate"] > 0.5 else None, trials=40)
        late[tag] = sum(trial.failure is not None for index, trial in study.trials.items() if index >= 20)
        shutil.rmtree(tmp_path / "search")
    assert late[FailureTag.DIVERGED] <= late[FailureTag.KILLED] / 2
