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
from tests.end_to_end.searches import GRID, finish, run_name, search, start, trials, wait_for
from tests.ray_clusters import mounts_possible, ray_cluster

pytestmark = pytest.mark.long


@pytest.mark.slow
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
        return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in trials(cwd)[:3]]

    assert scores(tmp_path) == scores(unbroken[0])
    client = MlflowClient(default_uri(working))
    experiment = client.get_experiment_by_name("synthetic-xview")
    runs = {run_name(run): run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(
        ("it", "trial-000", "trial-001", "trial-002", "untrained encoder", "raw skeletons, 1-NN"), "FINISHED"
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


@pytest.mark.slow
def test_nodes_of_a_search_at_a_uri_share_its_working_folder(s3, tiny_store, tmp_path, monkeypatch):
    """Their own caches do not matter. A node that does not see the folder is named before any trial."""
    if not mounts_possible():
        pytest.skip("no mount namespaces here")
    RemoteFolder(s3).upload(tiny_store.path, "data/tiny.arrow")
    data, space = SimpleNamespace(path=f"{s3}/data/tiny.arrow"), {**GRID, "refit": "none"}
    with ray_cluster(cpus=1) as cluster:
        for name, value in cluster.env.items():
            monkeypatch.setenv(name, value)
        cluster.join(cpus=1, XDG_CACHE_HOME=str(tmp_path / "second"))
        there = ("--address", cluster.address, "--workers", "2", "--storage")
        output = finish(search(tmp_path, data, space, *there, f"{s3}/runs"))
        assert "2 workers a trial, 1 CPU and no GPU a worker" in output
        assert output.count(" finished\n") == 3
        assert not (tmp_path / "second" / "cmd_tune" / "storages").exists()

        cluster.join(cpus=1, hidden=tmp_path / "machine", XDG_CACHE_HOME=str(tmp_path / "third"))
        output = finish(search(tmp_path, data, space, *there, f"{s3}/more"), 1)
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert re.fullmatch(
        rf"error: node \S+ \(\S+\): storage: {tmp_path}/machine/\S+/it is not there, or is another folder; "
        r"all nodes must share the working folder of a storage at a URI: start the search with XDG_CACHE_HOME naming a "
        r"folder that they share",
        line,
    )
    assert "trial-000 starts" not in output
    assert RemoteFolder(f"{s3}/more").files() == {}
