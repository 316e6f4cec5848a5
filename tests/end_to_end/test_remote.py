"""Searches whose storage and data lie at a URI, on a real S3 server: a machine is lost, another one goes on."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from cmd_tune.remote_files import RemoteFolder
from cmd_tune.tracking.mlflow.uris import default_uri
from tests.end_to_end.searches import GRID, finish, search, start, trials, wait_for

pytestmark = pytest.mark.long


def test_a_search_goes_on_where_its_machine_was_lost(unbroken, s3, tiny_store, tmp_path, monkeypatch):
    """Of the other machine only the URI is known; every number is that of an unbroken search."""
    RemoteFolder(s3).upload(tiny_store.path, "data/tiny.arrow")
    data, storage = SimpleNamespace(path=f"{s3}/data/tiny.arrow"), f"{s3}/runs"
    process = search(tmp_path, data, GRID, "--concurrent", "1", "--storage", storage)
    remote = RemoteFolder(f"{storage}/it")

    def has_a_trial():
        if not {"study.db", "trials/000/checkpoint.pt", "trials/000/history.jsonl"} <= remote.files().keys():
            return False
        remote.download("study.db", tmp_path / "study.db")
        with closing(sqlite3.connect(tmp_path / "study.db")) as study:
            return study.execute("select trial from cmd_tune_copied").fetchall() != []

    wait_for(has_a_trial, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "runs").exists()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    output = finish(start("-m", "cmd_tune", "search", "--resume", "it", "--storage", storage, cwd=tmp_path))
    assert f"{storage}/it: downloading to {tmp_path / 'another'}" in output
    assert f"{s3}/data/tiny.arrow: fetching" in output
    assert not re.search(r"^trial-000 starts", output, re.MULTILINE)
    (working,) = (tmp_path / "another" / "cmd_tune" / "storages").iterdir()
    (tmp_path / "runs").symlink_to(working)

    def scores(cwd):
        return [{key: value for key, value in row.items() if key != "seconds"} for row in trials(cwd)[:3]]

    assert scores(tmp_path) == scores(unbroken[0])
    client = MlflowClient(default_uri(working))
    experiment = client.get_experiment_by_name("synthetic-xview")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(
        ("it", "trial-000", "trial-001", "trial-002"), "FINISHED"
    )
    for name in ("trial-000", "trial-001", "trial-002"):
        steps = Counter(point.step for point in client.get_metric_history(runs[name].info.run_id, "loss/total"))
        assert steps == {1: 1, 2: 1, 3: 1, 4: 1}

    # What the URI has is what the folder has, but for what only Ray reads.
    here = {path.relative_to(working / "it").as_posix(): path for path in (working / "it").rglob("*") if path.is_file()}
    there = remote.files()
    assert {name for name in here if not name.startswith("ray/")} - {"lock"} == set(there)
    for name, mark in there.items():
        assert remote.read(name) == here[name].read_bytes() or name == "study.db"
        assert mark.size > 0
    remote.download("study.db", tmp_path / "study.db")
    with sqlite3.connect(tmp_path / "study.db") as study:
        assert study.execute("select state, count(*) from trials group by state").fetchall() == [("COMPLETE", 3)]
