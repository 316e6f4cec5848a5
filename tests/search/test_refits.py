"""Finalists pretrained again on the whole training set: which, what they cost, what is kept of them."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from cmd_tune.errors import UsageError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.ending import Ending
from cmd_tune.runs.pretrain_and_score import TEST_TALLY, Conditions
from cmd_tune.search.execution import ResourceRequest, TrialReport
from cmd_tune.search.listeners import SearchListener
from cmd_tune.search.plan import keep_plan, new_plan, resumed_plan
from cmd_tune.search.refits import all_tested, describe_refits, due_refits, planned_refits, refit_count
from cmd_tune.search.repeats import run_repeats
from cmd_tune.search.report import StudyFindings, write_report
from cmd_tune.search.request import check_request
from cmd_tune.search.spaces.refit import Refit, read_refit
from cmd_tune.train.loop import CHECKPOINT
from tests.search.local_engine import LocalEngine, run_due

METRIC = "test/knn/fused"
OWN, TWO = Refit(), read_refit({"seeds": [3, 4]})


class Listener(SearchListener):
    def __init__(self):
        self.told = []

    def repeats_opened(self, refits):
        self.told.append([refit.name for refit in refits])

    def repeat_started(self, refit):
        self.told.append(f"{refit.name} starts")

    def repeat_ended(self, refit):
        self.told.append(f"{refit.name} {refit.reason or 'ends'}")

    def repeats_closed(self):
        self.told.append("closed")


@pytest.fixture
def finished(make_space, open_study):
    """A study of four finished trials, of which the third is best, then the fourth and the first; all tested."""

    def make(**settings):
        study = open_study(make_space(), epochs=2, **settings)
        for value in (50.0, 40.0, 70.0, 60.0):
            trial = study.next()
            study.record(trial, {"epoch": 2, "loss/total": 1.0, "val/knn/fused": value})
            study.end(trial)
            study.record_test(trial, {METRIC: value - 1})
        return study

    return make


def play(study, refit, tmp_path, work, listeners=()):
    """Run the refits that are due by `work`; returns what went wrong."""
    return run_due(study, due_refits(study, refit), tmp_path, work, listeners)


def whole(task, report):
    """A refit whose test score is 80 and its seed, on the settings that a refit should have."""
    assert (task.settings.holdout, task.test) == ("none", True)
    report(TrialReport([{"epoch": 1, "loss/total": 2.0, "seconds": 1.0}]))
    report(TrialReport([{"epoch": 2, "loss/total": 1.0, "seconds": 1.0, METRIC: 80.0 + task.settings.seed}]))


def test_the_best_three_are_refit_each_with_every_seed(finished):
    study = finished(seed=7)
    assert [(r.index, r.seed) for r in planned_refits(study, OWN)] == [(2, 7), (3, 7), (0, 7)]
    assert [(r.index, r.seed) for r in planned_refits(study, TWO)] == [(2, 3), (2, 4), (3, 3), (3, 4), (0, 3), (0, 4)]
    assert planned_refits(study, None) == []
    refit = planned_refits(study, OWN)[0]
    assert refit.folder == study.trials[2].folder / "refit-7"
    ours, theirs = study.settings_of(refit).model_dump(), study.settings_of(study.trials[2]).model_dump()
    assert {key: ours[key] for key in ours if ours[key] != theirs[key]} == {"holdout": "none"}


def test_what_held_nothing_out_is_not_refit(make_space, open_study):
    study = open_study(make_space(metric={"name": "loss/total", "goal": "minimize"}), epochs=1, holdout="none")
    trial = study.next()
    study.record(trial, {"epoch": 1, "loss/total": 1.0})
    study.end(trial)
    assert study.finalists(3) == [trial]
    assert planned_refits(study, OWN) == []


def test_test_scores_are_means_over_refits_and_those_before_stand_behind_them(finished, tmp_path):
    study, listener = finished(), Listener()
    assert not all_tested(study, TWO)
    assert all_tested(study, None)
    assert play(study, TWO, tmp_path, whole, [listener]) == []
    assert all_tested(study, TWO)
    best, other = study.trials[2], study.trials[1]
    assert best.tests == {METRIC: 83.5, f"before_refit/{METRIC}": 69.0}
    assert best.score(METRIC) == 83.5
    assert other.tests == {METRIC: 39.0}  # no finalist
    names = [f"refit of trial-00{index}, seed {seed}" for index in (2, 3, 0) for seed in (3, 4)]
    assert listener.told == [names, *(f"{name} {what}" for name in names for what in ("starts", "ends")), "closed"]
    again = type(study)(study.folder, study.space, study.base, "quick", 4)
    assert again.trials[2].tests == best.tests
    assert [len(refit.history) for refit in again.trials[2].refits.values()] == [2, 2]
    assert play(again, TWO, tmp_path, lambda task, report: pytest.fail("nothing is due")) == []


def test_a_refit_that_fails_stops_no_other_and_is_tried_again(finished, tmp_path):
    study, listener = finished(), Listener()

    def second_diverges(task, report):
        if task.folder.parent.name == "003":
            report(TrialReport(failure="the loss is nan in epoch 1; lower learning_rate"))
        else:
            whole(task, report)

    said = "refit of trial-003, seed 0: the loss is nan in epoch 1; lower learning_rate"
    assert play(study, OWN, tmp_path, second_diverges, [listener]) == [said]
    assert [bool(refit.test_scores) for refit in planned_refits(study, OWN)] == [True, False, True]
    assert study.trials[3].tests == {METRIC: 59.0}
    assert play(study, OWN, tmp_path, whole) == []
    assert study.trials[3].tests == {METRIC: 80.0, f"before_refit/{METRIC}": 59.0}


def test_an_engine_that_fails_is_named_and_the_listeners_are_closed(finished, tmp_path):
    class Broken(LocalEngine):
        def run(self, plan, events):
            raise OSError("no cluster")

    study, listener, ending = finished(), Listener(), Ending(tmp_path)
    source = DataSource(tmp_path / "none.arrow", "xview")
    engine = Broken(study.folder, ResourceRequest())
    engine.open(trials=3, given=3)
    run_repeats(study, due_refits(study, OWN), source, engine, engine.plan(source), [listener], ending.attempt)
    assert ending.troubles == [f"refit of trial-00{index}, seed 0: OSError: no cluster" for index in (2, 3, 0)]
    assert listener.told[-1] == "closed"


@pytest.mark.parametrize(
    ("refit", "trials", "holdout", "count", "said"),
    [
        # 3 runs of 640 clips beside 4 of 480; 6 beside 12: 6·640 / (12·480)
        (OWN, 4, "validation", 3, "3 again on all 640, 3 runs: 100 % as much work as 4 whole trials"),
        (TWO, 12, "validation", 6, "3 again on all 640, 6 runs: 67 % as much work as 12 whole trials"),
        (TWO, 12, "validation, 3 seeds", 6, "3 again on all 640, 6 runs: 22 % as much work as 12 whole trials"),
        (OWN, 1, "validation", 1, "1 again on all 640, 1 run: 133 % as much work as 1 whole trial"),
        (OWN, None, "validation", 3, "3 again on all 640, 3 runs"),
        (OWN, 4, "none", 0, ""),
        (None, 4, "validation", 0, ""),
    ],
)  # fmt: skip
def test_what_refits_cost_is_said_beforehand(make_space, tiny, refit, trials, holdout, count, said):
    seeds = 3 if "seeds" in holdout else 1
    holdout = holdout.partition(",")[0]
    space = make_space(seeds=seeds)
    plan = SimpleNamespace(refit=refit, trials=trials, space=space, settings=tiny(holdout=holdout))
    part = SimpleNamespace(gallery_N=np.arange(640))
    split = SimpleNamespace(pretrain_N=np.arange(480 if holdout == "validation" else 640), test=(part,))
    assert refit_count(plan) == count
    assert describe_refits(plan, split) == (f"refit: then the best {said}" if said else "")


def test_reports_show_both_scores_and_name_the_checkpoint(finished, tmp_path):
    study = finished()
    play(study, TWO, tmp_path, whole)
    printed = io.StringIO()
    report = write_report(StudyFindings(study, {}, {}, Conditions("synthetic", "xview", {})))
    Console(file=printed, width=200).print(report.closing)
    assert "83.5 (69.0)" in printed.getvalue()
    assert "pretrained again on the whole training set; in brackets, before that." in " ".join(
        printed.getvalue().split()
    )
    assert report.metrics[f"best/{METRIC}"] == 83.5
    assert report.metrics[f"best/before_refit/{METRIC}"] == 69.0
    assert (study.folder / "best.yaml").read_text().splitlines()[1] == (
        f"# {METRIC} 83.50 after its refit on the whole training set, seed 3, 4: trials/002/refit-3/{CHECKPOINT}; "
        "before the refit 69.00"
    )
    header, *rows = (line.split(",") for line in (study.folder / "trials.csv").read_text().splitlines())
    columns = [header.index(METRIC), header.index(f"before_refit/{METRIC}")]
    assert [[row[column] for column in columns] for row in rows] == [
        ["83.5", "49.0"], ["39.0", ""], ["83.5", "69.0"], ["83.5", "59.0"],
    ]  # fmt: skip
    assert not (study.folder / TEST_TALLY).exists()


def test_a_plan_keeps_its_refit_and_an_earlier_release_had_none(make_space, tiny_store, tmp_path):
    common = {"storage": tmp_path / "runs", "trials": None, "resources": ResourceRequest(), "tracking_uri": None}

    def start(space, **changes):
        options = {"protocol": None, "preset": None, "overrides": ["batch_size=8"], "name": None, **changes}
        return new_plan(check_request(str(space.path), data=tiny_store.path, **options, **common))

    def resume(name, **changes):
        plan = resumed_plan(name, space_name=None, kept_options={}, **changes, **common)
        keep_plan(plan)
        return plan

    assert start(make_space(), name="a").refit == resume("a").refit == OWN
    assert resume("a", refit=False).refit is None
    assert resume("a").refit is None  # what was asked for last
    assert start(make_space(refit={"seeds": [3, 4]}), name="b", refit=False).refit is None
    assert resume("b", refit=True).refit == TWO
    plan_file = tmp_path / "runs" / "a" / "search.yaml"
    plan_file.write_text("".join(line for line in plan_file.open() if not line.startswith("refit")))
    assert resume("a").refit is None
    cells = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
    metric = {"name": METRIC, "goal": "maximize"}
    table = make_space(method="cells", cells=[{"topk": 4}], metric=metric, **cells)
    assert start(table, name="t").refit is None
    with pytest.raises(UsageError, match="--refit: a table selects nothing"):
        start(table, refit=True)
    with pytest.raises(UsageError, match=r"refit: does not go with method cells, whose cells all run to their end"):
        make_space(method="cells", cells=[{"topk": 4}], metric=metric, refit="none", **cells)
