"""Runs that are stopped, killed or finished, and resumed."""

import re
import shlex
import signal
import sqlite3
import sys
from collections import Counter

import pytest

from tests.end_to_end.searches import GRID, TINY, epochs_done, finish, mlflow_runs, search, start, trials, wait_for

pytestmark = pytest.mark.long


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


@pytest.mark.slow
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
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed", marks=pytest.mark.slow),  # as test_soak does, again and again
        pytest.param("stop", id="by the command"),  # which sends SIGINT
        pytest.param(signal.SIGTERM, id="terminated", marks=pytest.mark.slow),
    ],
)
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(how, unbroken, tiny_store, tmp_path):
    """No trial is lost, run twice or counted twice, and every number is that of the unbroken search."""
    process = search(tmp_path, tiny_store, GRID, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 1) >= 1, process)
    if how == "stop":
        assert "it: has ended" in finish(start("-m", "cmd_tune", "stop", "it", cwd=tmp_path))
    else:
        process.send_signal(how)
    if how != signal.SIGKILL:
        output = finish(process, 130)
        resume = shlex.split(re.search(r"go on with: (.*)$", output, re.MULTILINE)[1])
        _, runs = mlflow_runs(tmp_path)
        assert {runs["it"].info.status, runs["trial-001"].info.status} == {"KILLED"}
    else:
        process.communicate()
        resume = [sys.executable, "-m", "cmd_tune", "resume", "it"]
    output = finish(start(*resume[1:], cwd=tmp_path))
    assert re.search(r"^trial-001 resumes after epoch [123]: teacher_temperature 0.05$", output, re.MULTILINE)

    def scores(cwd):
        return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in trials(cwd)[:3]]

    assert scores(tmp_path) == scores(unbroken[0])
    client, runs = mlflow_runs(tmp_path)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(runs) == 6  # with its baselines
    for name in ("trial-000", "trial-001", "trial-002"):
        steps = Counter(point.step for point in client.get_metric_history(runs[name].info.run_id, "loss/total"))
        assert steps == {1: 1, 2: 1, 3: 1, 4: 1}
    with sqlite3.connect(tmp_path / "runs" / "it" / "study.db") as study:
        assert study.execute("select state, count(*) from trials group by state").fetchall() == [("COMPLETE", 3)]
