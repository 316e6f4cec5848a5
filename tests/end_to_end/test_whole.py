"""A search from its start to its end: screen, files, MLflow, and its best configuration by itself."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import urllib.request

import pytest
from mlflow import MlflowClient

from cmd_tune.settings import Settings
from tests.end_to_end.searches import finish, mlflow_runs, start, trials, wait_for

pytestmark = pytest.mark.long


def test_a_trial_that_diverges_is_failed_and_the_search_goes_on(unbroken):
    cwd, output = unbroken
    rows = trials(cwd)
    assert [row["state"] for row in rows] == ["finished", "finished", "finished", "failed"]
    assert [row["epoch"] for row in rows] == ["4", "4", "4", "0"]
    assert re.match(r"the loss is (nan|inf) in epoch 1; lower learning_rate", rows[3]["reason"])
    assert "trial-003 failed: the loss is" in output


def test_the_screen_has_progress_baselines_and_the_folder_and_nothing_of_rays(unbroken):
    cwd, output = unbroken
    lines = output.splitlines()
    assert "trial-000 starts: teacher_temperature 0.01" in lines
    progress = (
        r"trial-002 epoch 4/4: loss [\d.]+, val/knn/fused [\d.]+; best [\d.]+ \(trial-00\d\), 2/4 trials, elapsed"
    )
    assert sum(bool(re.match(progress, line)) for line in lines) == 1
    assert any(line.startswith("untrained ") for line in lines)
    assert any(line.startswith("raw 1-NN ") for line in lines)
    assert f"Folder: {cwd / 'runs' / 'it'}" in output
    assert "WARNING" not in output
    assert "ray." not in output.replace("ray.log", "")


def test_mlflow_has_a_parent_and_a_child_a_trial(unbroken):
    cwd, _ = unbroken
    client, runs = mlflow_runs(cwd)
    states = {name: run.info.status for name, run in runs.items()}
    baselines = dict.fromkeys(("untrained encoder", "raw skeletons, 1-NN"), "FINISHED")
    expected = {"it": "FINISHED", **{f"trial-00{i}": "FINISHED" for i in range(3)}, "trial-003": "FAILED"}
    assert states == expected | baselines
    rows = trials(cwd)
    for row in rows[:3]:
        run = runs[row["trial"]]
        assert run.data.tags["mlflow.parentRunId"] == runs["it"].info.run_id
        assert run.data.params.items() >= {"teacher_temperature": row["teacher_temperature"], "topk": "8"}.items()
        assert run.data.params.keys() == Settings.model_fields.keys()
        assert run.info.run_name == f"{row['trial']} τt {row['teacher_temperature']}"
        for metric in ("loss/total", "loss/cmd", "val/knn/fused", "val/linear/joint"):
            points = client.get_metric_history(run.info.run_id, metric)
            assert [point.step for point in points] == [1, 2, 3, 4]
            assert points[-1].value == pytest.approx(float(row[metric]), abs=0.011)
        assert run.data.metrics["test/knn/fused"] == pytest.approx(float(row["test/knn/fused"]), abs=0.011)
        assert run.data.metrics["cost/epochs"] == 4
        assert run.data.metrics["cost/cpu_hours"] >= 0
        assert {name.partition("/")[0] for name in run.data.metrics} == {"loss", "val", "test", "cost", "system"}
        assert run.data.tags["cmd_tune.state"] == "finished"
        assert str(cwd / "runs" / "it" / "trials" / row["trial"][-3:]) in run.data.tags["mlflow.note.content"]
        assert all(run.data.tags.values())
    assert len(runs["it"].data.metrics) < 30
    best = max(rows[:3], key=lambda row: float(row["val/knn/fused"]))
    names = {name: {file.path for file in client.list_artifacts(run.info.run_id)} for name, run in runs.items()}
    assert {name for name, files in names.items() if "checkpoint.pt" in files} == {best["trial"]}
    assert names["it"] >= {
        "trials_table.json",
        "trials.csv",
        "best.yaml",
        "baselines.yaml",
        "environment.yaml",
        "settings.yaml",
    }
    assert runs["it"].data.metrics["best/val/knn/fused"] == pytest.approx(float(best["val/knn/fused"]), abs=0.011)
    for name in baselines:
        assert {"val/knn/fused", "test/knn/fused"} <= runs[name].data.metrics.keys()
        assert runs[name].data.tags["mlflow.parentRunId"] == runs["it"].info.run_id


def test_the_printed_command_opens_the_ui(unbroken):
    cwd, output = unbroken
    words = shlex.split(re.search(r"^MLflow: (.*)$", output, re.MULTILINE)[1])
    page = re.search(r"^  then: http://127.0.0.1:5000/#/experiments/(\d+)/runs\?(.*)$", output, re.MULTILINE)
    client, runs = mlflow_runs(cwd)
    key = re.fullmatch("workflowType=machine_learning&viewStateShareKey=(.*)", page[2])[1]
    view = json.loads(client.get_experiment(page[1]).tags[f"mlflow.sharedViewState.{key}"])
    assert view["runsExpanded"] == {runs["it"].info.run_id: True}
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`val/knn/fused`", False)
    assert "params.`teacher_temperature`" in view["selectedColumns"]
    assert words[words.index("--host") + 1] == "127.0.0.1"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words[words.index("--port") + 1] = str(port)
    words += ["--workers", "1"]  # of MLflow's four, each of which loads it for seconds
    server = subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        body = json.dumps({"max_results": 10}).encode()
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search"

        def answers():
            try:
                request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request) as answer:
                    return "synthetic-xview" in answer.read().decode()
            except OSError:
                return False

        wait_for(answers, server)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_the_best_configuration_runs_by_itself_and_scores_the_same(unbroken, tmp_path, tiny_store):
    cwd, _ = unbroken
    best = cwd / "runs" / "it" / "best.yaml"
    words = ["-m", "cmd_tune", "pretrain", "--data", tiny_store.path, "--config", best, "--test", "--name", "again"]
    output = finish(start(*words, cwd=tmp_path))
    row = max(trials(cwd)[:3], key=lambda row: float(row["val/knn/fused"]))
    ours = dict(re.findall(r"^((?:val|test)/\w+/\w+) +([\d.]+) ", output, re.MULTILINE))
    assert ours == {name: f"{float(value):.1f}" for name, value in row.items() if name.startswith(("val/", "test/"))}
    assert len(ours) == 16
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("synthetic-xview").experiment_id])
    assert (run.info.run_name, run.info.status) == ("again", "FINISHED")
    assert len(client.get_metric_history(run.info.run_id, "loss/total")) == 4
