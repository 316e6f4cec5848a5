"""Finalists and the start point run again with fresh seeds: which, in which order, and who is best by them."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.search.confirmations import (
    confirmation_count,
    describe_confirmations,
    due_confirmations,
    planned_confirmations,
)
from cmd_tune.search.execution import TrialReport
from cmd_tune.search.plan import keep_plan, new_plan, plan_of
from cmd_tune.search.spaces.confirm import Confirm
from cmd_tune.train.loop import CHECKPOINT
from tests.search.local_engine import run_due

METRIC = "val/knn/fused"
TWO = Confirm(top=2, seeds=2)


@pytest.fixture
def finished(make_space, open_study):
    """A study of four trials: trial-002 is best by its own score, then trial-003; trial-000 is the start point."""

    def make(scores=(50.0, 40.0, 70.0, 60.0), *, space=None, **settings):
        study = open_study(space or make_space(), trials=len(scores), epochs=2, **settings)
        for value in scores:
            trial = study.next()
            study.record(trial, {"epoch": 1, "loss/total": 1.0})
            if value is None:
                study.end(trial, failure="it broke")
                continue
            study.record(trial, {"epoch": 2, "loss/total": 1.0, METRIC: value})
            study.end(trial)
        return study

    return make


def play(study, confirm, tmp_path, work, listeners=()):
    """Run what is due by `work`; returns what went wrong."""
    return run_due(study, due_confirmations(study, confirm), tmp_path, work, listeners)


# Fresh scores by trial: the best single run was a lucky one.
FRESH = {0: 62.0, 2: 58.0, 3: 64.0}


def whole(task, report):
    assert (task.settings.holdout, task.test) == ("validation", False)
    (task.folder / CHECKPOINT).touch()
    report(TrialReport([{"epoch": 1, "loss/total": 2.0, "seconds": 1.0}]))
    score = FRESH[int(task.folder.parent.name)] + task.settings.seed
    report(TrialReport([{"epoch": 2, "loss/total": 1.0, "seconds": 1.0, METRIC: score}]))


def test_the_best_and_the_start_point_run_again_seed_by_seed(finished):
    study = finished(seed=7)
    planned = planned_confirmations(study, TWO)
    assert [(r.index, r.seed) for r in planned] == [(2, 8), (3, 8), (0, 8), (2, 9), (3, 9), (0, 9)]
    assert planned[0].folder == study.trials[2].folder / "confirm-8"
    ours, theirs = study.settings_of(planned[0]).model_dump(), study.settings_of(study.trials[2]).model_dump()
    assert {key: ours[key] for key in ours if ours[key] != theirs[key]} == {"seed": 8}
    assert planned_confirmations(study, None) == []
    assert [r.index for r in planned_confirmations(study, Confirm(top=3, seeds=2))] == [2, 3, 0] * 2  # it is third
    assert planned_confirmations(study, Confirm()) == []  # 4 trials pay for 2 runs


@pytest.mark.parametrize("trials", [8, 12, 16, 20, 40])
@pytest.mark.parametrize("place", [1, 4])
def test_a_start_point_among_the_best_gives_no_seeds_that_were_not_told(finished, request_of, trials, place):
    """Four configurations are planned for, three and the start point; it may be one of the three."""
    start = 70.0 if place == 1 else 30.0
    study = finished((start, *(60.0 - index for index in range(trials - 1))))
    due = planned_confirmations(study, Confirm())
    request = request_of(budget={"trials": trials})
    plan = plan_of(request, *request.open_data())
    assert len({record.seed for record in due}) == min(5, trials // 8) * (trials >= 16)
    assert len({record.index for record in due}) == (3 if place == 1 else 4) * (trials >= 16)
    assert len(due) <= confirmation_count(plan) == 4 * min(5, trials // 8) * (trials >= 16)


def test_a_start_point_that_failed_is_left_out(finished):
    assert [r.index for r in planned_confirmations(finished((None, 40.0, 70.0, 60.0)), TWO)] == [2, 3] * 2


def test_without_a_start_point_the_best_are_confirmed(finished, make_space):
    study = finished(space=make_space(points_to_evaluate=None))
    assert study.start is None
    assert [r.index for r in planned_confirmations(study, TWO)] == [2, 3] * 2


def test_half_as_many_runs_as_the_trials_have_pay_also_where_some_were_stopped(finished):
    study = finished([40.0, *[50.0] * 14, None])
    assert len(planned_confirmations(study, Confirm(top=3))) == 8  # 16 trials pay for 8 runs of 4 configurations
    del study.trials[15]
    assert len(planned_confirmations(study, Confirm(top=3))) == 0
    assert len(planned_confirmations(study, Confirm(top=2))) == 6


def test_the_mean_over_fresh_seeds_ranks(finished, tmp_path):
    study = finished()
    assert [trial.index for trial in study.ranked()] == [2, 3, 0, 1]
    assert play(study, TWO, tmp_path, whole) == []
    assert [trial.index for trial in study.ranked()] == [3, 0, 2, 1]
    assert [trial.index for trial in study.by_own_score()] == [2, 3, 0, 1]
    assert study.confirmed(study.trials[3]) == {1: 65.0, 2: 66.0}
    assert study.confirmed(study.trials[1]) == {}
    assert study.trials[3].tests == {}  # nothing of it is a test score
    assert list(study.folder.glob(f"trials/*/confirm-*/{CHECKPOINT}")) == []
    again = type(study)(study.folder, study.space, study.base, "quick", 4)
    assert [trial.index for trial in again.ranked()] == [3, 0, 2, 1]
    assert play(again, TWO, tmp_path, lambda task, report: pytest.fail("nothing is due")) == []


def test_the_lowest_mean_wins_where_the_metric_is_minimised(finished, make_space, tmp_path):
    study = finished(space=make_space(metric={"name": METRIC, "goal": "minimize"}))
    FRESH[1] = 90.0
    assert play(study, TWO, tmp_path, whole) == []  # trials 1 and 0 are lowest
    assert [trial.index for trial in study.ranked()] == [0, 1, 3, 2]


def test_a_run_that_is_interrupted_goes_on_and_counts_only_at_its_end(finished, tmp_path):
    study = finished()
    record = planned_confirmations(study, TWO)[0]
    record.folder.mkdir()
    record.take({"epoch": 1, "loss/total": 1.0, METRIC: 99.0})
    again = type(study)(study.folder, study.space, study.base, "quick", 4)
    assert again.confirmed(again.trials[2]) == {}
    assert len(due_confirmations(again, TWO)) == 6


def test_a_run_that_fails_for_its_values_is_a_result_and_any_other_failure_is_told(finished, tmp_path):
    study = finished()

    def fails(task, report):
        if task.folder.name == "confirm-1" and task.folder.parent.name == "002":
            report(TrialReport(failure="the loss is nan in epoch 1", kind="Diverged"))
        elif task.folder.name == "confirm-1" and task.folder.parent.name == "003":
            report(TrialReport(failure="no memory", kind="OutOfMemory"))
        else:
            whole(task, report)

    assert play(study, TWO, tmp_path, fails) == ["confirmation of trial-003, seed 1: no memory"]
    assert study.trials[2].confirmations[1].reason == "the loss is nan in epoch 1"
    assert study.confirmed(study.trials[2]) == {2: 60.0}
    assert [trial.index for trial in study.ranked()] == [0, 2, 3, 1]  # one seed confirms nothing


@pytest.mark.parametrize(
    ("confirm", "trials", "runs", "said"),
    [
        ({"top": 3, "seeds": 5}, 40, 20, "then the best 3 and the start point again, with 5 fresh seeds each, 20 runs"),
        (None, 40, 20, "then the best 3 and the start point again, with up to 5 fresh seeds each, up to 20 runs"),
        (None, 16, 8, "then the best 3 and the start point again, with up to 2 fresh seeds each, up to 8 runs"),
        ({"top": 1, "seeds": 2}, 40, 4,
         "then the best trial and the start point again, with 2 fresh seeds each, 4 runs"),
        ({"top": 3, "seeds": 2}, 2, 4, "then the best 2 and the start point again, with 2 fresh seeds each, 4 runs"),
        (None, 8, 0, "none, since half as many runs as 8 trials have do not pay for two fresh seeds of the best 3 "
         "and the start point; write confirm: {seeds: 2} to have it all the same"),
        ("none", 40, 0, None),
    ],
)  # fmt: skip
def test_what_confirms_is_said_beforehand(request_of, confirm, trials, runs, said):
    request = request_of(trials=trials, confirm=confirm, budget=None)
    plan = plan_of(request, *request.open_data())
    assert confirmation_count(plan) == runs
    assert describe_confirmations(plan) == (f"confirm: {said}" if said else "")


def test_the_command_line_has_the_last_word_and_a_resume_keeps_it(typed, resumed):
    plan = new_plan(typed("off", {"confirm": False}))
    keep_plan(plan)
    assert plan.confirm is None
    assert resumed("off").confirm is None
    assert resumed("off", confirm=True).confirm == Confirm()
    plan = new_plan(typed("two", {"confirm": None}))
    assert plan.confirm == Confirm()
    assert resumed("two").confirm == Confirm()
    assert resumed("two", confirm=False).confirm is None


def test_what_has_no_fresh_seeds_is_not_confirmed(typed):
    cells = {"method": "cells", "cells": [{"topk": 8}], "metric": None, "parameters": None, "points_to_evaluate": None}
    seeds = {"parameters": {"seed": {"values": [0, 1]}, "topk": {"values": [8, 16]}}, "points_to_evaluate": None}
    for changes, said in ((cells, "a table runs every cell with every seed"), (seeds, "the seed is searched")):
        with pytest.raises(UsageError, match=f"--confirm: {said}"):
            typed(None, {"confirm": True}, budget=None, **changes)
        assert typed(None, {"confirm": None}, budget=None, **changes).confirm is None
