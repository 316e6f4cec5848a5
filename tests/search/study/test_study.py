"""The study of a search: what comes next, what is entered, what another process finds."""

import re
import shutil
import sqlite3
import time

import pytest
from optuna.trial import TrialState as OptunaState

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.request import read_space
from cmd_tune.search.spaces import region
from cmd_tune.search.spaces.space_file import find_space
from cmd_tune.search.study.optuna_values import distributions
from cmd_tune.search.study.study import SearchStudy
from cmd_tune.search.study.trial_record import TrialState
from tests.odd_names import ALL


def record(epoch, value=None):
    return {"epoch": epoch, "loss/total": 1.0 / epoch} | ({} if value is None else {"val/knn/fused": value})


def play(study, trial, values, start=1):
    """Enter one epoch a value; stops where the study says so. Returns the epochs entered."""
    for epoch, value in enumerate(values, start):
        study.record(trial, record(epoch, value))
        if study.should_stop(trial):
            return epoch
    return start + len(values) - 1


def states(study):
    """Optuna's own account, by number."""
    trials = study._study.get_trials(deepcopy=False)
    return {t.number: t.state for t in trials}


def test_a_cells_value_is_its_test_score(make_space, open_study):
    """Which its last report has; a comparison selects nothing."""
    table = make_space(
        method="cells", cells=[{"topk": 4}], parameters=None, points_to_evaluate=None, budget=None,
        metric={"name": "test/knn/fused", "goal": "maximize"},
    )  # fmt: skip
    study = open_study(table, trials=None, epochs=2, holdout="none")
    trial = study.next()
    study.record(trial, record(1))
    study.record(trial, {**record(2), "test/knn/fused": 61.5, "test/knn/joint": 50.0})
    study.end(trial)
    assert trial.state is TrialState.FINISHED
    assert study._study.trials[0].value == trial.score("test/knn/fused") == 61.5
    assert trial.history == [record(1), record(2)]
    again = open_study(table, trials=None, epochs=2, holdout="none").trials[0]
    assert again.test_scores == {"test/knn/fused": 61.5, "test/knn/joint": 50.0}
    assert (again.state, again.history) == (TrialState.FINISHED, trial.history)


def test_the_start_point_comes_first_and_the_budget_ends_it(make_space, open_study):
    study = open_study(make_space(), trials=3)
    trials = [study.next() for _ in range(3)]
    assert trials[0].values == {"teacher_temperature": 0.05, "student_temperature": 0.1}
    assert [trial.index for trial in trials] == [0, 1, 2]
    assert len({tuple(trial.values.values()) for trial in trials}) == 3
    assert study.next() is None


def test_the_same_seed_suggests_the_same_trials_and_another_seed_others(make_space, open_study, tmp_path):
    values = []
    for seed in (0, 0, 1):
        study = open_study(make_space(), trials=3, seed=seed)
        values.append([study.next().values for _ in range(3)])
        shutil.rmtree(tmp_path / "search")
    assert values[0] == values[1]
    assert values[0][0] == values[2][0]  # the start point
    assert values[0][1:] != values[2][1:]


def test_the_sampler_learns_once_what_was_given_has_been_handed_out(make_space, open_study):
    points = [{"teacher_temperature": 0.05, "student_temperature": value} for value in (0.1, 0.2)]
    study = open_study(make_space(points_to_evaluate=points), trials=4)
    learns = []
    for _ in range(4):
        learns.append(study.learns())
        study.next()
    assert learns == [False, False, True, True]
    again = open_study(make_space(points_to_evaluate=points), trials=5)  # four unfinished trials are handed out first
    for _ in range(4):
        assert not again.learns()
        again.next()
    assert again.learns()


def test_random_draws_learn_nothing(make_space, open_study):
    study = open_study(make_space(method="random"))
    for _ in range(3):
        study.next()
        assert not study.learns()


def test_no_suggestion_breaks_a_constraint(make_space, open_study):
    space = make_space(
        method="random",
        parameters={"queue_size": {"values": [16, 32, 64, 128]}, "topk": {"values": [16, 32, 64, 128]}},
        constraints=["topk <= queue_size"],
        points_to_evaluate=None,
    )
    study = open_study(space, trials=100)
    pairs = []
    while (trial := study.next()) is not None:
        pairs.append((trial.values["topk"], trial.values["queue_size"]))
    # All ten pairs that are allowed, each once; then there is nothing left to try.
    assert sorted(pairs) == [(t, q) for t in (16, 32, 64, 128) for q in (16, 32, 64, 128) if t <= q]


def run_all(study, score):
    """Runs every trial that the study has; each one's last epoch has the score of its values. Returns those values."""
    run = []
    while (trial := study.next()) is not None:
        study.record(trial, record(study.epochs_of(trial), score(trial.values)))
        study.end(trial)
        run.append(trial.values)
    return run


NINE = {"key_momentum": {"values": [0.9, 0.97, 0.99]}, "layers": {"values": [1, 2, 3]}}


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_finite_space_is_run_whole_and_then_said_to_be(make_space, open_study, method):
    space = make_space(method=method, parameters=NINE, points_to_evaluate=[{"key_momentum": 0.97, "layers": 3}])
    study = open_study(space, trials=9)
    run = run_all(study, lambda values: values["key_momentum"])
    pairs = {(values["key_momentum"], values["layers"]) for values in run}
    assert len(run) == len(pairs) == 9
    assert run[0] == {"key_momentum": 0.97, "layers": 3}
    assert study.shortfall == ""
    more = open_study(space, trials=12)
    assert more.next() is None
    assert more.shortfall == "all 9 configurations that the space allows have been run"


def test_a_finite_space_is_run_whole_over_sessions_beside_what_waits_in_optuna(make_space, open_study):
    space = make_space(parameters=NINE, constraints=["layers < 3 or key_momentum > 0.9"], points_to_evaluate=None)
    study = open_study(space, trials=20)
    for point in ({"key_momentum": 0.9, "layers": 3}, {"key_momentum": 0.9, "layers": 1}, {"layers": 2}):
        study._study.enqueue_trial(point)  # as optuna-dashboard and scripts do: not allowed; whole; a part
    first = study.next()
    assert first.values == {"key_momentum": 0.9, "layers": 1}
    for _ in range(3):
        study.next()
    again = open_study(space, trials=20)
    run = run_all(again, lambda values: values["layers"])
    assert sorted((values["layers"], values["key_momentum"]) for values in run) == [
        (1, 0.9), (1, 0.97), (1, 0.99), (2, 0.9), (2, 0.97), (2, 0.99), (3, 0.97), (3, 0.99),
    ]  # fmt: skip
    assert again.shortfall == "all 8 configurations that the space allows have been run"


def test_a_search_whose_best_lies_at_a_constraint_runs_to_its_budget(make_space, open_study):
    """Of the shipped space: small topk is bad, so that TPE is drawn to where topk exceeds queue_size."""
    shipped = read_space(find_space("queue_momentum"))
    study = open_study(shipped, trials=24, seed=1)
    run = run_all(study, lambda values: values["topk"] - values["queue_size"] / 100)
    assert len(run) == 24
    assert all(values["topk"] <= values["queue_size"] for values in run)
    trials = study._study.trials
    told = [params for trial in trials for params in trial.user_attrs.get("not_allowed", ())]
    assert 0 < len(told) <= 24
    assert all(params["topk"] * 16 > params["queue_size"] * 64 for params in told)
    assert [trial.number for trial in trials] == [trial.index for trial in study.trials.values()] == list(range(24))
    best = study.ranked()[0]
    assert (study._study.best_trial.number, study._study.best_params) == (best.index, best.values)


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_narrow_region_is_searched_to_the_budget(make_space, open_study, method):
    space = make_space(
        method=method,
        parameters={
            "learning_rate": {"distribution": "uniform", "min": 1e-4, "max": 1.0},
            "weight_decay": {"distribution": "uniform", "min": 0, "max": 1},
            "layers": {"values": [1, 2, 3]},
        },
        constraints=["learning_rate < 0.01", "weight_decay < 0.01", "layers == 2"],  # 1 in 30,000
        points_to_evaluate=None,
    )
    study = open_study(space, trials=3)
    assert len(run_all(study, lambda values: values["learning_rate"])) == 3


def test_where_no_draw_is_new_the_search_ends_and_says_so(make_space, open_study, monkeypatch):
    space = make_space(
        parameters={
            "teacher_temperature": {"distribution": "uniform", "min": 0.01, "max": 1},
            "student_temperature": {"distribution": "uniform", "min": 0.01, "max": 1},
        },
        constraints=["student_temperature == 2 * teacher_temperature"],
    )
    monkeypatch.setattr(region, "MOST_DRAWS", 300)
    study = open_study(space)
    assert len(run_all(study, lambda values: 50.0)) == 1  # the start point
    assert re.fullmatch(r"of \d+ configurations drawn, none that the space allows is new", study.shortfall)


def test_a_grid_is_run_whole_and_in_order(make_space, open_study):
    space = make_space(
        method="grid",
        parameters={"teacher_temperature": {"values": [0.01, 0.05]}, "key_momentum": {"values": [0.9, 0.99, 0.999]}},
        points_to_evaluate=None,
        budget=None,
    )
    study = open_study(space, trials=6)
    cells = [tuple(study.next().values.values()) for _ in range(6)]
    assert cells == [(t, m) for t in (0.01, 0.05) for m in (0.9, 0.99, 0.999)]
    assert study.next() is None
    assert study.shortfall == "every cell has been run"


def test_a_grid_goes_on_where_it_was_and_a_budget_cuts_it(make_space, open_study):
    space = make_space(method="grid", parameters=NINE, points_to_evaluate=None, budget=None)
    first = [tuple(open_study(space, trials=9).next().values.values())]
    study = open_study(space, trials=5)
    assert first + [tuple(values.values()) for values in run_all(study, lambda values: 1.0)[1:]] == [
        (0.9, 1), (0.9, 2), (0.9, 3), (0.97, 1), (0.97, 2),
    ]  # fmt: skip
    assert study.shortfall == ""


def test_ends_are_told_to_optuna_as_what_they_are(make_space, open_study):
    study = open_study(make_space())
    finished, stopped, failed = (study.next() for _ in range(3))
    play(study, finished, [10, 20, 30])  # the tiny settings have three epochs
    study.end(finished)
    play(study, stopped, [10])
    study.end(stopped)
    play(study, failed, [50])
    study.end(failed, failure="the loss is nan in epoch 2")
    assert [trial.state for trial in (finished, stopped, failed)] == [
        TrialState.FINISHED,
        TrialState.STOPPED,
        TrialState.FAILED,
    ]
    assert states(study) == {0: OptunaState.COMPLETE, 1: OptunaState.PRUNED, 2: OptunaState.FAIL}
    assert study._study.best_value == 30
    assert [trial.reason for trial in (finished, stopped)] == ["", "after epoch 1 of 3"]
    assert [trial.index for trial in study.finalists(3)] == [0]


def test_only_a_last_epoch_is_ranked(make_space, open_study):
    """The best values of all are an early-stopped trial's, a failed one's, and one's that still runs."""
    study = open_study(make_space())
    finished, stopped, failed, running = (study.next() for _ in range(4))
    play(study, finished, [90, 20, 30])
    study.end(finished)
    for trial in (stopped, failed, running):
        play(study, trial, [99])
    study.end(stopped)
    study.end(failed, failure="out of memory")
    assert [trial.index for trial in study.ranked()] == [0]
    assert [trial.index for trial in study.finalists(3)] == [0]
    assert [trial.index for trial in study.stopped()] == [1]
    again = open_study(make_space())
    assert [trial.index for trial in again.ranked()] == [0]
    assert again.trials[1].reason == "after epoch 1 of 3"


def test_an_earlier_score_is_not_the_last_epochs(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    play(study, trial, [99, 99, None])
    study.end(trial)
    assert (trial.state, trial.reason) == (TrialState.FAILED, "it never reported val/knn/fused at its last epoch")


def test_minimising_ranks_the_other_way_round(make_space, open_study):
    study = open_study(make_space(metric={"name": "loss/total", "goal": "minimize"}))
    for loss in (3.0, 1.0, 2.0):
        trial = study.next()
        for epoch in (1, 2, 3):
            study.record(trial, {"epoch": epoch, "loss/total": loss})
        study.end(trial)
    assert [trial.index for trial in study.ranked()] == [1, 2, 0]
    assert study._study.best_value == 1.0


def test_an_epoch_is_entered_once(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    assert [study.record(trial, record(epoch, epoch)) for epoch in (1, 2, 1, 2, 3)] == [True, True, False, False, True]
    assert [line["epoch"] for line in trial.history] == [1, 2, 3]
    assert (trial.folder / "history.jsonl").read_text().count("\n") == 3


def test_a_finished_trial_without_the_metric_has_failed(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    play(study, trial, [None, None, None])
    study.end(trial)
    assert trial.state is TrialState.FAILED
    assert trial.reason == "it never reported val/knn/fused"


def test_another_process_finds_everything_and_goes_on_with_what_was_running(make_space, open_study):
    space = make_space()
    study = open_study(space)
    done, running = study.next(), study.next()
    play(study, done, [1, 2, 3])
    study.end(done)
    study.record_test(done, {"test/knn/fused": 77.5})
    play(study, running, [4, 5])
    del study  # as a kill would leave it: nothing closed

    again = open_study(space)
    assert again.trials[0].state is TrialState.FINISHED
    assert again.trials[0].history == done.history
    assert again.trials[0].test_scores == {"test/knn/fused": 77.5}
    first = again.next()
    assert (first.index, first.values, first.epoch) == (1, running.values, 2)
    assert [again.record(first, record(epoch, 6)) for epoch in (1, 2, 3)] == [False, False, True]
    again.end(first)
    later = [again.next(), again.next()]
    assert [trial.index for trial in later] == [2, 3]
    assert again.next() is None
    assert states(again) == {
        0: OptunaState.COMPLETE, 1: OptunaState.COMPLETE, 2: OptunaState.RUNNING, 3: OptunaState.RUNNING,
    }  # fmt: skip
    values = [tuple(trial.values.values()) for trial in again.trials.values()]
    assert len(set(values)) == 4  # a reopened sampler does not repeat its first draws


def test_what_a_kill_left_between_history_and_optuna_is_made_up_for(make_space, open_study):
    space = make_space()
    study = open_study(space)
    trial = study.next()
    play(study, trial, [4])
    history = trial.folder / "history.jsonl"
    whole = history.read_text()
    history.write_text(whole + '{"epoch": 2, "val/knn/fused": 5.0}\n' + '{"epoch": 3, "val/kn')  # cut short

    again = open_study(space)
    assert [line["epoch"] for line in again.trials[0].history] == [1, 2]
    trial = again.next()
    assert again._study.trials[0].intermediate_values == {1: 4.0, 2: 5.0}
    again.record(trial, record(3, 6.0))
    assert [line["epoch"] for line in open_study(space).trials[0].history] == [1, 2, 3]


def test_a_start_point_that_was_asked_for_but_never_entered_waits_again(make_space, open_study):
    space = make_space()
    study = open_study(space)
    study._study.enqueue_trial({"teacher_temperature": 0.05, "student_temperature": 0.1})
    study._study.ask(distributions(space))  # killed here, before the study had it: a release before 0.2
    again = open_study(space)
    trial = again.next()
    assert trial.values == {"teacher_temperature": 0.05, "student_temperature": 0.1}


def test_asha_keeps_the_best_third_of_each_rung(make_space, open_study):
    space = make_space(early_terminate={"type": "asha", "grace_period": 2, "reduction_factor": 3}, method="random")
    study = open_study(space, trials=9, epochs=8)
    last = {}
    for value in (50, 40, 60, 55, 70, 10, 80, 65, 90):
        trial = study.next()
        last[value] = play(study, trial, [value] * 8)
        study.end(trial)
    # By hand: rungs at epochs 2 and 6. Of the n values that came to a rung so far, the best ⌊n/3⌋ (at least one) go on.
    assert last == {50: 8, 40: 2, 60: 8, 55: 2, 70: 8, 10: 2, 80: 8, 65: 2, 90: 8}
    assert [trial.state for trial in study.trials.values()].count(TrialState.STOPPED) == 4


def test_asha_remembers_its_rungs_across_processes(make_space, open_study):
    space = make_space(early_terminate={"type": "asha", "grace_period": 1, "reduction_factor": 2}, method="random")
    study = open_study(space, trials=3)
    play(study, first := study.next(), [90, 90, 90])
    study.end(first)
    again = open_study(space, trials=3)
    assert play(again, again.next(), [10, 10, 10]) == 1


def test_time_ends_running_trials_and_starts_no_more(make_space, open_study):
    before = time.monotonic()
    study = open_study(make_space(budget={"trials": 4, "time": 3600}))
    assert before + 3600 <= study.deadline <= time.monotonic() + 3600
    trial = study.next()
    study.record(trial, record(1, 10))
    assert not study.should_stop(trial)
    study.deadline = time.monotonic()  # the hour is over
    assert study.should_stop(trial)
    assert study.next() is None
    assert study.shortfall == "the time is up"
    study.record(trial, record(2, 10))
    study.record(trial, record(3, 10))
    assert not study.should_stop(trial)  # it is at its last epoch: finished, not stopped


def test_time_alone_ends_a_search_that_counts_no_trials(make_space, open_study):
    study = open_study(make_space(budget={"time": 3600}), trials=None)
    assert [study.next().index for _ in range(6)] == list(range(6))
    study.deadline = time.monotonic()
    assert study.next() is None


def test_what_the_time_stopped_goes_on_in_every_later_session(make_space, open_study):
    space = make_space(budget={"trials": 2, "time": 3600})
    first = open_study(space, trials=2)
    trial = first.next()
    for session in (1, 2):
        study = open_study(space, trials=2) if session == 2 else first
        trial = study.next() if session == 2 else trial
        assert (trial.index, trial.epoch) == (0, session - 1)
        study.record(trial, record(session, 10 * session))
        study.deadline = time.monotonic()
        study.end(trial)
        assert (trial.state, trial.reason) == (TrialState.UNFINISHED, f"after epoch {session} of 3, the time is up")
        assert states(study) == {0: OptunaState.RUNNING}
    last = open_study(space, trials=2)
    trial = last.next()
    assert [r["epoch"] for r in trial.history] == [1, 2]
    last.record(trial, record(3, 30))
    last.end(trial)
    assert last.ranked() == [trial]
    assert last.next().index == 1
    assert open_study(space, trials=2).trials[0].state is TrialState.FINISHED


def test_values_that_make_no_settings_are_named(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    trial.values["topk"] = 21  # the tiny bank has 20 rows
    with pytest.raises(CmdTuneError, match=r"trial-000: topk 21 exceeds queue_size 20"):
        study.settings_of(trial)


TABLE = {"method": "cells", **dict.fromkeys(("parameters", "points_to_evaluate", "budget"))}
CELLS = [{"topk": 4}, {"topk": 8}]


def test_a_book_goes_on_with_what_a_longer_table_lacks(make_space, open_study):
    def values(study):
        found = []
        while (trial := study.next()) is not None:
            found.append((trial.values["topk"], trial.values["seed"]))
            if found[-1] != (8, 0):  # left running, as a kill would
                study.end(trial, failure="over")
        return found

    assert values(open_study(make_space(**TABLE, cells=CELLS, seeds=[0]), trials=100)) == [(4, 0), (8, 0)]
    assert values(open_study(make_space(**TABLE, cells=CELLS, seeds=[0, 1]), trials=100)) == [(8, 0), (4, 1), (8, 1)]
    more = make_space(**TABLE, cells=[{"topk": 2}, *CELLS], seeds=[0, 1])
    study = open_study(more, trials=100)
    assert values(study) == [(8, 0), (2, 0), (2, 1)]
    assert len({tuple(sorted(trial.values.items())) for trial in study.trials.values()}) == len(study.trials) == 6


def test_a_smaller_budget_runs_whole_rounds_of_seeds_first(make_space, open_study):
    study = open_study(make_space(**TABLE, cells=CELLS, seeds=[0, 1, 2]), trials=3)
    assert [tuple(study.next().values.values()) for _ in range(3)] == [(4, 0), (8, 0), (4, 1)]
    assert study.next() is None


@pytest.mark.parametrize("name", ["a?b", "a%3Fb", ALL], ids=ascii)
def test_a_study_lies_in_its_folder(name, tmp_path, make_space, tiny):
    space = make_space()
    space.path.unlink()
    (tmp_path / name).mkdir()
    trial = SearchStudy(tmp_path / name, space, tiny(), "quick", 4).next()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in (tmp_path / name).iterdir()} == {"study.db", "trials"}
    with sqlite3.connect((tmp_path / name / "study.db").as_uri(), uri=True) as study:
        assert study.execute("select count(*) from trials").fetchall() == [(1,)]
    again = SearchStudy(tmp_path / name, space, tiny(), "quick", 4).next()
    assert again.values == trial.values


def test_the_study_says_what_it_is_of(make_space, tmp_path, tiny):
    """Once a trial begins; what has changed is written again at a resume."""
    space = make_space()
    (tmp_path / "search").mkdir()

    def opened(trials, fingerprint):
        data = {"dataset": "made up", "fingerprint": fingerprint}
        return SearchStudy(tmp_path / "search", space, tiny(), "quick", trials, data=data)

    study = opened(4, "a1")
    assert study._study.user_attrs == {}
    study.next()
    attributes = {
        "method": "tpe", "preset": "quick", "space": space.path.read_text(), "dataset": "made up", "fingerprint": "a1",
    }  # fmt: skip
    assert study._study.user_attrs == attributes
    assert study._study.metric_names == ["val/knn/fused"]
    again = opened(4, "b2")
    again.next()
    assert again._study.user_attrs == {**attributes, "fingerprint": "b2"}
