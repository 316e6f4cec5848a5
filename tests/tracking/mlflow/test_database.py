"""A database of MLflow on a disk that fills, half made, of another release, damaged: real files, a real small disk."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine, text

from cmd_tune.errors import CmdTuneError
from cmd_tune.sqlite_url import sqlite_url
from cmd_tune.tracking import RunSnapshot, open_tracker
from cmd_tune.tracking.mlflow.database import _unsynced, cure, ensure_database
from cmd_tune.tracking.mlflow.uris import default_uri
from tests.odd_names import ALL


def fails_where_files_may_have(limit: int, make: Callable[[], object]) -> bool:
    """Whether it fails to make a database while no file may grow beyond so many bytes, as on a full disk.

    In a fork of this process.
    """
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            make()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def execute(file: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as database, database:
        return database.execute(statement, values).fetchall()


def refusal(storage: Path) -> str:
    """What a search is told at its start."""
    tracker = open_tracker(default_uri(storage), "synthetic-xview", "it", storage)
    with pytest.raises(CmdTuneError) as caught:
        tracker.check()
    tracker.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def record(storage: Path, name: str = "it") -> list[str]:
    """A search that is shown. Returns the lines that were told, and MLflow must have its run."""
    told: list[str] = []
    tracker = open_tracker(default_uri(storage), "synthetic-xview", name, storage, tell=told.append)
    tracker.check()
    tracker.show(RunSnapshot(key=None, name=name, params={}, documents={"settings.yaml": {"topk": 8}}))
    assert tracker.close() == ""
    client = MlflowClient(default_uri(storage))
    runs = client.search_runs([client.get_experiment_by_name("synthetic-xview").experiment_id])
    assert name in {run.info.run_name for run in runs}
    return told


def test_no_other_database_ceases_to_wait_for_the_disk(tmp_path: Path) -> None:
    def synced(name: str) -> int:
        engine = create_engine(sqlite_url(tmp_path / name))
        with engine.connect() as connection:
            found = connection.execute(text("PRAGMA synchronous")).scalar_one()
        engine.dispose()
        return int(found)

    with _unsynced("new.db"):
        assert (synced("new.db"), synced("other.db")) == (0, 2)
    assert synced("new.db") == 2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole database with a run, to be copied."""
    storage = tmp_path_factory.mktemp("made")
    assert record(storage, "first") == []
    return storage / "mlflow.db"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    (tmp_path / "mlflow.db").write_bytes(made.read_bytes())
    return tmp_path / "mlflow.db"


@pytest.mark.parametrize("name", ["plain", ALL])
def test_where_the_disk_is_full_nothing_is_left_of_a_database(tmp_path: Path, name: str) -> None:
    storage = tmp_path / name
    storage.mkdir()
    assert fails_where_files_may_have(300_000, lambda: ensure_database(default_uri(storage), tmp_path / "files"))
    assert [path.name for path in storage.iterdir()] == ["mlflow.lock"]
    assert record(storage) == []  # with room again


@pytest.mark.parametrize("limit", [4096, 30_000, 150_000, 400_000])
def test_one_that_mlflow_left_half_made_is_made_anew_and_that_is_said(tmp_path: Path, limit: int) -> None:
    file = tmp_path / "mlflow.db"
    assert fails_where_files_may_have(limit, lambda: SqlAlchemyStore(sqlite_url(file), "/tmp/files"))  # noqa: S108
    assert file.stat().st_size <= limit
    assert record(tmp_path) == [f"{file}: was left half made, with no run in it, and is made anew"]
    assert execute(file, "SELECT count(*) FROM runs") == [(1,)]
    assert record(tmp_path, "another") == []
    assert execute(file, "SELECT count(*) FROM runs") == [(2,)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607


def test_on_a_disk_that_is_full_a_search_is_refused_and_with_room_again_it_is_recorded(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 7_800_000)
    assert f"make room for {small_disk}/mlflow.db" in refusal(small_disk)
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "mlflow.lock"]
    filler.unlink()
    assert record(small_disk) == []


def test_of_another_release_it_is_left_and_the_cure_is_named_and_works(copy: Path) -> None:
    ((latest,),) = execute(copy, "SELECT version_num FROM alembic_version")
    execute(copy, "UPDATE alembic_version SET version_num = '0c779009ac13'")
    before = copy.read_bytes()
    said = refusal(copy.parent)
    assert "found version 0c779009ac13" in said
    assert f"take a copy of {copy}, then run: {sys.executable} -m mlflow db upgrade sqlite:///{copy}" in said
    assert copy.read_bytes() == before
    execute(copy, "UPDATE alembic_version SET version_num = ?", latest)
    assert record(copy.parent, "second") == []


def test_of_a_newer_release_that_is_what_is_needed(copy: Path) -> None:
    execute(copy, "UPDATE alembic_version SET version_num = 'fedcba987654'")
    assert "pip install --upgrade mlflow" in refusal(copy.parent)


def test_one_with_runs_that_is_incomplete_is_left_and_said(copy: Path) -> None:
    execute(copy, "DROP TABLE secrets")  # an upgrade that was cut off
    execute(copy, "UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'")
    before = copy.read_bytes()
    said = refusal(copy.parent)
    assert f"move {copy} away, and --resume NAME writes the records of a search again" in said
    assert execute(copy, "SELECT name FROM runs") == [("first",)]
    copy.write_bytes(before)


@pytest.mark.parametrize("damage", ["torn", "text"])
def test_a_damaged_file_is_left_and_said(copy: Path, damage: str) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[:4096] + os.urandom(len(content) - 8192) if damage == "torn" else b"not a database " * 99)
    before = copy.read_bytes()
    assert f"it is damaged: put a copy back, or move {copy} away" in refusal(copy.parent)
    assert copy.read_bytes() == before


def test_a_database_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    execute(file, "CREATE TABLE birds (name TEXT)")
    assert ensure_database(sqlite_url(file), tmp_path) == ""
    assert execute(file, "SELECT name FROM sqlite_master WHERE type = 'table'") == [("birds",)]


def test_one_that_is_removed_while_a_search_writes_is_made_anew_with_all_runs(tmp_path: Path) -> None:
    told: list[str] = []
    tracker = open_tracker(default_uri(tmp_path), "synthetic-xview", "it", tmp_path, tell=told.append)
    for key in (None, 0, 1):
        tracker.show(RunSnapshot(key=key, name=f"run-{key}", params={}, documents={}))
    while tracker._backlog or not tracker._tried.is_set():
        time.sleep(0.01)
    (tmp_path / "mlflow.db").unlink()
    epochs = [{"epoch": 1, "loss/total": 1.0}]
    tracker.show(RunSnapshot(key=1, name="run-1", params={}, documents={}, epochs=epochs))
    assert tracker.close() == ""
    assert told == [f"{tmp_path / 'mlflow.db'}: was gone; it is made anew, with this run"]
    runs = execute(tmp_path / "mlflow.db", "SELECT name FROM runs ORDER BY name")
    assert runs == [("run-0",), ("run-1",), ("run-None",)]
    assert execute(tmp_path / "mlflow.db", "SELECT value FROM metrics") == [(1.0,)]


def test_of_other_failures_no_cure_is_known() -> None:
    assert cure("postgresql://h/d", "malformed") == ""
    assert cure("sqlite:////a/mlflow.db", "no such user") == ""
    assert cure("postgresql://me:pw@h/d", "out-of-date database schema (found version None, but").endswith(
        "mlflow db upgrade 'postgresql://me:***@h/d'"
    )
