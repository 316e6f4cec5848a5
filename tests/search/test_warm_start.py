"""A search that begins with the finished trials of an earlier one: which fit, what is learnt of them, what runs."""

import json

import pytest
import yaml

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.plan import new_plan
from cmd_tune.search.request import check_request
from cmd_tune.search.study.earlier_trials import WARM_START
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.warm_start import find_warm_start, keep_warm_start
from tests.search.conftest import SPACE

METRIC = "val/knn/fused"
WIDE = {
    "teacher_temperature": {"min": 0.01, "max": 0.2},
    "student_temperature": {"min": 0.05, "max": 1.0},
}


@pytest.fixture
def plan_of(tiny_store, tmp_path):
    """Plans a search in tmp_path / "runs"; keys of the space are changed, and None leaves one out."""

    def make(name, overrides=(), **changes):
        content = {**SPACE, "parameters": WIDE, "settings": {"epochs": 2, "batch_size": 8}, **changes}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
        request = check_request(
            str(path), storage=tmp_path / "runs", name=name, data=tiny_store.path, protocol="xview", preset=None,
            overrides=overrides, trials=None, resources=ResourceRequest(), tracking_uri=None,
        )  # fmt: skip
        return new_plan(request)

    return make


def opened(plan):
    return SearchStudy(plan.folder, plan.space, plan.settings, plan.preset, plan.trials)


@pytest.fixture
def earlier(plan_of):
    """A search of four trials that finished with 50, 60, 70 and 55, and its plan."""
    plan = plan_of("first")
    study = opened(plan)
    for score in (50.0, 60.0, 70.0, 55.0):
        trial = study.next()
        study.record(trial, {"epoch": 2, "loss/total": 1.0, METRIC: score})
        study.end(trial)
    return study


def test_all_trials_of_the_same_settings_enter_and_the_best_runs_after_the_start_point(earlier, plan_of):
    plan = plan_of("second", warm_start="first")
    warm = keep_warm_start(plan)
    assert str(warm) == "warm start: 4 of 4 finished trials of first"
    assert [trial.score for trial in warm.trials] == [70.0, 60.0, 55.0, 50.0]
    study = opened(plan)
    first, second, third = (study.next() for _ in range(3))
    assert first.values == earlier.trials[0].values  # the start point of both
    assert second.values == earlier.trials[2].values
    assert third.values not in [trial.values for trial in earlier.trials.values()]
    assert len(study.trials) == 3  # those of the earlier search take no number


def test_the_method_learns_of_them(earlier, plan_of):
    """With four trials told, TPE suggests otherwise than at random; and the same whether or not it is interrupted."""
    seen = []
    for name, warm_start in (("cold", None), ("warm", "first"), ("again", "first")):
        plan = plan_of(name, warm_start=warm_start, points_to_evaluate=None, budget={"trials": 12})
        keep_warm_start(plan)
        study = opened(plan)
        view = study._suggestions._view(study._study.get_trials())
        seen.append(sorted(trial.value for trial in view.study.trials))
    assert seen == [[], [50.0, 55.0, 60.0, 70.0], [50.0, 55.0, 60.0, 70.0]]


def test_what_has_other_settings_or_lies_outside_the_parameters_stays_out(earlier, plan_of):
    low, high = sorted(trial.values["teacher_temperature"] for trial in earlier.trials.values())[::3]
    narrow = {**WIDE, "teacher_temperature": {"min": low, "max": (low + high) / 2}}
    inside = [t for t in earlier.trials.values() if t.values["teacher_temperature"] <= (low + high) / 2]
    assert 0 < len(inside) < 4
    warm = find_warm_start(plan_of("narrow", parameters=narrow, points_to_evaluate=None, warm_start="first"))
    assert sorted(trial.trial for trial in warm.trials) == sorted(trial.name for trial in inside)
    assert str(warm) == (
        f"warm start: {len(inside)} of 4 finished trials of first; the others have other settings, or values outside "
        "the parameters"
    )
    assert len(find_warm_start(plan_of("seed", ["seed=7"], warm_start="first")).trials) == 4
    one = {"teacher_temperature": WIDE["teacher_temperature"]}
    fixed = earlier.trials[1].values["student_temperature"]
    plan = plan_of("one", [f"student_temperature={fixed}"], parameters=one, points_to_evaluate=None, warm_start="first")
    assert [trial.trial for trial in find_warm_start(plan).trials] == ["trial-001"]
    more = {**WIDE, "queue_size": {"values": [64, 128, earlier.base.queue_size]}}
    plan = plan_of("more", parameters=more, points_to_evaluate=None, warm_start="first")
    assert {trial.values["queue_size"] for trial in find_warm_start(plan).trials} == {earlier.base.queue_size}


@pytest.mark.parametrize(
    ("changes", "overrides", "said"),
    [
        ({"warm_start": "frist"}, (), r"warm_start: no search frist in .*runs; did you mean 'first'\?"),
        ({"warm_start": "../runs/first"}, (), "no search ../runs/first in"),
        (
            {"warm_start": "first", "metric": {"name": "val/linear/fused"}},
            (),
            "warm_start: first has another metric, so that its scores mean something else; remove it",
        ),
        (
            {"warm_start": "first"},
            ("learning_rate=0.1",),
            "warm start: 0 of 4 finished trials of first; the others have",
        ),
    ],
)
def test_what_does_not_fit_is_said(earlier, plan_of, changes, overrides, said):
    with pytest.raises(UsageError, match=said):
        find_warm_start(plan_of("second", overrides, **changes))


def test_of_several_metrics_the_method_learns_all_and_the_best_is_by_the_first(earlier, plan_of):
    metrics = [{"name": METRIC}, {"name": "loss/total"}]
    plan = plan_of("second", metric=None, metrics=metrics, warm_start="first", points_to_evaluate=None)
    keep_warm_start(plan)
    study = opened(plan)
    assert [trial.scores for trial in study.earlier] == [[70.0, 1.0], [60.0, 1.0], [55.0, 1.0], [50.0, 1.0]]
    assert sorted(trial.values for trial in study._suggestions._view(study._study.get_trials()).study.trials) == [
        [50.0, 1.0], [55.0, 1.0], [60.0, 1.0], [70.0, 1.0],
    ]  # fmt: skip
    assert study.next().values == earlier.trials[2].values


def test_earlier_trials_that_lack_one_of_several_metrics_are_named(earlier, plan_of):
    metrics = [{"name": METRIC}, {"name": "loss/total"}, {"name": "cost/seconds"}]
    with pytest.raises(UsageError) as caught:
        find_warm_start(plan_of("second", metric=None, metrics=metrics, warm_start="first"))
    assert str(caught.value).endswith(
        "warm_start: trial-002 of first has no cost/seconds, by which trials are judged here; remove it, or that metric"
    )


@pytest.mark.parametrize("method", ["random", "qmc", "grid", "cmaes"])
def test_a_method_that_learns_nothing_of_it_refuses(make_space, method):
    parameters = {"teacher_temperature": {"values": [0.01, 0.1]}} if method == "grid" else WIDE
    with pytest.raises(UsageError, match=f"warm_start: method {method} learns nothing of it; remove it"):
        make_space(method=method, parameters=parameters, points_to_evaluate=None, budget=None, warm_start="first")


def test_the_earlier_search_may_be_removed_and_a_damaged_file_is_named(earlier, plan_of):
    plan = plan_of("second", warm_start="first")
    keep_warm_start(plan)
    kept = plan.folder / WARM_START
    assert len(json.loads(kept.read_text())) == 4
    earlier.folder.rename(earlier.folder.with_name("gone"))
    assert len(opened(plan).earlier) == 4
    kept.write_text('[{"search": 1}]')
    with pytest.raises(CmdTuneError, match=r"warm_start.json: holds no trials; restore it, or remove it"):
        opened(plan)
