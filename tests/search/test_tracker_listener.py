"""What the tracking server is shown of a search and its trials."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.run_records import run_note
from cmd_tune.search.execution import ResourcePlan, ResourceRequest, TrialResources
from cmd_tune.search.listeners import ScreenListener
from cmd_tune.search.plan import Plan
from cmd_tune.search.report import SearchReport
from cmd_tune.search.study.failure_tags import FailureTag
from cmd_tune.search.study.trial_record import Repeat
from cmd_tune.search.tracker_listener import (
    TrackerListener,
    search_note,
    search_page,
    trial_note,
    trial_tags,
)
from cmd_tune.settings import Settings
from cmd_tune.tracking import RunStatus

LAYOUT = ResourcePlan(TrialResources(1, 1.0, 0.0, 1), concurrent=2, learning=2)


@pytest.fixture
def make_plan(tiny, tiny_store, tmp_path):
    """A plan of four trials of three epochs for a space."""

    def make(space):
        return Plan(
            folder=tmp_path / "runs" / "it",
            space=space,
            preset="quick",
            settings=tiny(),
            source=DataSource(tiny_store.path, "xview"),
            dataset="synthetic",
            fingerprint=tiny_store.fingerprint,
            trials=4,
            resources=ResourceRequest(workers=1),
            tracking_uri="sqlite:///mlflow.db",
        )

    return make


@pytest.mark.parametrize(("goal", "ascending"), [("maximize", False), ("minimize", True)])
def test_a_search_is_shown_best_first_with_four_parameters(make_space, make_plan, goal, ascending):
    names = ("teacher_temperature", "student_temperature", "learning_rate", "weight_decay", "shear_range")
    parameters = {name: {"min": 0.01, "max": 0.2} for name in names}
    metric = {"name": "loss/total", "goal": goal}
    page = search_page(make_plan(make_space(parameters=parameters, points_to_evaluate=None, metric=metric)))
    assert page.metrics == ("loss/total", "val/knn/fused", "test/knn/fused", "cost/seconds")
    assert page.params == names[:4]
    assert (page.order, page.ascending) == ("loss/total", ascending)


def test_a_table_is_shown_as_it_came(make_space, make_plan):
    absent = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
    page = search_page(make_plan(make_space(method="cells", cells=[{"topk": 4}, {"topk": 6}], **absent)))
    assert (page.order, page.params) == ("", ("topk", "seed"))
    assert page.metrics == ("val/knn/fused", "test/knn/fused", "cost/seconds")


def test_the_note_of_a_search_says_what_is_asked_and_how_to_go_on(make_space, make_plan):
    plan = make_plan(make_space())
    note = search_note(plan, LAYOUT)
    what, folder, resume = note.split("\n\n")
    assert what == (
        "Method tpe, 4 trials over teacher_temperature, student_temperature; the best has the highest val/knn/fused. "
        "Preset quick, 3 epochs; 2 trials at once, 1 worker a trial, 1 CPU and no GPU a worker."
    )
    assert folder == f"Folder: `{plan.folder}` (search.yaml, trials.csv, trials/)"
    timed = search_note(replace(plan, trials=None), LAYOUT)
    assert timed.startswith("Method tpe, as many trials as the time allows over teacher_temperature, ")
    assert f" -m cmd_tune search --resume it --storage {plan.folder.parent}`" in resume
    assert run_note(what, plan.folder, "search.yaml, trials.csv, trials/", plan.resume) == note


def test_the_tags_of_a_trial(make_space, open_study):
    study = open_study(make_space())
    trial = study.next()
    assert trial_tags(trial) == {"cmd_tune.state": "running", "cmd_tune.failure": ""}
    study.end(trial, failure="out of memory", tag=FailureTag.MEMORY)
    assert trial_tags(trial) == {"cmd_tune.state": "failed", "cmd_tune.failure": "out-of-memory"}
    note = trial_note(trial)
    assert note.startswith("trial-000 of search: teacher_temperature 0.05, student_temperature 0.1.\n")
    assert f"`{trial.folder}`" in note


class Shown(list):
    """Snapshots in the order in which a tracker would be shown them."""

    show = list.append


@pytest.fixture
def listen(make_plan, make_space, open_study):
    """Opens the study of a plan; returns it, its listener, and what that shows."""

    def make(**changes):
        study, shown = open_study(make_space(**changes)), Shown()
        return study, TrackerListener(make_plan(study.space), study, LAYOUT, shown), shown

    return make


def test_a_search_is_running_once_there_is_something_to_run(listen):
    study, listener, shown = listen()
    listener.opened()
    assert [(snapshot.key, snapshot.status) for snapshot in shown] == [(None, None), (None, RunStatus.RUNNING)]
    trial = study.next()
    study.end(trial, failure="out of memory")
    again = TrackerListener(listener.plan, study, LAYOUT, shown)
    del shown[:]
    again.opened()  # a resume, which may find that all has been run
    assert [(snapshot.key, snapshot.status) for snapshot in shown] == [(None, None), (0, RunStatus.FAILED)]
    assert [snapshot.commit for snapshot in shown] == [None, None]  # the code that ran it is not this session's to say
    again.continued()
    again.continued()
    assert [(snapshot.key, snapshot.status) for snapshot in shown[2:]] == [(None, RunStatus.RUNNING)]
    assert shown[2].commit is not None


def test_a_trial_is_shown_with_its_epochs_once_for_all_that_come_at_once(listen):
    study, listener, shown = listen()
    trial = study.next()
    listener.started(trial)
    records = [{"epoch": epoch, "loss/total": 1.0, "seconds": 1800.0} for epoch in (1, 2)]
    for record in records:
        study.record(trial, record)
    (trial.folder / "environment.yaml").write_text("")  # as its process does before it reports
    listener.reported(trial, records)
    listener.reported(trial, [])
    started, reported = shown
    assert (started.epochs, started.files, started.scores) == ([], [], {})
    assert (reported.epochs, reported.files, reported.scores) == (records, [trial.folder / "environment.yaml"], {})
    study.end(trial)
    listener.ended(trial)
    assert shown[-1].status is RunStatus.FINISHED  # not as what failed, or was interrupted
    assert shown[-1].tags["cmd_tune.state"] == "stopped early after epoch 2 of 3"
    assert shown[-1].scores["cost/cpu_hours"] == 1.0
    study.record_test(trial, {"test/knn/fused": 60.0})
    listener.tested(trial)
    assert shown[-1].scores["test/knn/fused"] == 60.0


@pytest.mark.parametrize("end", ["interrupted", "closed"])
def test_a_trial_that_is_left_to_be_resumed_is_shown_as_stopped(listen, end):
    study, listener, shown = listen()
    listener.opened()
    finished, running = study.next(), study.next()
    for epoch in (1, 2, 3):
        study.record(finished, {"epoch": epoch, "loss/total": 1.0, "val/knn/fused": 50.0, "seconds": 600.0})
    study.end(finished)
    (finished.folder / "checkpoint.pt").write_bytes(b"")
    del shown[:]
    study.leave()
    assert trial_tags(running)["cmd_tune.state"] == "unfinished"
    if end == "interrupted":
        listener.interrupted(RunStatus.STOPPED)
        expected = {0: RunStatus.FINISHED, 1: RunStatus.STOPPED, None: RunStatus.STOPPED}
    else:
        file = study.folder / "trials.csv"
        listener.closed(RunStatus.FAILED, SearchReport([file], {"best/val/knn/fused": 50.0}), finished)
        expected = {1: RunStatus.STOPPED, 0: RunStatus.FINISHED, None: RunStatus.FAILED}
        assert shown[1].files == [finished.folder / "checkpoint.pt"]
        assert shown[2].files == [file]
        assert shown[2].scores["best/val/knn/fused"] == 50.0
        assert shown[2].scores["cost/cpu_hours"] == 0.5
        assert shown[2].table["trial"] == ["trial-000", "trial-001"]
    assert {snapshot.key: snapshot.status for snapshot in shown} == expected
    assert running.name == "trial-001"


def test_of_several_metrics_the_front_is_a_tag_at_the_end_and_costs_are_those_that_judge(listen):
    """What was run again of a trial costs, too, but is not what it is judged by."""
    metrics = [{"name": "val/knn/fused"}, {"name": "cost/seconds"}]
    study, listener, shown = listen(metric=None, metrics=metrics)
    assert search_page(listener.plan).metrics == ("val/knn/fused", "cost/seconds", "test/knn/fused")
    assert "; the best has the highest val/knn/fused, on a front with the lowest cost/seconds. " in search_note(
        listener.plan, LAYOUT
    )
    for knn, seconds in ((50.0, 3.0), (60.0, 6.0), (55.0, 9.0)):
        trial = study.next()
        for epoch in (1, 2, 3):
            cost = {"seconds": seconds / 3, "cost/seconds": seconds * epoch / 3, "cost/parameters": 12345}
            study.record(trial, {"epoch": epoch, "val/knn/fused": knn, **cost})
        study.end(trial)
        listener.ended(trial)
        assert "cmd_tune.front" not in shown[-1].tags
    again = study.trials[1].repeat(Repeat.CONFIRM, 7)
    again.history.append({"epoch": 3, "val/knn/fused": 61.0, "seconds": 100.0})
    del shown[:]
    listener.closed(RunStatus.FINISHED, SearchReport([], {}), study.trials[1])
    assert {run.key: run.tags["cmd_tune.front"] for run in shown if run.key is not None} == {
        0: "yes",
        1: "yes",
        2: "no",
    }
    costs = {run.key: (run.scores["cost/seconds"], run.scores["cost/parameters"]) for run in shown if run.key == 1}
    assert costs == {1: (6.0, 12345)}
    assert shown[-1].params["metric"] == "val/knn/fused, cost/seconds"
    assert shown[-1].scores["cost/seconds"] == 118.0


def test_a_finished_search_that_is_interrupted_stays_finished(listen):
    _, listener, shown = listen()
    listener.interrupted(RunStatus.STOPPED)
    assert shown == []
    listener.interrupted(RunStatus.FAILED)
    assert [snapshot.status for snapshot in shown] == [RunStatus.FAILED]


def test_what_many_trials_say_is_printed_once(make_space, open_study):
    file = io.StringIO()
    screen = ScreenListener(open_study(make_space()), Console(file=file))
    screen.opened()
    for _ in range(2):
        screen.noted("half the speed: [no compiler]")
    assert file.getvalue() == "half the speed: [no compiler]\n"


def test_a_trial_has_all_its_settings_to_four_digits_and_says_its_values_in_its_name(listen):
    study, listener, shown = listen()
    study.next()
    trial = study.next()
    trial.values["teacher_temperature"] = 0.023816775521320787
    listener.started(trial)
    (run,) = shown
    assert run.params.keys() == Settings.model_fields.keys()
    assert run.params["teacher_temperature"] == "0.02382"
    assert run.params["modalities"] == "joint,motion,bone"
    assert run.documents["settings.yaml"]["teacher_temperature"] == 0.023816775521320787
    assert run.name == f"trial-001 τt 0.02382 τs {trial.values['student_temperature']:.4g}"


def test_epochs_are_shown_to_four_digits_whenever_they_come(listen):
    study, listener, shown = listen()
    trial = study.next()
    for epoch in (1, 2, 3):
        record = {"epoch": epoch, "loss/total": 1 / 3, "seconds": 1 / 3}
        study.record(trial, record)
        listener.reported(trial, [record])
    assert [len(run.epochs) for run in shown] == [1, 2, 3]
    assert shown[-1].epochs[2] == {"epoch": 3, "loss/total": 0.3333, "seconds": 1 / 3}


def test_baselines_are_runs_beside_the_trials_with_metrics_of_the_same_names(listen):
    study, listener, shown = listen()
    study.end(study.next(), failure="out of memory")
    scores = {"untrained": {"val/knn/fused": 100 / 3}, "raw": {"test/knn/fused": 40.0}}
    listener.closed(RunStatus.FAILED, SearchReport(baselines=scores), None)
    untrained, raw, search = shown
    assert [(run.key, run.name) for run in (untrained, raw)] == [
        ("untrained", "untrained encoder"),
        ("raw", "raw skeletons, 1-NN"),
    ]
    assert [run.scores for run in (untrained, raw)] == [{"val/knn/fused": 33.33}, {"test/knn/fused": 40.0}]
    assert [run.status for run in (untrained, raw)] == [RunStatus.FINISHED] * 2
    assert untrained.params["hidden_size"] == "8"
    assert search.key is None
    assert not any(name.startswith("baseline/") for name in search.scores)


def test_the_description_of_a_search_is_what_was_asked_and_in_the_end_the_answer_first(listen, tmp_path):
    _, listener, shown = listen()
    listener.opened()
    asked = shown[0].note
    assert asked.startswith("Method tpe")
    assert (shown[0].data.name, shown[0].data.context) == ("synthetic", "training")
    assert shown[0].data.digest == listener.plan.fingerprint
    files = [tmp_path / name for name in ("trials.csv", "first.png", "second.png")]
    listener.closed(RunStatus.FINISHED, SearchReport(files, summary="**trial-000**, by 2 points."), None)
    assert shown[-1].note == f"**trial-000**, by 2 points.\n\n![first](artifact:first.png)\n\n{asked}"
    listener.closed(RunStatus.FINISHED, SearchReport(), None)
    assert shown[-1].note == asked
