"""Whole searches, as a person types them: Ray, Optuna, MLflow and the file system as they are."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from mlflow import MlflowClient

REPOSITORY = Path(__file__).parents[1]

# Settings of runs that take a second or two on one core.
TINY = (
    "hidden_size=8", "embedding_size=8", "layers=2", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
    "epochs=4", "batch_size=8", "evaluate_every=1", "precision=float32",
)  # fmt: skip
GRID = {
    "method": "grid",
    "metric": {"name": "val/knn/fused", "goal": "maximize"},
    "parameters": {"teacher_temperature": {"values": [0.01, 0.05, 0.2]}},
}


def start(*words, cwd):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process, code=0):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def search(cwd, store, space, *more, epochs=4):
    """Starts a tiny search called 'it' in cwd/runs."""
    (cwd / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    settings = [word for setting in (*TINY, f"epochs={epochs}") for word in ("--set", setting)]
    words = ["--space", "space.yaml", "--data", store.path, "--name", "it", *settings, *more]
    return start(REPOSITORY / "run_search.py", *words, cwd=cwd)


def trials(cwd):
    with open(cwd / "runs" / "it" / "trials.csv") as file:
        return list(csv.DictReader(file))


def mlflow_runs(cwd):
    client = MlflowClient(f"sqlite:///{cwd / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("synthetic-xview")
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def wait_for(condition, process, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def in_the_way(path):
    """A folder where a running search writes a file."""
    while not path.is_dir():
        path.unlink(missing_ok=True)
        with suppress(FileExistsError):
            path.mkdir()


def epochs_done(cwd, trial):
    history = cwd / "runs" / "it" / "trials" / f"{trial:03d}" / "history.jsonl"
    return history.read_text().count("\n") if history.exists() else 0


@pytest.fixture(scope="module")
def unbroken(tiny_store, tmp_path_factory):
    """A grid of three trials and one that diverges, run to its end: (folder, what it printed)."""
    cwd = tmp_path_factory.mktemp("unbroken")
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.05, 0.2, 1e-40]}}}
    return cwd, finish(search(cwd, tiny_store, space, "--concurrent", "1"))


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
    assert states == {"it": "FINISHED", **{f"trial-00{i}": "FINISHED" for i in range(3)}, "trial-003": "FAILED"}
    rows = trials(cwd)
    for row in rows[:3]:
        run = runs[row["trial"]]
        assert run.data.tags["mlflow.parentRunId"] == runs["it"].info.run_id
        assert run.data.params == {"teacher_temperature": row["teacher_temperature"]}
        for metric in ("loss/total", "loss/cmd", "val/knn/fused", "val/linear/joint"):
            points = client.get_metric_history(run.info.run_id, metric)
            assert [point.step for point in points] == [1, 2, 3, 4]
            assert points[-1].value == pytest.approx(float(row[metric]))
        assert run.data.metrics["test/knn/fused"] == pytest.approx(float(row["test/knn/fused"]))
        assert run.data.metrics["cost/epochs"] == 4
        assert run.data.metrics["cost/cpu_hours"] >= 0
        assert {name.partition("/")[0] for name in run.data.metrics} == {"loss", "val", "test", "cost"}
        assert run.data.tags["cmd_tune.state"] == "finished"
        assert str(cwd / "runs" / "it" / "trials" / row["trial"][-3:]) in run.data.tags["mlflow.note.content"]
        assert all(run.data.tags.values())
    assert len(runs["it"].data.metrics) < 30
    best = max(rows[:3], key=lambda row: float(row["val/knn/fused"]))
    names = {name: {file.path for file in client.list_artifacts(run.info.run_id)} for name, run in runs.items()}
    assert {name for name, files in names.items() if "checkpoint.pt" in files} == {best["trial"]}
    assert names["it"] >= {
        "trials.json",
        "trials.csv",
        "best.yaml",
        "baselines.yaml",
        "environment.yaml",
        "settings.yaml",
    }
    assert runs["it"].data.metrics["best/val/knn/fused"] == pytest.approx(float(best["val/knn/fused"]))
    assert {f"baseline/{kind}/val/knn/fused" for kind in ("raw", "untrained")} <= runs["it"].data.metrics.keys()


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
    server = subprocess.Popen(
        words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
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


def test_a_resume_of_a_finished_search_changes_nothing(unbroken):
    cwd, _ = unbroken

    def lasting():
        files = {path: path.read_bytes() for path in (cwd / "runs" / "it").rglob("*") if path.is_file()}
        _, runs = mlflow_runs(cwd)
        return files, {name: (run.info.status, run.info.end_time, run.data.metrics) for name, run in runs.items()}

    before = lasting()
    output = finish(start("-m", "cmd_tune", "search", "--resume", "it", cwd=cwd))
    assert "search it: is finished; nothing is left to run" in output
    assert any(line.startswith("untrained ") for line in output.splitlines())
    files, runs = lasting()
    assert [path for path in {**files, **before[0]} if files.get(path) != before[0].get(path)] == []
    assert runs == before[1]


def test_one_configuration_that_is_interrupted_goes_on(tiny_store, tmp_path):
    settings = [word for setting in (*TINY, "epochs=60") for word in ("--set", setting)]
    process = start("-m", "cmd_tune", "pretrain", "--data", tiny_store.path, "--name", "it", *settings, cwd=tmp_path)
    wait_for((tmp_path / "runs" / "it" / "checkpoint.pt").exists, process)
    process.send_signal(signal.SIGINT)
    resume = shlex.split(re.search(r"go on with: (.*)$", finish(process, 130), re.MULTILINE)[1])
    _, runs = mlflow_runs(tmp_path)
    assert runs["it"].info.status == "KILLED"
    finish(start(*resume[1:], cwd=tmp_path))
    client, runs = mlflow_runs(tmp_path)
    assert runs["it"].info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(runs["it"].info.run_id, "loss/total")]
    assert steps == list(range(1, 61))


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["killed", "interrupted", "terminated"]
)
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(how, unbroken, tiny_store, tmp_path):
    """No trial is lost, run twice or counted twice, and every number is that of the unbroken search."""
    process = search(tmp_path, tiny_store, GRID, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 1) >= 2, process)
    process.send_signal(how)
    if how != signal.SIGKILL:
        output = finish(process, 130)
        resume = shlex.split(re.search(r"go on with: (.*)$", output, re.MULTILINE)[1])
        _, runs = mlflow_runs(tmp_path)
        assert {runs["it"].info.status, runs["trial-001"].info.status} == {"KILLED"}
    else:
        process.communicate()
        resume = [sys.executable, "-m", "cmd_tune", "search", "--resume", "it"]
    output = finish(start(*resume[1:], cwd=tmp_path))
    assert re.search(r"^trial-001 resumes after epoch [23]: teacher_temperature 0.05$", output, re.MULTILINE)

    def scores(cwd):
        return [{key: value for key, value in row.items() if key != "seconds"} for row in trials(cwd)[:3]]

    assert scores(tmp_path) == scores(unbroken[0])
    client, runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(runs) == 4
    for name in ("trial-000", "trial-001", "trial-002"):
        steps = Counter(point.step for point in client.get_metric_history(runs[name].info.run_id, "loss/total"))
        assert steps == {1: 1, 2: 1, 3: 1, 4: 1}
    with sqlite3.connect(tmp_path / "runs" / "it" / "study.db") as study:
        assert study.execute("select state, count(*) from trials group by state").fetchall() == [("COMPLETE", 3)]


def test_two_workers_give_what_one_gives_and_survive_the_death_of_one(unbroken, tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 1e-40]}}}
    process = search(tmp_path, tiny_store, space, "--workers", 2)
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    workers = subprocess.run(["pgrep", "-f", "ray::RayTrainWorker"], capture_output=True, text=True, check=True)  # noqa: S607
    os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
    output = finish(process)
    assert "trial-000 finished" in output
    (ours, diverged), alone = trials(tmp_path), trials(unbroken[0])[0]
    assert (ours["state"], diverged["state"]) == ("finished", "failed")
    assert "in epoch 1; lower learning_rate" in diverged["reason"]
    for name in alone:
        if name.startswith(("loss/", "learning_rate")):
            assert float(ours[name]) == pytest.approx(float(alone[name]), rel=2e-3), name
        elif name.startswith(("val/knn", "test/knn")):  # of 12 and 24 queries: one may tip over
            assert abs(float(ours[name]) - float(alone[name])) <= 100 / 12 + 0.01, name


def test_trials_that_are_stopped_early_have_no_rank_and_a_finite_space_is_run_whole(tiny_store, tmp_path):
    space = {
        **GRID,
        "method": "tpe",
        "parameters": {"weight_decay": {"values": [0.0, 1e-4, 1e-3, 1e-2, 1e-1]}},
        "constraints": ["weight_decay < 0.1"],
        "early_terminate": {"type": "asha", "grace_period": 1, "reduction_factor": 2},
        "metric": {"name": "loss/total", "goal": "minimize"},
        "budget": {"trials": 7},
    }
    output = finish(search(tmp_path, tiny_store, space, "--concurrent", "1"))
    assert "\n4 of 7 trials: all 4 configurations that the space allows have been run\n" in output
    rows = trials(tmp_path)
    stopped = [row for row in rows if row["state"] == "stopped early"]
    assert stopped
    assert all(int(row["epoch"]) < 4 for row in stopped)
    ranked = sorted((row for row in rows if row not in stopped), key=lambda row: float(row["loss/total"]))
    assert [row["rank"] for row in ranked] == [str(rank) for rank in range(1, len(ranked) + 1)]
    assert {row["rank"] for row in stopped} == {""}
    head = (tmp_path / "runs" / "it" / "best.yaml").read_text().splitlines()[0]
    assert head.startswith(f"# {ranked[0]['trial']} of it: loss/total ")
    client, runs = mlflow_runs(tmp_path)
    assert runs["it"].info.status == "FINISHED"
    assert runs["it"].data.tags["cmd_tune.reason"] == "all 4 configurations that the space allows have been run"
    kept = {name for name in runs if "checkpoint.pt" in {f.path for f in client.list_artifacts(runs[name].info.run_id)}}
    assert kept == {ranked[0]["trial"]}
    states = {"finished": "FINISHED", "stopped early": "KILLED"}
    assert {row["trial"]: runs[row["trial"]].info.status for row in rows} == {
        row["trial"]: states[row["state"]] for row in rows
    }
    assert all(row["test/knn/fused"] == "" for row in stopped)  # the test set is for finalists


BAD = {
    "--space tmps.yaml": "--space tmps.yaml: no such file, nor a search space of that name; did you mean 'temps'?",
    "--space temps.yaml --data gone.arrow": "gone.arrow: no such file; make one with 'python -m cmd_tune ingest'",
    "--space temps.yaml --preset papr": "preset: 'papr' is unknown, did you mean 'paper'?",
    "--space temps.yaml --set quue_size=5": "--set: unknown setting 'quue_size', did you mean 'queue_size'?",
    "--space temps.yaml --set epochs": "--set epochs: expected key=value",
    "--space temps.yaml --set epochs=0": "--set: epochs = 0: should be greater than or equal to 1",
    "--space temps.yaml --set topk=600": "topk 600 exceeds queue_size 192",
    "--space temps.yaml --set student_temperature=1": "--set student_temperature: is a parameter of",
    "--space temps.yaml --set batch_size=8 --workers 5": "--workers 5: batch_size 8 is not a multiple of it; take",
    "--space temps.yaml --set batch_size=64": "batch_size 64: there are only 36 clips to pretrain on; make it smaller",
    "--space temps.yaml --name a/b": "--name a/b: use letters, digits",
    "--resume it --set epochs=3": "--set: a resumed run keeps its own; leave it out, or start a new one",
    "--resume nothing": "--resume nothing: runs has no such run; there are none",
    "": "--space: name a space file, for instance --space temps.yaml",
}


def test_a_cluster_that_is_not_there_is_named_at_once(tiny_store, tmp_path):
    output = finish(search(tmp_path, tiny_store, GRID, "--address", "127.0.0.1:9"), 1)
    assert output.splitlines()[-1].startswith("error: --address 127.0.0.1:9: nobody answers there")
    assert os.listdir(tmp_path / "runs") == []


@pytest.mark.parametrize("words", BAD, ids=list(BAD))
def test_a_mistake_ends_in_one_line_and_exit_code_2(words, tiny_store, tmp_path):
    data = [] if "--data" in words or "--resume" in words else ["--data", tiny_store.path]
    process = start(REPOSITORY / "run_search.py", *words.split(), *data, cwd=tmp_path)
    output = finish(process, 1 if "gone.arrow" in words else 2)
    assert output.count("\n") == 1
    assert BAD[words] in output
    assert not (tmp_path / "runs").exists() or not os.listdir(tmp_path / "runs")


TABLE = {
    "method": "cells",
    "metric": {"name": "val/knn/joint", "goal": "maximize"},
    "title": "Two cells",
    "cells": [
        {"student_temperature": 0.1, "reported": {"test/knn/joint": 70.6}},
        {"student_temperature": 0.5, "reported": {"test/knn/joint": 64.3}},
    ],
    "reported_on": {"by": "us", "dataset": "synthetic", "protocol": "xview", "probes": {"knn": "1-NN"}},
    "seeds": [0, 1, 2],
    "claims": [{"says": "sharp is best", "best": {"student_temperature": 0.1}}],
}


def test_a_table_is_killed_and_gets_more_seeds_and_runs_nothing_twice(tiny_store, tmp_path):
    process = search(tmp_path, tiny_store, {**TABLE, "seeds": [0]}, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 1) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    resume = ["-m", "cmd_tune", "search", "--resume", "it"]
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TABLE))
    output = finish(start(*resume, "--space", "space.yaml", cwd=tmp_path))
    resumed, *started = re.findall(r"^trial-\d+ (?:starts|resumes).*$", output, re.MULTILINE)
    assert re.fullmatch("trial-001 resumes after epoch [23]: student_temperature 0.5, seed 0", resumed)
    assert started == [
        f"trial-{index:03d} starts: student_temperature {temperature}, seed {seed}"
        for index, (seed, temperature) in enumerate(product((1, 2), (0.1, 0.5)), 2)
    ]
    rows = trials(tmp_path)
    assert [(row["student_temperature"], row["seed"], row["epoch"]) for row in rows] == [
        (temperature, seed, "4") for seed in "012" for temperature in ("0.1", "0.5")
    ]
    assert all(row["test/knn/joint"] for row in rows)  # all alike, whatever their validation

    folder = tmp_path / "runs" / "it"
    tested = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/test.json")}
    assert "starts" not in finish(start(*resume, cwd=tmp_path)).replace("starting Ray", "")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/test.json")} == tested
    assert len(tested) == 6
    assert trials(tmp_path) == rows

    with open(folder / "cells.csv") as file:
        cells = list(csv.DictReader(file))
    for cell in cells:
        scores = [float(r["test/knn/joint"]) for r in rows if r["student_temperature"] == cell["student_temperature"]]
        assert (cell["metric"], cell["seeds"]) == ("test/knn/joint", "3")
        assert float(cell["mean"]) == pytest.approx(sum(scores) / 3)
        assert float(cell["difference"]) == pytest.approx(sum(scores) / 3 - float(cell["reported"]))
    report = (folder / "report.md").read_text()
    assert "6 of 6 trials finished. Test set: 24 clips" in report
    assert len(json.loads((folder / "looks.json").read_text())) == 1  # the last sitting showed the same scores again
    assert not (folder / "best.yaml").exists()

    client, runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(runs) == 7
    for row in rows:
        run = runs[row["trial"]]
        assert run.data.params == {"student_temperature": row["student_temperature"], "seed": row["seed"]}
        steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, "loss/total"))
        assert steps == {1: 1, 2: 1, 3: 1, 4: 1}
    names = {file.path for file in client.list_artifacts(runs["it"].info.run_id)}
    assert names >= {"report.md", "cells.csv", "table.png", "trials.csv", "baselines.yaml"}


def test_a_worker_that_cannot_go_on_ends_its_group_and_is_named(tiny_store, tmp_path):
    """The checkpoint cannot be written by the one worker that writes it; the other waits for it in a collective."""
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.05]}}}
    process = search(tmp_path, tiny_store, space, "--workers", 2, epochs=400)
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    checkpoint = tmp_path / "runs" / "it" / "trials" / "000" / "checkpoint.pt"
    in_the_way(checkpoint)
    output = finish(process, 1)
    failure = rf"worker 0 on \S+: {re.escape(str(checkpoint))}: cannot be written: Is a directory"
    assert re.search(rf"^trial-000 failed: {failure}$", output, re.MULTILINE)
    assert re.search(rf"^error: .*{failure}", output, re.MULTILINE)


def test_what_fails_at_the_end_is_named_and_the_rest_is_done(tiny_store, tmp_path):
    """A finalist without a checkpoint, a file that cannot be written."""
    process = search(tmp_path, tiny_store, GRID, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 1) >= 1, process)
    folder = tmp_path / "runs" / "it"
    (folder / "trials" / "000" / "checkpoint.pt").unlink()
    (folder / "best.yaml").mkdir()
    output = finish(process, 1)
    lines = output.splitlines()
    assert f"test of trial-000: {folder / 'trials' / '000' / 'checkpoint.pt'}: no such checkpoint" in lines
    assert f"best.yaml: {folder / 'best.yaml'}: cannot be written: Is a directory" in lines
    assert lines[-1].startswith("error: test of trial-000, best.yaml: failed, the rest is done")
    assert [bool(row["test/knn/fused"]) for row in trials(tmp_path)] == [False, True, True]
    assert (folder / "baselines.yaml").is_file()
    assert any(line.startswith("untrained ") for line in lines)
    _, runs = mlflow_runs(tmp_path)
    assert {name: run.info.status for name, run in runs.items()} == {
        "it": "FAILED", "trial-000": "FINISHED", "trial-001": "FINISHED", "trial-002": "FINISHED",
    }  # fmt: skip


def test_a_search_that_cannot_go_on_ends_in_order_and_is_resumed(tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.02, 0.05, 0.1, 0.2, 0.3]}}}
    data, away = tmp_path / "data.arrow", tmp_path / "away.arrow"
    shutil.copy(tiny_store.path, data)
    process = search(tmp_path, SimpleNamespace(path=data), space, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    data.rename(away)
    lines = finish(process, 1).splitlines()
    assert lines[-1].startswith(
        f"error: 3 trials in a row failed alike, the last since {data}: no such file; make one with"
    )
    assert [row["state"] for row in trials(tmp_path)] == ["finished", "failed", "failed", "failed"]
    resume = shlex.split(lines[-1].partition("go on with: ")[2])

    away.rename(data)  # a resume tries the three again, before the last two
    process = start(*resume[1:], cwd=tmp_path)
    wait_for(lambda: epochs_done(tmp_path, 3) >= 1, process)
    history = tmp_path / "runs" / "it" / "trials" / "005" / "history.jsonl"
    history.mkdir(parents=True)
    output = finish(process, 1)
    assert output.splitlines()[-1].startswith(f"error: {history}: cannot be written: Is a directory; mend that, and go")
    assert "Traceback" not in output
    assert [row["state"] for row in trials(tmp_path)] == ["finished"] * 5 + ["running"]
    _, runs = mlflow_runs(tmp_path)
    assert {name for name, run in runs.items() if run.info.status != "FINISHED"} == {"it", "trial-005"}
    assert (runs["it"].info.status, runs["trial-005"].info.status) == ("FAILED", "KILLED")

    history.rmdir()
    output = finish(start(*resume[1:], cwd=tmp_path))
    assert re.findall(r"^trial-\d+ (?:starts|resumes)", output, re.MULTILINE) == ["trial-005 starts"]
    assert [(row["state"], row["epoch"]) for row in trials(tmp_path)] == [("finished", "4")] * 6
    _, runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
