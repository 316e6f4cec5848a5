"""The path from the start point to the best trial: what runs of it, once over kills and resumes, and ranks nothing."""

import json

import pytest

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.search.ablations import ablation_count, describe_ablation, describe_path, due_ablations, path_of
from cmd_tune.search.execution import TrialReport
from cmd_tune.search.plan import keep_plan, new_plan, plan_of
from cmd_tune.search.spaces.ablation import Ablation
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState
from cmd_tune.train.loop import CHECKPOINT
from tests.search.local_engine import run_due
from tests.search.played import confirm

METRIC = "val/knn/fused"
AUTO, TWO = Ablation(), Ablation(seeds=2)
PARAMETERS = {
    "queue_size": {"values": [16, 32, 64]},
    "topk": {"values": [4, 8, 16]},
    "key_momentum": {"values": [0.9, 0.99]},
}
START = {"queue_size": 16, "topk": 4, "key_momentum": 0.9}
BEST = {"queue_size": 64, "topk": 16, "key_momentum": 0.99}


@pytest.fixture
def finished(make_space, open_study):
    """A study of the start point, trial-000, and of the best, trial-001, both confirmed with these scores by seed."""

    def make(start=(), best=()):
        space = {"parameters": PARAMETERS, "points_to_evaluate": [START, BEST], "budget": {"trials": 20}}
        study = open_study(make_space(**space, method="random"), trials=20, epochs=2, seed=7)
        for score, fresh in ((50.0, start), (60.0, best)):
            trial = study.next()
            study.record(trial, {"epoch": 2, "loss/total": 1.0, METRIC: score})
            study.end(trial)
            confirm(study, trial, dict(enumerate(fresh, 8)))
        return study

    return make


def again(study):
    """The study as the next session opens it."""
    return SearchStudy(study.folder, study.space, study.base, study.preset, study.budget)


def play(study, asked, tmp_path, work):
    return run_due(study, due_ablations(study, asked), tmp_path, work)


class Work:
    """Runs to a score of 50, 3 more with the best queue, 4 more with the best topk, and 3 more with its momentum."""

    def __init__(self, fails=None):
        self.ran, self.fails = [], fails or {}

    def __call__(self, task, report):
        self.ran.append(task.folder.name)
        assert (task.settings.holdout, task.test) == ("validation", False)
        (task.folder / CHECKPOINT).touch()
        report(TrialReport([{"epoch": 1, "loss/total": 2.0, "seconds": 1.0}]))
        if task.folder.name in self.fails:
            report(self.fails[task.folder.name])
            return
        score = 50.0 + 3 * (task.settings.queue_size == 64) + 4 * (task.settings.topk == 16)
        score += 3 * (task.settings.key_momentum == 0.99) + task.settings.seed / 100
        report(TrialReport([{"epoch": 2, "loss/total": 1.0, "seconds": 1.0, METRIC: score}]))


FRESH = ([50.1, 50.0], [60.0, 60.1])


def test_all_between_the_ends_runs_seed_by_seed_with_the_seeds_of_the_confirmation(finished, tmp_path):
    study = finished([50.1, 50.0, 50.2], [60.0, 60.1, 60.2])
    # 2 trials pay for no path, and as many seeds as the confirmation has are asked for.
    due = due_ablations(study, Ablation(seeds=3))
    assert [(run.number, run.seed) for run in due] == [(1, 8), (2, 8), (1, 9), (2, 9), (1, 10), (2, 10)]
    first, second = (study.settings_of(run) for run in due[:2])
    assert (first.queue_size, first.topk, first.key_momentum, first.seed) == (64, 4, 0.9, 8)
    assert (second.queue_size, second.topk, second.key_momentum) == (64, 16, 0.9)
    assert due[0].folder == study.trials[1].folder / "ablation-1-8"
    assert due[0].name == "ablation step 1 to trial-001, seed 8"
    assert due_ablations(study, None) == due_ablations(study, AUTO) == []
    for index in range(2, 20):
        study.trials[index] = TrialRecord(index, {}, study.folder / f"{index}", TrialState.STOPPED)
    assert [(run.number, run.seed) for run in due_ablations(study, AUTO)] == [(run.number, run.seed) for run in due]


def test_ends_that_the_confirmation_has_not_run_run_with_the_rest_and_rank_nothing(finished, tmp_path):
    study, work = finished([50.0]), Work()
    assert play(study, TWO, tmp_path, work) == []
    assert work.ran == [f"ablation-{n}-{seed}" for seed, ns in ((8, (1, 2, 3)), (9, (0, 1, 2, 3))) for n in ns]
    assert [trial.index for trial in study.ranked()] == [1, 0]
    assert study.confirmed(study.trials[1]) == {}
    path = path_of(study, TWO)
    assert [list(step.scores.values()) for step in path.steps] == [
        [50.0, 50.09], [53.08, 53.09], [57.08, 57.09], [60.08, 60.09],
    ]  # fmt: skip
    assert list(study.folder.glob(f"trials/*/ablation-*/{CHECKPOINT}")) == []
    assert describe_path(path) == (
        "ablation: from the start point (trial-000) to trial-001: queue_size, then topk, then key_momentum"
    )


def test_a_kill_in_the_middle_costs_nothing_that_has_run(finished, tmp_path):
    study = finished(*FRESH)

    class Killed(BaseException):
        pass

    def killed(task, report):
        if task.folder.name == "ablation-2-8":
            report(TrialReport([{"epoch": 1, "loss/total": 2.0, "seconds": 1.0}]))
            raise Killed
        Work()(task, report)

    with pytest.raises(Killed):
        play(study, TWO, tmp_path, killed)
    study, work = again(study), Work()
    assert [run.epoch for run in study.trials[1].ablations] == [2, 1]
    assert play(study, TWO, tmp_path, work) == []
    assert work.ran == ["ablation-2-8", "ablation-1-9", "ablation-2-9"]
    study = again(study)
    assert due_ablations(study, TWO) == []
    assert path_of(study, TWO).missing == 0
    assert [len(run.history) for run in study.trials[1].ablations] == [2] * 4


def test_a_kill_before_anything_of_a_run_is_written_leaves_it_due(finished):
    study = finished(*FRESH)
    (study.trials[1].folder / "ablation-1-8").mkdir()
    study = again(study)
    assert study.trials[1].ablations == []
    assert due_ablations(study, TWO)[0].folder.name == "ablation-1-8"


def test_what_fails_for_its_values_is_a_result_also_in_the_next_session_and_any_other_failure_is_told(
    finished, tmp_path
):
    fails = {
        "ablation-1-8": TrialReport(failure="the loss is nan in epoch 2", kind="Diverged"),
        "ablation-2-8": TrialReport(failure="no memory", kind="OutOfMemory"),
    }
    study = finished(*FRESH)
    assert play(study, TWO, tmp_path, Work(fails)) == ["ablation step 2 to trial-001, seed 8: no memory"]
    study = again(study)
    assert [path.parent.name for path in study.folder.glob(f"trials/*/*/{CHECKPOINT}")] == ["ablation-2-8"]
    path = path_of(study, TWO)
    assert path.steps[1].failed == [8]
    assert [run.folder.name for run in due_ablations(study, TWO)] == ["ablation-2-8"]
    (failed,) = (run for run in study.trials[1].ablations if run.failed_by_values)
    assert failed.reason == "the loss is nan in epoch 2"
    retried = SearchStudy(study.folder, study.space, study.base, study.preset, study.budget, retry_failed=True)
    assert [run.folder.name for run in due_ablations(retried, TWO)] == ["ablation-1-8", "ablation-2-8"]


def test_runs_of_an_earlier_path_are_kept_apart_from_those_of_another(finished, tmp_path):
    study = finished(*FRESH)
    assert play(study, Ablation(seeds=1), tmp_path, Work()) == []
    best = study.trials[1]
    other = best.ablation(1, {**START, "topk": 16}, 8)
    assert (other.number, other.folder.name) == (3, "ablation-3-8")  # 1 and 2 are given away
    assert best.ablation(1, {**START, "topk": 16}, 9).number == 3
    assert best.ablation(7, {**START, "queue_size": 64}, 8).number == 1
    other.keep()
    other.take({"epoch": 2, METRIC: 1.0})
    found = again(study).trials[1].ablations
    assert [run.values for run in found] == [run.values for run in best.ablations if run.history]


def test_a_damaged_step_is_said_in_one_line(finished, tmp_path):
    study = finished(*FRESH)
    assert play(study, Ablation(seeds=1), tmp_path, Work()) == []
    path = study.trials[1].folder / "ablation-1-8" / "step.json"
    assert json.loads(path.read_text()) == {
        "values": {**BEST, "topk": 4, "key_momentum": 0.9, "seed": 8},
        "failure": "",
    }
    path.write_text('{"values"')
    with pytest.raises(
        CmdTuneError, match=r"step.json: has no values of a run; remove its folder to have it run again$"
    ):
        again(study)


PATH = "then the path from the start point to the best trial, one parameter changed after the other, up to"


@pytest.mark.parametrize(
    ("changes", "runs", "said"),
    [
        ({"trials": 40}, 5, f"{PATH} 5 runs, if the fresh seeds tell the two apart"),  # 2 parameters, 5 seeds
        ({"trials": 16}, 2, f"{PATH} 2 runs, if the fresh seeds tell the two apart"),
        ({"trials": 8}, 0, None),  # no confirmation, and nothing tells
        ({"trials": 40, "confirm": "none"}, 0, None),
        ({"trials": 40, "ablation": "none"}, 0, None),
        ({"trials": 40, "points_to_evaluate": None}, 0, None),
        ({"trials": 40, "ablation": {"seeds": 3}}, 3, f"{PATH} 3 runs"),
        ({"trials": 40, "ablation": {"seeds": 7}}, 11, f"{PATH} 11 runs"),  # both ends with two seeds more
        ({"trials": 8, "ablation": {"seeds": 2}}, 6, f"{PATH} 6 runs"),
        ({"trials": 8, "confirm": {"top": 1, "seeds": 5}}, 0, None),  # 4 runs pay for no configuration with 5 seeds
    ],
)
def test_what_the_path_takes_is_said_beforehand(request_of, changes, runs, said):
    request = request_of(**{"budget": None, **changes})
    plan = plan_of(request, *request.open_data())
    assert ablation_count(plan) == runs
    assert describe_ablation(plan) == (f"ablation: {said}" if said else "")


def test_what_counts_beside_other_values_alone_takes_no_step_of_its_own(request_of):
    spec = {"objective": {"values": ["mcl", "cmd"]}, "layers": {"values": [1, 2]},
            "topk": {"values": [8, 16], "when": "objective == 'cmd'"},
            "distill_weight": {"min": 0.5, "max": 1.0, "when": "objective == 'cmd'"}}  # fmt: skip
    start = {"objective": "mcl", "layers": 1}
    request = request_of(parameters=spec, points_to_evaluate=[start], budget=None, trials=40)
    assert ablation_count(plan_of(request, *request.open_data())) == 5  # one between, with five seeds
    start |= {"objective": "cmd", "topk": 8, "distill_weight": 0.5}
    request = request_of(parameters=spec, points_to_evaluate=[start], budget=None, trials=40)
    assert ablation_count(plan_of(request, *request.open_data())) == 15


def test_the_command_line_has_the_last_word_and_a_resume_keeps_it(typed, resumed):
    plan = new_plan(typed("off", {"ablation": False}))
    keep_plan(plan)
    assert plan.ablation is None
    assert resumed("off").ablation is None
    assert resumed("off", ablation=True).ablation == AUTO
    plan = new_plan(typed("two", {"ablation": None}))
    assert plan.ablation == AUTO
    assert resumed("two", ablation=False).ablation is None
    plan = new_plan(typed("three", {"ablation": True}, confirm="none"))
    assert resumed("three").ablation == AUTO


def test_what_has_no_start_point_or_no_fresh_seeds_has_no_path(typed):
    cells = {"method": "cells", "cells": [{"topk": 8}], "metric": None, "parameters": None, "points_to_evaluate": None}
    seeds = {"parameters": {"seed": {"values": [0, 1]}, "topk": {"values": [8, 16]}}, "points_to_evaluate": None}
    for changes, said in (
        (cells, "a table compares its cells"),
        (seeds, "the seed is searched"),
        ({"points_to_evaluate": None}, "there is no start point"),
    ):
        with pytest.raises(UsageError, match=f"--ablation: {said}"):
            typed(None, {"ablation": True}, budget=None, **changes)
        assert typed(None, {"ablation": None}, budget=None, **changes).ablation is None
