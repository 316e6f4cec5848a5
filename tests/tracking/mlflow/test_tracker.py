"""MLflow brought up to the study: real databases, no server where none is."""

import json
import os
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import RestException

from cmd_tune.errors import CmdTuneError
from cmd_tune.tracking import RunSnapshot, RunStatus, open_tracker
from cmd_tune.tracking.mlflow.tracker import MlflowTracker
from cmd_tune.tracking.mlflow.uris import default_uri

PARENT = RunSnapshot(key=None, name="a-search", params={"method": "tpe"}, documents={}, commit="")


def child(key, epochs=(), more=(), **changes):
    records = [{"epoch": epoch, "loss/total": 1.0 / epoch, **dict.fromkeys(more, 0.5)} for epoch in epochs]
    base = {"params": {"topk": key + 8}, "documents": {"settings.yaml": {"topk": key + 8}}, "epochs": records}
    return RunSnapshot(key=key, name=f"trial-{key:03d}", **{**base, **changes})


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """One database for all tests: its tables take seconds to make."""
    return default_uri(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def write(uri, tmp_path, request):
    """Shows runs of one search, in order, and closes: what a session does. Returns the runs in MLflow by name."""
    search = request.node.name

    def session(*runs):
        tracker = open_tracker(uri, "synthetic-xview", search, tmp_path)
        for run in runs:
            tracker.show(run)
        assert tracker.close() == ""
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("synthetic-xview")
        found = client.search_runs([experiment.experiment_id], f"tags.`cmd_tune.search` = '{search}'")
        return client, {run.info.run_name: run for run in found}

    return session


def steps(client, run, metric="loss/total"):
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]


def test_one_parent_and_its_children(write):
    client, runs = write(PARENT, child(0, (1, 2)), child(1, (1,)))
    assert set(runs) == {"a-search", "trial-000", "trial-001"}
    parent = runs["a-search"].info.run_id
    assert [runs[name].data.tags["mlflow.parentRunId"] for name in ("trial-000", "trial-001")] == [parent, parent]
    assert runs["trial-001"].data.params == {"topk": "9"}
    assert steps(client, runs["trial-000"]) == [(1, 1.0), (2, 0.5)]
    assert [file.path for file in client.list_artifacts(runs["trial-000"].info.run_id)] == ["settings.yaml"]


def test_a_baseline_is_a_child_of_its_own_which_a_later_session_finds_again(write):
    """Its word is no index, though it be a number; the parent is none of both."""
    baseline = RunSnapshot(key="0", name="raw skeletons", params={}, documents={}, scores={"val/knn/fused": 40.0})
    _, before = write(child(0, (1,)), baseline, PARENT)
    client, runs = write(PARENT, baseline, child(0, (1,)))
    assert {name: run.info.run_id for name, run in runs.items()} == {n: r.info.run_id for n, r in before.items()}
    assert set(runs) == {"a-search", "raw skeletons", "trial-000"}
    assert runs["raw skeletons"].data.tags["mlflow.parentRunId"] == runs["a-search"].info.run_id
    assert runs["raw skeletons"].data.tags["cmd_tune.baseline"] == "0"
    assert "cmd_tune.trial" not in runs["raw skeletons"].data.tags
    assert steps(client, runs["raw skeletons"], "val/knn/fused") == [(0, 40.0)]


def test_a_run_of_an_earlier_release_gets_the_parameters_that_it_lacks_and_keeps_those_it_has(write):
    write(PARENT, child(0, (1,)))  # the trial's own values alone, and complete
    settings = {f"setting-{number:03d}": number for number in range(150)}  # more than one call takes
    _, runs = write(PARENT, child(0, (1, 2), params={"topk": "8.0", **settings}))
    assert runs["trial-000"].data.params == {"topk": "8", **{name: str(value) for name, value in settings.items()}}


def test_the_parent_of_an_earlier_release_which_has_an_empty_tag_of_a_trial_is_found(write):
    """Its trials and baselines, whose tags are not empty, are not taken for it."""
    client, before = write(PARENT, child(0, (1,)))
    parent = before["a-search"].info.run_id
    client.set_tag(parent, "cmd_tune.trial", "")
    client, runs = write(child(0, (1, 2)), PARENT)
    tags = f"tags.`cmd_tune.search` = '{runs['a-search'].data.tags['cmd_tune.search']}'"
    assert len(client.search_runs([runs["a-search"].info.experiment_id], tags)) == 2
    assert runs["a-search"].info.run_id == parent
    children = [run for run in runs.values() if "mlflow.parentRunId" in run.data.tags]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent}


@pytest.mark.parametrize(
    ("status", "word"),
    [(RunStatus.FINISHED, "FINISHED"), (RunStatus.STOPPED, "KILLED"), (RunStatus.FAILED, "FAILED")],
)
def test_states(write, status, word):
    _, runs = write(PARENT, child(0, (1,)), child(0, (1,), status=status, reason="the loss is nan"))
    assert runs["trial-000"].info.status == word
    assert runs["trial-000"].data.tags["cmd_tune.reason"] == "the loss is nan"
    assert runs["a-search"].info.status == "RUNNING"


@pytest.mark.parametrize(
    ("commit", "tags"), [(None, {}), ("", {"name": "cmd_tune"}), ("abc", {"name": "cmd_tune", "git.commit": "abc"})]
)
def test_where_the_code_came_from_and_what_people_are_told(write, commit, tags):
    _, runs = write(child(0, commit=commit, note="One *configuration*."))
    found = runs["trial-000"].data.tags
    source = {name: value for name, value in found.items() if name.startswith("mlflow.source.")}
    assert source == {f"mlflow.source.{name}": value for name, value in tags.items()}
    assert found["mlflow.note.content"] == "One *configuration*."


def test_a_later_session_goes_on_in_the_same_runs_and_fills_in_what_is_missing(write):
    _, before = write(PARENT, child(0, (1, 2), status=RunStatus.STOPPED))
    client, runs = write(PARENT, child(0, (1, 2, 3, 4), status=RunStatus.FINISHED))
    assert {name: run.info.run_id for name, run in runs.items()} == {n: r.info.run_id for n, r in before.items()}
    assert steps(client, runs["trial-000"]) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert runs["trial-000"].info.status == "FINISHED"


def test_showing_a_run_again_and_again_writes_nothing_twice(write):
    client, runs = write(
        PARENT, *(child(0, range(1, last + 1), scores={"test/knn/fused": 70.0}) for last in (1, 2, 2, 3))
    )
    assert [step for step, _ in steps(client, runs["trial-000"])] == [1, 2, 3]
    assert steps(client, runs["trial-000"], "test/knn/fused") == [(0, 70.0)]


def test_the_table_is_the_last_one_shown(write):
    def parent(column):
        return RunSnapshot(**{**PARENT.__dict__, "table": {"trial": column}})

    write(parent(["trial-000"]))
    client, runs = write(parent(["trial-000"]), parent(["trial-000", "trial-001"]))
    path = client.download_artifacts(runs["a-search"].info.run_id, "trials_table.json")
    with open(path) as file:
        assert json.load(file) == {"columns": ["trial"], "data": [["trial-000"], ["trial-001"]]}


def test_more_metrics_than_one_call_takes(write):
    names = [f"loss/{number}" for number in range(30)]
    client, runs = write(PARENT, child(0, range(1, 41), names))
    assert [step for step, _ in steps(client, runs["trial-000"], names[-1])] == list(range(1, 41))


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such"}), True),  # 400
        (RestException({"error_code": "PERMISSION_DENIED", "message": "not you"}), True),  # 403
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}), True),  # 404
        (RestException({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slower"}), False),  # 429
        (RestException({"error_code": "INTERNAL_ERROR", "message": "oh"}), False),  # 500
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}), False),  # 503
        (ConnectionRefusedError("refused"), False),
        (CmdTuneError("its experiment is deleted"), True),
    ],
)
def test_what_a_server_will_say_again_is_final_and_so_is_all_that_a_database_says(tmp_path, error, final):
    server, database = (
        MlflowTracker(uri, "synthetic-xview", "it", tmp_path) for uri in ("http://127.0.0.1:9", "sqlite:///mlflow.db")
    )
    assert server.is_final(error) is final
    assert database.is_final(error)


def test_long_texts_are_cut_to_what_mlflow_takes(write):
    _, runs = write(PARENT, child(0, (1,), params={"modalities": "x" * 7000}, reason="y" * 7000))
    assert runs["trial-000"].data.params == {"modalities": "x" * 6000}
    assert runs["trial-000"].data.tags["cmd_tune.reason"] == "y" * 6000


def test_a_reason_is_taken_back_when_the_trial_goes_on(write):
    _, runs = write(PARENT, child(0, (1,), status=RunStatus.STOPPED, reason="the time is up"))
    assert runs["trial-000"].data.tags["cmd_tune.reason"] == "the time is up"
    _, runs = write(PARENT, child(0, (1, 2)))
    assert "cmd_tune.reason" not in runs["trial-000"].data.tags
    assert runs["trial-000"].info.status == "RUNNING"


def test_nothing_is_sent_to_others() -> None:
    """MLflow tells its makers of calls, unless it is told not to before it is imported."""
    code = (
        "import cmd_tune.tracking.mlflow.tracker\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(is_telemetry_disabled())"
    )
    left_out = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
