"""A search that several metrics judge: its front, and what the study, the sampler and Optuna know of it."""

import json
import shutil

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState as OptunaState

from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.methods import METHODS
from cmd_tune.search.study.pareto_front import pareto_front, trials_on_front
from cmd_tune.search.study.sampler_view import SamplerView
from cmd_tune.search.study.study import STUDY
from cmd_tune.search.study.trial_record import TrialState

GP = pytest.param("gp", marks=[pytest.mark.long, pytest.mark.slow])
KNN, COST, LOSS = "val/knn/fused", "cost/seconds", "loss/total"
RATES = {"learning_rate": {"min": 0.001, "max": 1.0}, "weight_decay": {"min": 0.0, "max": 1.0}}
TWO = {
    "metric": None,
    "metrics": [{"name": KNN}, {"name": COST}],
    "parameters": RATES,
    "points_to_evaluate": None,
    "budget": {"trials": 40},
}
SCORES = st.integers(1, 3).flatmap(  # few values, so that trials are often equal in some or in all
    lambda metrics: st.tuples(
        st.lists(st.tuples(*[st.integers(-2, 2)] * metrics), min_size=1, max_size=12),
        st.tuples(*[st.booleans()] * metrics),
    )
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(SCORES)
def test_the_front_is_what_no_other_beats(case):
    scores, maximize = case

    def beats(one, other):
        pairs = [(a, b) if up else (b, a) for a, b, up in zip(one, other, maximize, strict=True)]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    expected = [not any(beats(other, score) for other in scores) for score in scores]
    assert list(pareto_front(np.array(scores, float), np.array(maximize))) == expected


def play(study, trial, *scores, epochs=1):
    """Run a trial to its end, with these scores by the metrics of its study; None: it lacks that one."""
    names = [metric.name for metric in study.space.metrics]
    metrics = {name: score for name, score in zip(names, scores, strict=True) if score is not None}
    for run in study.runs_of(trial):
        run.folder.mkdir(parents=True, exist_ok=True)
        for epoch in range(1, epochs + 1):
            study.record(run, {"epoch": epoch, **metrics})
    study.end(trial)


@pytest.fixture
def played(make_space, open_study):
    """A study of trials with these scores; a word in their place is the kind of a failure."""

    def make(*trials, method="tpe", **changes):
        study = open_study(make_space(**{**TWO, "method": method, **changes}), trials=40, epochs=1)
        for scores in trials:
            trial = study.next()
            if isinstance(scores, FailureTag):
                study.end(trial, failure="it failed", tag=scores)
            else:
                play(study, trial, *scores)
        return study

    return make


CASE = [(70, 30), (80, 50), FailureTag.DIVERGED, (60, 40), (80, 60), (75, 30), (75, 30), (50, 10)]


def test_the_front_is_that_of_optuna_and_of_what_shows_its_study(played, tmp_path):
    """Of trials that are equal, both are on it; of two that are equally good by the first metric, the cheaper."""
    study = played(*CASE)
    assert [trial.index for trial in trials_on_front(study)] == [1, 5, 6, 7]
    kept = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'search' / STUDY}")
    assert [trial.number for trial in kept.best_trials] == [1, 5, 6, 7]
    assert kept.metric_names == [KNN, COST]
    assert [direction.name for direction in kept.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.values for trial in kept.trials[:3]] == [[70, 30], [80, 50], None]


def test_the_first_metric_ranks_and_the_next_one_decides_between_equals(played):
    study = played(*CASE)
    assert [trial.index for trial in study.ranked()] == [1, 4, 5, 6, 0, 3, 7]
    assert study.ranked()[0] in trials_on_front(study)


def test_one_metric_has_no_front(make_space, open_study):
    study = open_study(make_space(), epochs=1)
    play(study, study.next(), 50)
    assert trials_on_front(study) == []


@pytest.mark.parametrize("lacking", [(None, 10), (80, None)])
def test_a_trial_that_lacks_a_metric_at_its_end_has_failed(played, lacking):
    study = played((70, 30), lacking)
    assert study.trials[1].state is TrialState.FAILED
    assert study.trials[1].reason == f"it never reported {KNN if lacking[0] is None else COST}"
    assert [trial.index for trial in trials_on_front(study)] == [0]


def test_an_earlier_cost_is_not_the_last_epochs(make_space, open_study):
    study = open_study(make_space(**TWO), epochs=2)
    trial = study.next()
    study.record(trial, {"epoch": 1, KNN: 50.0, COST: 3.0})
    study.record(trial, {"epoch": 2, KNN: 60.0})
    assert not study.should_stop(trial)
    study.end(trial)
    assert trial.reason == "it never reported cost/seconds at its last epoch"
    assert study._study.trials[0].intermediate_values == {}  # Optuna has none of several metrics


def test_of_several_seeds_each_metric_is_the_mean(make_space, open_study):
    study = open_study(make_space(**TWO, seeds=2), epochs=1)
    trial = study.next()
    for run, knn, cost in zip(study.runs_of(trial), (50.0, 60.0), (10.0, 14.0), strict=True):
        run.folder.mkdir(parents=True, exist_ok=True)
        study.record(run, {"epoch": 1, KNN: knn, COST: cost})
    study.end(trial)
    assert study._study.trials[0].values == [55.0, 12.0] == [trial.score(KNN), trial.score(COST)]


@pytest.mark.parametrize("method", ["tpe", "gp"])
def test_the_sampler_gets_all_values_and_the_worst_of_each_for_a_failure(played, method):
    """TPE gets a failure as what is not allowed; a Gaussian process gets the worst that there is by each metric."""
    scored = [(70, 30), (80, 50), (60, 40), (90, 60)]
    study = played(*scored, FailureTag.DIVERGED, method=method)
    view = SamplerView(study.space, study.base.model_dump(), METHODS[method], 3, study._study.get_trials())
    *told, failure = view.study.trials
    assert [tuple(trial.values) for trial in told] == scored
    if method == "gp":
        assert failure.values == [60, 60]
    else:
        assert (failure.state, failure.values, bool(failure.constraints)) == (OptunaState.PRUNED, None, True)


@pytest.mark.parametrize("method", ["tpe", GP, "qmc", "random"])
def test_a_search_that_is_interrupted_after_each_trial_suggests_the_same(make_space, open_study, tmp_path, method):
    space = make_space(**{**TWO, "method": method, "constraints": ["learning_rate + weight_decay <= 1.6"]})

    def run(study):
        if (trial := study.next()) is None:
            return False
        rate, decay = trial.values["learning_rate"], trial.values["weight_decay"]
        if rate > 0.9:
            study.end(trial, failure="the loss is nan", tag=FailureTag.DIVERGED)
        else:
            play(study, trial, 50 + 30 * rate, 10 + 100 * rate**2 + 50 * decay)
        return True

    whole = open_study(space, trials=10, epochs=1)
    while run(whole):
        pass
    expected = [trial.values for trial in whole.trials.values()]
    shutil.rmtree(tmp_path / "search")
    while run(open_study(space, trials=10, epochs=1)):
        pass
    assert [trial.values for trial in open_study(space, trials=10, epochs=1).trials.values()] == expected


@pytest.mark.parametrize("method", ["tpe", GP])
def test_methods_learn_of_the_second_metric(make_space, open_study, method):
    """weight_decay costs and does nothing else, so that half of its range holds no trial of the front."""
    study = open_study(make_space(**{**TWO, "method": method}), trials=30, epochs=1)
    while trial := study.next():
        rate, decay = trial.values["learning_rate"], trial.values["weight_decay"]
        play(study, trial, 50 + 30 * rate, 10 + 100 * rate**2 + 50 * decay)
    later = [trial.values["weight_decay"] for trial in list(study.trials.values())[15:]]
    assert np.mean(later) < 0.3


def test_a_trial_whose_history_is_gone_keeps_all_its_values(played, open_study):
    study = played((70, 30), (80, 50))
    for trial in study.trials.values():
        shutil.rmtree(trial.folder)
    again = open_study(study.space, trials=40, epochs=1)
    assert [(t.score(KNN), t.score(COST)) for t in again.trials.values()] == [(70, 30), (80, 50)]
    assert [trial.index for trial in trials_on_front(again)] == [1, 0]
    assert len(again.remarks) == 2


def test_an_unfinished_trial_goes_on(make_space, open_study):
    study = open_study(make_space(**TWO), epochs=2)
    trial = study.next()
    study.record(trial, {"epoch": 1, KNN: 50.0, COST: 3.0})
    study.leave()
    again = open_study(study.space, epochs=2)
    (same, values) = again.next(), trial.values
    assert (same.index, same.values, same.epoch) == (0, values, 1)
    again.record(same, {"epoch": 2, KNN: 60.0, COST: 6.0})
    again.end(same)
    assert again._study.trials[0].values == [60.0, 6.0]
    assert json.loads((same.folder / "history.jsonl").read_text().splitlines()[1])[COST] == 6.0
