"""Between an engine and the study, with trials that say what a test has them say."""

from pathlib import Path

import pytest

from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.controller import SearchController
from cmd_tune.search.execution import DIED, HUNG, WAIT, ResourcePlan, ResourceRequest, TrialReport, TrialResources
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialState
from cmd_tune.train.loop import CHECKPOINT
from tests.search.local_engine import LocalEngine

UNREAD = TrialReport(failure="data.arrow: no such file", kind="DataError")
DIVERGED = TrialReport(failure="the loss is nan")


def epoch(number, **more):
    return {"epoch": float(number), "loss/total": 1 / number, **more}


def whole(task, report):
    """A trial of three epochs."""
    for number in (1, 2, 3):
        report(TrialReport([epoch(number, **{"val/knn/fused": 50.0 + task.index})]))


@pytest.fixture
def conduct(make_space, open_study, tiny_store, tmp_path):
    """Runs a search in tmp_path / "search": each trial does what `works` has for it in turn, or the last of them.

    Returns the controller, and the numbers of the trials as they were handed out.
    """

    def run(*works, trials=9, listeners=(), **changes):
        study = open_study(make_space(**{"points_to_evaluate": None, "method": "random", **changes}), trials=trials)
        handed_out = []

        def work(task, report):
            mine = works[min(len(handed_out), len(works) - 1)]
            handed_out.append(task.index)
            report(mine) if isinstance(mine, TrialReport) else mine(task, report)

        source = DataSource(tiny_store.path, "xview")
        with LocalEngine(study.folder, ResourceRequest(), work=work).opened(trials=trials, given=0) as engine:
            controller = SearchController(study, source, engine.plan(source), listeners)
            engine.run(controller.resources, controller)
        return controller, handed_out

    return run


def states(controller):
    return [trial.state for trial in controller.study.trials.values()]


def test_trials_run_to_their_end_and_are_in_the_study(conduct):
    controller, handed_out = conduct(whole, trials=3)
    assert handed_out == [0, 1, 2]
    assert states(controller) == [TrialState.FINISHED] * 3
    assert [trial.name for trial in controller.study.ranked()] == ["trial-002", "trial-001", "trial-000"]
    assert controller.trouble == ""


def test_a_task_has_the_values_of_its_trial(conduct):
    tasks = []
    controller, _ = conduct(lambda task, report: (tasks.append(task), whole(task, report)), trials=2)
    for task, trial in zip(tasks, controller.study.trials.values(), strict=True):
        assert (task.index, task.folder) == (trial.index, trial.folder)
        assert task.settings.teacher_temperature == trial.values["teacher_temperature"]
        assert task.resources == controller.resources.per_trial


def test_a_trial_that_the_study_gives_up_is_stopped(conduct):
    """ASHA with two of three going on: the third trial to come is the worst, and ends at the grace period."""
    scores = iter([60.0, 70.0, 10.0])
    said = []

    def work(task, report):
        score = next(scores)
        for number in (1, 2, 3):
            said.append((task.index, number))
            report(TrialReport([epoch(number, **{"val/knn/fused": score})]))

    early = {"type": "asha", "grace_period": 1, "reduction_factor": 2}
    controller, _ = conduct(work, trials=3, early_terminate=early)
    assert states(controller) == [TrialState.FINISHED, TrialState.FINISHED, TrialState.STOPPED]
    assert controller.study.trials[2].reason == "after epoch 1 of 3"
    assert said[-1] == (2, 1)


def test_a_history_that_comes_at_once_is_recorded_as_if_it_had_come_one_by_one(conduct):
    history = [epoch(number) for number in range(1, 4)]
    history[1]["val/knn/fused"] = 50.0
    told = []

    class Listener(SearchListener):
        def reported(self, trial, records):
            told.append(list(records))

    def work(task, report):
        report(TrialReport(history[:1]))
        report(TrialReport(history))
        report(TrialReport(history[2:]))

    controller, _ = conduct(work, trials=1, listeners=[Listener()])
    trial = controller.study.trials[0]
    assert trial.history == history
    assert len((trial.folder / "history.jsonl").read_text().splitlines()) == 3
    assert controller.study._study.trials[0].intermediate_values == {2: 50.0}
    assert told == [history[:1], history[1:], []]


def test_what_is_not_finite_is_not_recorded(conduct):
    def work(task, report):
        report(TrialReport([epoch(1, **{"val/knn/fused": float("nan")})]))

    controller, _ = conduct(work, trials=1)
    assert controller.study.trials[0].history == [epoch(1)]


def test_listeners_are_told_what_happens_in_order(conduct):
    told = []

    class Listener(SearchListener):
        def continued(self):
            told.append("continued")

        def started(self, trial):
            told.append(f"{trial.name} started, {trial.state}")

        def reported(self, trial, records):
            told.append(f"{trial.name} epoch {trial.epoch}")

        def noted(self, text):
            told.append(text)

        def ended(self, trial):
            told.append(f"{trial.name} {trial.state}")

    def work(task, report):
        if len(told) == 2:
            report(TrialReport([epoch(1)], slower="no compiler"))
            raise MemoryError("killed")
        report(TrialReport([epoch(2), epoch(3, **{"val/knn/fused": 50.0})]))

    conduct(work, DIVERGED, trials=2, listeners=[Listener()])
    first = ["trial-000 epoch 1", "trial-000 epoch 3", "trial-000 finished"]
    assert told[:4] == ["continued", "trial-000 started, running", "no compiler", first[0]]
    assert told[4:6] == told[:2]  # again, since its process ended
    assert told[6:] == ["trial-000 failed", "continued", "trial-001 started, running", "trial-001 failed"]


def test_what_cannot_be_written_ends_the_search_and_leaves_its_trial_to_be_resumed(conduct):
    def work(task, report):
        (task.folder / "history.jsonl").mkdir()
        whole(task, report)

    controller, handed_out = conduct(work)
    history = Path(controller.study.trials[0].folder) / "history.jsonl"
    assert controller.trouble == f"{history}: cannot be written: Is a directory"
    assert controller.stop_all()
    assert controller.next_task() is None
    assert (handed_out, states(controller)) == ([0], [TrialState.RUNNING])
    assert "IsADirectoryError" in (controller.study.folder / "errors.log").read_text()

    values = controller.study.trials[0].values
    history.rmdir()
    again, handed_out = conduct(whole, trials=2)
    assert (handed_out, again.study.trials[0].values) == ([0, 1], values)


def test_a_trial_that_nobody_started_ends_the_search_in_order(conduct):
    controller, _ = conduct(whole, trials=1)
    with pytest.raises(KeyError) as caught:
        controller.started(7)
    controller.failed(caught.value)
    assert controller.trouble == f"{controller.study.folder}: KeyError: 7"


def test_three_failures_of_one_kind_in_a_row_end_the_search_and_are_tried_again(conduct):
    def die(task, report):
        raise RuntimeError("the actor died")

    any_share = {"budget": {"trials": 9, "max_failure_rate": 1.0}}
    controller, handed_out = conduct(UNREAD, UNREAD, *[die] * 3, UNREAD, DIVERGED, UNREAD, **any_share)
    assert handed_out == [0, 1, 2, 2, 2, 3, 4, 5, 6, 7]  # a process that dies is started twice more
    assert controller.trouble == "3 trials in a row failed alike, the last since data.arrow: no such file"

    assert [trial.failure for trial in controller.study.trials.values()] == [
        "data", "data", "defect", "data", "values", "data", "data", "data",
    ]  # fmt: skip
    for _ in range(2):  # each once a session; not the trial whose values failed it
        again, handed_out = conduct(UNREAD, **any_share)
        assert handed_out == [0, 1, 2]
        assert again.trouble
    last, handed_out = conduct(whole, **any_share)
    assert handed_out == [0, 1, 2, 3, 5, 6, 7, 8]
    assert [trial.index for trial in last.study.ranked()] == [8, 7, 6, 5, 3, 2, 1, 0]


def test_trials_that_diverge_end_nothing(conduct):
    controller, _ = conduct(DIVERGED, trials=5)
    assert states(controller) == [TrialState.FAILED] * 5
    assert controller.trouble == ""


@pytest.mark.parametrize(
    ("share", "works", "ended", "failed"),
    [
        (0.5, [DIVERGED], 6, 6),  # of ten at least
        (0.0, [whole, whole, DIVERGED], 3, 1),
        (0.25, [whole, DIVERGED], 4, 3),
        (1.0, [DIVERGED], 12, 12),
    ],
)
def test_a_search_of_which_too_many_trials_fail_ends_and_says_why(conduct, share, works, ended, failed):
    budget = {"trials": 12, "max_failure_rate": share}
    controller, handed_out = conduct(*works, trials=12, budget=budget)
    assert (len(handed_out), states(controller).count(TrialState.FAILED)) == (ended, failed)
    if share < 1:
        assert controller.trouble == (
            f"{failed} of {ended} trials have failed, more than budget.max_failure_rate {share:g} allows; "
            f"the last, trial-{ended - 1:03d}: the loss is nan"
        )


def test_a_time_alone_does_not_go_on_failing(conduct):
    controller, handed_out = conduct(DIVERGED, trials=None, budget={"time": "1h"})
    assert len(handed_out) == 6
    assert controller.trouble.startswith("6 of 6 trials have failed")
    _, handed_out = conduct(DIVERGED, trials=None, budget={"time": "1h"})  # counted anew after a resume
    assert handed_out == [6, 7, 8, 9, 10, 11]


def test_a_trial_that_hangs_has_failed_and_is_tried_again(conduct):
    controller, _ = conduct(TrialReport(failure="no report for 1800 s", kind=HUNG), whole, trials=2)
    hung = controller.study.trials[0]
    assert (hung.state, hung.failure, hung.reason) == (TrialState.FAILED, "hung", "no report for 1800 s")
    again, handed_out = conduct(whole, trials=2)
    assert (handed_out, states(again)) == ([0], [TrialState.FINISHED] * 2)


@pytest.mark.parametrize("retry", [False, True])
def test_what_failed_for_its_own_values_runs_again_if_asked_to(make_space, open_study, conduct, retry):
    conduct(DIVERGED, TrialReport(failure="killed", kind=DIED), whole, trials=3)
    space = make_space(points_to_evaluate=None, method="random")
    study = SearchStudy(open_study(space).folder, space, open_study(space).base, "quick", 3, retry_failed=retry)
    handed_out = []
    while trial := study.next():
        handed_out.append(trial.index)
    assert handed_out == ([0, 1] if retry else [1])


def test_a_full_disk_ends_the_search_at_once_and_its_trial_goes_on_later(conduct):
    full = TrialReport(failure="/d/checkpoint.pt: cannot be written: the disk is full", kind="DiskFull")
    controller, handed_out = conduct(whole, full)
    assert (handed_out, controller.disk_full) == ([0, 1], True)
    assert controller.trouble == "/d/checkpoint.pt: cannot be written: the disk is full"
    assert states(controller) == [TrialState.FINISHED, TrialState.RUNNING]
    _, handed_out = conduct(whole, trials=2)
    assert handed_out == [1]


def test_a_history_on_a_full_disk_ends_the_search_at_once(conduct):
    """Of /dev/full, which every write to fails as on a full disk."""

    def work(task, report):
        (task.folder / "history.jsonl").symlink_to("/dev/full")
        whole(task, report)

    controller, handed_out = conduct(work)
    assert (handed_out, controller.disk_full) == ([0], True)
    assert "history.jsonl: cannot be written: the disk is full (" in controller.trouble


def test_values_that_do_not_fit_together_fail_a_trial_before_it_has_a_process(conduct):
    cells = {"method": "cells", "cells": [{"topk": 30}, {"topk": 4}], "parameters": None, "budget": None}
    controller, handed_out = conduct(whole, trials=None, **cells)
    failed, finished = controller.study.trials.values()
    assert (failed.state, finished.state) == (TrialState.FAILED, TrialState.FINISHED)
    assert "topk 30 exceeds queue_size 20" in failed.reason
    assert handed_out == [1]


POINTS = [{"teacher_temperature": 0.05, "student_temperature": value / 10} for value in range(1, 7)]


@pytest.mark.parametrize(("points", "count"), [(6, 6), (1, 2)])
def test_queued_points_take_every_place_and_what_is_learnt_fewer(make_space, open_study, tiny_store, points, count):
    """Counts what is handed out before any trial reports."""
    space = make_space(points_to_evaluate=POINTS[:points], budget={"trials": 12})
    layout = ResourcePlan(TrialResources(1, 1.0, 0.0, 1), concurrent=8, learning=2)
    controller = SearchController(open_study(space, trials=12), DataSource(tiny_store.path, "xview"), layout)
    assert [controller.next_task().index for _ in range(count)] == list(range(count))
    assert controller.next_task() == WAIT


def test_a_trial_that_ends_keeps_one_checkpoint_and_one_that_is_tried_again_both(conduct):
    """A trial that is stopped is ended from outside, and leaves what its process had written."""

    def leave_two(task, report):
        for name in ("checkpoint.pt", "checkpoint-before.pt"):
            (task.folder / name).write_text(name)
        report(UNREAD) if task.index == 1 else whole(task, report)

    controller, _ = conduct(leave_two, trials=2)
    files = [sorted(path.name for path in trial.folder.glob("*.pt")) for trial in controller.study.trials.values()]
    assert states(controller) == [TrialState.FINISHED, TrialState.FAILED]
    assert files == [["checkpoint.pt"], ["checkpoint-before.pt", "checkpoint.pt"]]


def over_seeds(*scores):
    """Trials of one epoch: of each seed its score, whatever the values."""

    def work(task, report):
        (task.folder / CHECKPOINT).touch()
        report(TrialReport([epoch(number, **{"val/knn/fused": scores[task.settings.seed]}) for number in (1, 2, 3)]))

    return work


def test_a_trial_of_several_seeds_is_their_mean(conduct):
    tasks = []

    def work(task, report):
        tasks.append((task.index, task.settings.seed, str(task.folder.relative_to(task.folder.parents[1]))))
        over_seeds(50.0, 60.0, 64.0)(task, report)

    controller, _ = conduct(work, trials=2, seeds=3)
    study = controller.study
    assert tasks[:3] == [(0, 0, "trials/000"), (0, 1, "000/seed-1"), (0, 2, "000/seed-2")]
    assert [task[:2] for task in tasks[3:]] == [(1, 0), (1, 1), (1, 2)]
    assert states(controller) == [TrialState.FINISHED] * 2
    assert [trial.score("val/knn/fused") for trial in study.trials.values()] == [58.0, 58.0]
    assert [frozen.value for frozen in study._study.trials] == [58.0, 58.0]
    assert study._study.trials[0].intermediate_values == {1: 50.0, 2: 50.0, 3: 50.0}  # by epoch, of the first seed
    assert [trial.epochs_run for trial in study.trials.values()] == [9, 9]
    assert [path.parent.name for path in sorted(study.folder.glob(f"trials/**/{CHECKPOINT}"))] == ["000", "001"]


def test_a_seed_that_fails_fails_its_trial(conduct):
    def work(task, report):
        report(DIVERGED) if task.settings.seed == 1 else whole(task, report)

    controller, handed_out = conduct(work, trials=2, seeds=3)
    assert states(controller) == [TrialState.FAILED] * 2
    assert handed_out == [0, 0, 1, 1]
    assert controller.study.ranked() == []


def test_a_trial_that_was_interrupted_goes_on_with_the_seed_it_had_come_to(conduct):
    class Stopped(SearchListener):
        def started(self, run):
            if run.name == "trial-000, seed 1":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conduct(over_seeds(50.0, 60.0, 64.0), trials=2, seeds=3, listeners=[Stopped()])
    seeds = []

    def work(task, report):
        seeds.append((task.index, task.settings.seed))
        over_seeds(50.0, 60.0, 64.0)(task, report)

    controller, _ = conduct(work, trials=2, seeds=3)
    assert seeds == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [trial.score("val/knn/fused") for trial in controller.study.ranked()] == [58.0, 58.0]


def test_a_trial_that_early_stopping_ends_has_one_seed(conduct):
    scores = iter([60.0, 61.0, 70.0, 71.0, 10.0])

    def work(task, report):
        score = next(scores)
        for number in (1, 2, 3):
            report(TrialReport([epoch(number, **{"val/knn/fused": score})]))

    early = {"type": "asha", "grace_period": 1, "reduction_factor": 2}
    controller, handed_out = conduct(work, trials=3, early_terminate=early, seeds=2)
    assert handed_out == [0, 0, 1, 1, 2]
    assert controller.study.trials[2].reason == "after epoch 1 of 6"


def test_wilcoxon_ends_a_trial_between_seeds(conduct):
    """Of four seeds all are worse than the best trial's: p is 1/16."""
    tasks = []

    def work(task, report):
        tasks.append(task.index)
        score = (70.0 if task.index == 0 else 60.0) + task.settings.seed
        report(TrialReport([epoch(number, **{"val/knn/fused": score}) for number in (1, 2, 3)]))

    controller, _ = conduct(work, trials=2, early_terminate={"type": "wilcoxon"}, seeds=6)
    assert tasks == [0] * 6 + [1] * 4
    assert states(controller) == [TrialState.FINISHED, TrialState.STOPPED]
    assert controller.study._study.trials[0].intermediate_values == {n: 69.0 + n for n in range(1, 7)}
