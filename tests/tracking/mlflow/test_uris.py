"""Paths with odd characters, as URIs and in commands that are printed; MLflow's variables."""

import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cmd_tune.errors import UsageError
from cmd_tune.runs.run_folder import resume_line
from cmd_tune.sqlite_url import sqlite_url
from cmd_tune.tracking import RunSnapshot, open_tracker
from cmd_tune.tracking.mlflow.page import ui_command
from cmd_tune.tracking.mlflow.uris import (
    default_uri,
    relative_uri,
    resolve_kept_uri,
    resolve_tracking_uri,
    variables_not_taken,
)
from tests.odd_names import ALL, ODD


def test_records_and_their_files_lie_in_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = tmp_path / ALL
    storage.mkdir()
    monkeypatch.chdir(storage)
    tracker = open_tracker(default_uri(storage), "synthetic-xview", "it", storage)
    tracker.show(RunSnapshot(key=None, name="it", params={}, documents={"settings.yaml": {"topk": 8}}))
    assert tracker.close() == ""
    client = MlflowClient(default_uri(storage))
    experiment = client.get_experiment_by_name("synthetic-xview")
    (run,) = client.search_runs([experiment.experiment_id])
    (file,) = client.list_artifacts(run.info.run_id)
    assert Path(client.download_artifacts(run.info.run_id, file.path)).read_text() == "topk: 8\n"
    assert [path.name for path in tmp_path.iterdir()] == [ALL]
    assert {path.name for path in storage.iterdir()} == {"mlflow.db", "mlflow.lock", "mlartifacts"}


@pytest.mark.parametrize("name", [*ODD, ALL], ids=ascii)
def test_a_printed_command_is_the_shells(name: str) -> None:
    uri = default_uri(Path("/runs") / name)
    words = shlex.split(ui_command(uri))
    assert words[words.index("--backend-store-uri") + 1] == uri
    words = shlex.split(resume_line("search", Path("/runs") / name / "it"))
    assert words[-2:] == ["--storage", str(Path("/runs") / name)]


def test_mlflows_own_variable_is_taken_after_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_tracking_uri(None, tmp_path) == default_uri(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here:5000")
    assert resolve_tracking_uri(None, tmp_path) == "http://here:5000"
    assert variables_not_taken("http://here:5000", "x") == []
    assert resolve_tracking_uri("http://there:5000", tmp_path) == "http://there:5000"
    (line,) = variables_not_taken("http://there:5000", "x")
    assert line == "MLFLOW_TRACKING_URI is not taken: this run goes to http://there:5000"


def test_a_variable_that_is_not_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    (line,) = variables_not_taken("http://here:5000", "ucla-xview")
    assert line == "MLFLOW_EXPERIMENT_NAME is not taken: runs are made in the experiment ucla-xview"


def test_a_database_of_a_relative_path_is_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is resumed from elsewhere goes on in the same one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert resolve_tracking_uri("sqlite:///mine.db", tmp_path / "runs") == sqlite_url(tmp_path / "mine.db")
    assert resolve_tracking_uri("sqlite:///~/mine.db", tmp_path / "runs") == "sqlite:////home/me/mine.db"
    assert resolve_tracking_uri("sqlite:////there/mine.db", tmp_path / "runs") == "sqlite:////there/mine.db"
    odd = sqlite_url(tmp_path / ALL)
    assert resolve_tracking_uri(odd, tmp_path / "runs") == odd
    with pytest.raises(UsageError, match="is no URI"):
        resolve_tracking_uri("sqlite", tmp_path)


def test_a_database_in_the_storage_is_kept_by_its_place_there(tmp_path: Path) -> None:
    """And found wherever the storage has moved to; one elsewhere stays there, and its folder is not made again."""
    old, new = tmp_path / "old", tmp_path / ALL
    new.mkdir()
    assert relative_uri(default_uri(old), old) == "sqlite:///mlflow.db"
    assert resolve_kept_uri("sqlite:///mlflow.db", new) == default_uri(new)
    assert resolve_kept_uri(default_uri(old), new) == default_uri(new)  # an earlier release wrote it in full
    for elsewhere in (sqlite_url(tmp_path / "mine.db"), "http://here:5000", "postgresql://here/db", "sqlite://"):
        assert relative_uri(elsewhere, old) == elsewhere
        assert resolve_kept_uri(elsewhere, new) == elsewhere
    assert relative_uri(sqlite_url(old / "a b.db"), old) == sqlite_url(old / "a b.db")
    gone = sqlite_url(tmp_path / "gone" / "mine.db")
    with pytest.raises(UsageError, match=r"^tracking_uri: .*/gone, the folder of its database, is not there"):
        resolve_kept_uri(gone, new)
    (new / "mine.db").touch()
    assert resolve_kept_uri(gone, new) == sqlite_url(new / "mine.db")
