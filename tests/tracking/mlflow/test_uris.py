"""Paths with odd characters, as URIs and in commands that are printed; MLflow's variables."""

import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cmd_tune.errors import UsageError
from cmd_tune.runs.run_folder import resume_line
from cmd_tune.sqlite_url import sqlite_url
from cmd_tune.tracking import RunSnapshot, open_tracker
from cmd_tune.tracking.mlflow.page import links, ui_command
from cmd_tune.tracking.mlflow.uris import (
    default_uri,
    password_remark,
    relative_uri,
    resolve_tracking_uri,
    resumed_tracking_uri,
    sqlite_file,
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


WRITE = "write http://HOST:PORT or sqlite:///FILE"
WRONG = [
    ("localhost:5000", "is no URI; write http://localhost:5000"),
    ("10.0.0.1:5000/mlflow", "is no URI; write http://10.0.0.1:5000/mlflow"),
    ("[::1]:5000", "is no URI; write http://[::1]:5000"),
    ("server", f"is no URI; {WRITE}"),
    ("./mlruns", f"is no URI; {WRITE}"),
    ("", f"is no URI; {WRITE}"),
    ("runs/mlflow.db", "is no URI; write sqlite:///runs/mlflow.db"),
    ("/runs/mlflow.db", "is no URI; write sqlite:////runs/mlflow.db"),
    ("http:/x", "names no host; write http://HOST:PORT"),
    ("http:x", "names no host; write http://HOST:PORT"),
    ("https://", "names no host; write https://HOST:PORT"),
    ("http://host 5000", "names no host; write http://HOST:PORT"),
    ("http://host:99999", "its host or port cannot be; write http://HOST:PORT"),
    ("http://host:port", "its host or port cannot be; write http://HOST:PORT"),
    ("http://host:5000/#/experiments/1", "is the address of a page; write http://host:5000"),
    ("file:./mlruns", "MLflow no longer keeps runs in plain files; write sqlite:///FILE or http://HOST:PORT"),
    ("file:///mlruns", "MLflow no longer keeps runs in plain files; write sqlite:///FILE or http://HOST:PORT"),
    ("htp://host", f"unknown scheme htp, did you mean 'http'; {WRITE}"),
    ("s3://bucket", f"unknown scheme s3, known: http, https, mssql, mysql, postgresql, sqlite; {WRITE}"),
    ("databricks", f"Databricks names experiments in its own way, and is not supported; {WRITE}"),
    ("databricks://profile", f"Databricks names experiments in its own way, and is not supported; {WRITE}"),
    ("sqlite:mlflow.db", "is no URI of a database; write sqlite:///FILE"),
    ("sqlite://mlflow.db", "names no file; write sqlite:///FILE"),
    ("sqlite:///", "names no file; write sqlite:///FILE"),
    ("sqlite:///:memory:", "names no file; write sqlite:///FILE"),
    ("sqlite:////", "is a folder; write sqlite:////mlflow.db"),
    ("mysql+nothing://host/d", "its driver is not known; write mysql://…"),
    ("mssql://host/d", "its driver pyodbc is not installed; pip install pyodbc, and write mssql+pyodbc://…"),
]


@pytest.mark.parametrize(("uri", "why"), WRONG, ids=[uri or "empty" for uri, _ in WRONG])
def test_where_no_run_can_be_recorded_is_refused_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_tracking_uri(uri, tmp_path)
    assert caught.value.lines == [f"--tracking-uri {uri}: {why}"]
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UsageError) as caught:
            resolve_tracking_uri(None, tmp_path)
        assert caught.value.lines == [f"MLFLOW_TRACKING_URI {uri}: {why}"]
        assert resolve_tracking_uri("http://host", tmp_path) == "http://host"  # which is not this variable's
        assert len(variables_not_taken("http://host", "x")) == 1


def test_what_is_wrong_with_a_uri_is_said_without_its_password(tmp_path: Path) -> None:
    for uri in ("http://me:s3/cret@host", "postgres://me:s3cret@host/d", "mssql://me:s3cret@host/d"):
        with pytest.raises(UsageError) as caught:
            resolve_tracking_uri(uri, tmp_path)
        assert "me:***@host" in str(caught.value)
        assert "cret" not in str(caught.value)


def test_uris_that_can_be_are_kept(tmp_path: Path) -> None:
    for uri in ("http://host:5000", "https://me:pw@host/mlflow", "http://[::1]:5000", "http://10.0.0.1"):
        assert resolve_tracking_uri(f" {uri}/ ", tmp_path) == uri


def test_a_password_that_is_not_kept_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    server, kept = "http://me:s3cret@host:5000", "http://me:***@host:5000"
    ways = "--tracking-uri or MLFLOW_TRACKING_URI, or the password by MLFLOW_TRACKING_PASSWORD"
    with pytest.raises(UsageError) as caught:
        resumed_tracking_uri(None, kept, tmp_path)
    assert caught.value.lines == [
        f"--tracking-uri: the password of {kept} is not kept in the run's folder; give the whole URI by {ways}"
    ]
    assert resumed_tracking_uri(server, kept, tmp_path) == server
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")  # which MLflow reads by itself
    assert resumed_tracking_uri(None, kept, tmp_path) == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert resumed_tracking_uri(None, kept, tmp_path) == server
    assert resumed_tracking_uri(None, "http://other:5000", tmp_path) == "http://other:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(UsageError):
        resumed_tracking_uri(None, "http://me:***@other", tmp_path)


def test_a_password_is_neither_in_links_nor_in_commands_and_that_it_is_not_kept_is_said() -> None:
    server, database = "http://me:s3cret@host:5000", "postgresql://me:s3cret@host/d"
    assert links(server, "", "it") == ["http://host:5000"]
    assert links(server, "7", "it")[0].startswith("http://host:5000/#/experiments/7/runs?")
    assert "postgresql://me:***@host/d" in links(database, "7", "it")[0]
    (line,) = password_remark(server)
    assert line.startswith("MLflow at http://me:***@host:5000: its password is not kept in the run's folder")
    assert password_remark("http://host") == password_remark("sqlite:////a/b.db") == []


@pytest.mark.parametrize("name", ["plain", ALL])
def test_the_file_of_a_database(tmp_path: Path, name: str) -> None:
    assert sqlite_file(default_uri(tmp_path / name)) == tmp_path / name / "mlflow.db"
    assert sqlite_file("postgresql://h/d") is None


def test_a_database_in_the_storage_is_kept_by_its_place_there(tmp_path: Path) -> None:
    """And found wherever the storage has moved to; one elsewhere stays there, and its folder is not made again."""
    old, new = tmp_path / "old", tmp_path / ALL
    new.mkdir()
    assert relative_uri(default_uri(old), old) == "sqlite:///mlflow.db"
    assert resumed_tracking_uri(None, "sqlite:///mlflow.db", new) == default_uri(new)
    assert resumed_tracking_uri(None, default_uri(old), new) == default_uri(new)  # an earlier release wrote it in full
    for elsewhere in (sqlite_url(tmp_path / "mine.db"), "http://here:5000"):
        assert relative_uri(elsewhere, old) == elsewhere
        assert resumed_tracking_uri(None, elsewhere, new) == elsewhere
    assert relative_uri(sqlite_url(old / "a b.db"), old) == sqlite_url(old / "a b.db")
    gone = sqlite_url(tmp_path / "gone" / "mine.db")
    with pytest.raises(UsageError, match=r"^tracking_uri: .*/gone, the folder of its database, is not there"):
        resumed_tracking_uri(None, gone, new)
    (new / "mine.db").touch()
    assert resumed_tracking_uri(None, gone, new) == sqlite_url(new / "mine.db")
