"""Runs that 0.1.0 began and was interrupted in go on: space files, settings, checkpoints, study and MLflow are formats.

`golden/runs-0.1.0.zip` holds a storage with a search (two trials of four finished, one in its midst), a pretraining and
an evaluation of trial 0 (one task of two done), and the store they read. "/kept" stands for where it lay.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from cmd_tune.cli import app
from cmd_tune.train.checkpoint import load_checkpoint
from tests.end_to_end.searches import finish, run_name, start

pytestmark = pytest.mark.long

EPOCHS = 40


@pytest.fixture(scope="module")
def kept(golden, tmp_path_factory):
    """The folder of the storage `runs`, as if it had always lain here."""
    place = tmp_path_factory.mktemp("kept")
    with ZipFile(golden / "runs-0.1.0.zip") as archive:
        archive.extractall(place)
    for path in place.glob("runs/*/*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("/kept", str(place)), encoding="utf-8")
    with closing(sqlite3.connect(place / "runs" / "mlflow.db")) as database, database:
        for table, column in {"experiments": "artifact_location", "runs": "artifact_uri", "params": "value"}.items():
            database.execute(f"UPDATE {table} SET {column} = replace({column}, '/kept', ?)", [str(place)])  # noqa: S608
    return place


def resume(kept, command):
    """In this process, which loads all that a command needs once."""
    done = CliRunner().invoke(app, [command, "--resume", command, "--storage", str(kept / "runs")])
    assert done.exit_code == 0, done.output
    return done.output


def mlflow_runs(kept):
    client = MlflowClient(f"sqlite:///{kept / 'runs' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("synthetic-xview").experiment_id])
    return client, {run_name(run): run for run in runs}


def records(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_search_goes_on(kept):
    trials = kept / "runs" / "search" / "trials"
    before = {path.parent.name: records(path) for path in sorted(trials.glob("*/history.jsonl"))}
    assert {name: len(history) for name, history in before.items()} == {"000": EPOCHS, "001": EPOCHS, "002": 6}
    finish(start("-m", "cmd_tune", "search", "--resume", "search", cwd=kept))
    after = {path.parent.name: records(path) for path in sorted(trials.glob("*/history.jsonl"))}
    assert [len(history) for history in after.values()] == [EPOCHS] * 4
    assert [r["epoch"] for r in after["002"]] == list(range(1, EPOCHS + 1))
    assert all(after[name][: len(history)] == history for name, history in before.items())
    client, runs = mlflow_runs(kept)
    names = ["search", *(f"trial-{index:03d}" for index in range(4))]
    assert {name: runs[name].info.status for name in names} == dict.fromkeys(names, "FINISHED")
    for name in names[1:]:
        points = client.get_metric_history(runs[name].info.run_id, "loss/total")
        assert sorted(point.step for point in points) == list(range(1, EPOCHS + 1))
    best = yaml.safe_load((kept / "runs" / "search" / "best.yaml").read_text(encoding="utf-8"))
    assert best["student_temperature"] in (0.1, 0.2)
    # What 0.1.0 did not record: settings that no trial changes, on runs that it had described.
    assert {runs[name].data.params["queue_size"] for name in names[1:]} == {str(best["queue_size"])}
    assert runs["untrained encoder"].data.tags["mlflow.parentRunId"] == runs["search"].info.run_id


def test_a_pretraining_goes_on(kept):
    checkpoint = kept / "runs" / "pretrain" / "checkpoint.pt"
    before = load_checkpoint(checkpoint)["history"]
    assert 0 < len(before) < EPOCHS
    resume(kept, "pretrain")
    after = load_checkpoint(checkpoint)["history"]
    assert after[: len(before)] == before
    assert [record["epoch"] for record in after] == list(range(1, EPOCHS + 1))
    assert mlflow_runs(kept)[1]["pretrain"].info.status == "FINISHED"


def test_an_evaluation_goes_on(kept):
    folder = kept / "runs" / "evaluate"
    done = folder / "work" / "checkpoint" / "knn-measures.json"
    before = done.read_bytes()
    output = resume(kept, "evaluate")
    assert done.read_bytes() == before
    assert "checkpoint: knn took" not in output  # it was done
    assert "checkpoint: linear took" in output
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert found["dataset"] == "synthetic"
    assert mlflow_runs(kept)[1]["evaluate"].info.status == "FINISHED"
