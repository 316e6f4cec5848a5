"""What every tracker must do: the registered ones, and a small one of these tests' own."""

import json
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from cmd_tune.tracking import TRACKERS, BackgroundTracker, Model, RunSnapshot, RunStatus, Tracker
from cmd_tune.tracking.mlflow.uris import default_uri
from tests.tracking.file_tracker import FileTracker

EXPERIMENT, METRIC = "synthetic-xview", "loss/total"
WORDS = {"RUNNING": "running", "FINISHED": "finished", "KILLED": "stopped", "FAILED": "failed"}  # MLflow's → ours


@dataclass(frozen=True)
class Recorded:
    """What a reader of the server finds of one run."""

    name: str
    status: str
    params: dict[str, str]
    history: list[tuple[int, float]]


class Server(ABC):
    """A place that a tracker writes to, with other means to read it and to let it fail."""

    tracker: type[Tracker[Any]]
    uri: str

    @abstractmethod
    def __init__(self, storage: Path) -> None: ...

    @abstractmethod
    def read(self, search: str) -> list[Recorded]:
        """All runs of a search, by name."""

    @abstractmethod
    def remove(self, search: str, name: str) -> None:
        """Delete a run, as a person does."""

    @abstractmethod
    def outage(self) -> AbstractContextManager[None]:
        """While it lasts, metrics cannot be written."""


class MlflowDatabase(Server):
    tracker = TRACKERS["mlflow"]

    def __init__(self, storage: Path) -> None:
        self.storage, self.uri = storage, default_uri(storage)

    def read(self, search: str) -> list[Recorded]:
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
        runs = client.search_runs([experiment], f"tags.`cmd_tune.search` = '{search}'")
        found = []
        for run in runs:
            history = client.get_metric_history(run.info.run_id, METRIC)
            points = [(point.step, point.value) for point in history]
            found.append(Recorded(run.info.run_name, WORDS[run.info.status], run.data.params, points))
        return sorted(found, key=lambda run: run.name)

    def remove(self, search: str, name: str) -> None:
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
        for run in client.search_runs([experiment], f"tags.`cmd_tune.search` = '{search}'"):
            if run.info.run_name == name:
                client.delete_run(run.info.run_id)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self._execute("CREATE TRIGGER outage BEFORE INSERT ON metrics BEGIN SELECT RAISE(ABORT, 'no room'); END")
        yield
        self._execute("DROP TRIGGER outage")

    def _execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.storage / "mlflow.db", timeout=60)) as database, database:
            database.execute(statement)


class Folder(Server):
    tracker = FileTracker

    def __init__(self, storage: Path) -> None:
        self.uri, self._away = str(storage / "shown"), storage / "away"

    def read(self, search: str) -> list[Recorded]:
        found = []
        for path in Path(self.uri).glob(f"{search}-*.json"):
            run = json.loads(path.read_text(encoding="utf-8"))
            params = {name: str(value) for name, value in run["params"].items()}
            points = [(int(epoch), value) for epoch, value in run["metrics"].get(METRIC, {}).items()]
            found.append(Recorded(run["name"], run["status"], params, points))
        return sorted(found, key=lambda run: run.name)

    def remove(self, search: str, name: str) -> None:
        for path in Path(self.uri).glob(f"{search}-*.json"):
            if json.loads(path.read_text(encoding="utf-8"))["name"] == name:
                path.unlink()

    @contextmanager
    def outage(self) -> Iterator[None]:
        Path(self.uri).rename(self._away)
        Path(self.uri).write_text("in the way")
        yield
        Path(self.uri).unlink()
        self._away.rename(self.uri)


SERVERS: dict[str, type[Server]] = {"mlflow": MlflowDatabase, "folder": Folder}


@pytest.fixture(params=SERVERS, scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """One for all tests: MLflow takes seconds to make a database."""
    return SERVERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture
def begin(
    server: Server, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], BackgroundTracker]:
    """Starts a tracker of this test's search, as each session of it does."""
    for pause in ("PAUSE_S", "SETTLE_S"):
        monkeypatch.setattr(f"cmd_tune.tracking.backlog.{pause}", 0.02)
    return lambda: BackgroundTracker(server.tracker(server.uri, EXPERIMENT, search_of(request), tmp_path))


@pytest.fixture
def read(server: Server, request: pytest.FixtureRequest) -> Callable[[], list[Recorded]]:
    return lambda: server.read(search_of(request))


def search_of(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "-").replace("]", "")


def parent(status: RunStatus | None = RunStatus.RUNNING) -> RunSnapshot:
    return RunSnapshot(key=None, name="it", params={"method": "tpe"}, documents={}, status=status)


def trial(last: int, status: RunStatus | None = RunStatus.RUNNING) -> RunSnapshot:
    """After `last` epochs."""
    epochs = [{"epoch": epoch, METRIC: 1 / epoch} for epoch in range(1, last + 1)]
    settings = {"settings.yaml": {"topk": 8}}
    return RunSnapshot(key=0, name="trial-000", params={"topk": 8}, documents=settings, epochs=epochs, status=status)


def expected(status: str, last: int) -> list[Recorded]:
    """Of a search that runs and of its trial after `last` epochs."""
    history = [(epoch, 1 / epoch) for epoch in range(1, last + 1)]
    return [Recorded("it", "running", {"method": "tpe"}, []), Recorded("trial-000", status, {"topk": "8"}, history)]


def wait(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.01)


def show(tracker: BackgroundTracker, *snapshots: RunSnapshot) -> None:
    """One after the other is taken up, so that none is replaced by the next, unless something fails."""
    for snapshot in snapshots:
        tracker.show(snapshot)
        wait(lambda: not tracker._backlog or bool(tracker.trouble))


def test_every_registered_tracker_is_tested_here() -> None:
    assert set(TRACKERS) <= set(SERVERS)


def test_a_snapshot_that_is_written_twice_is_one_run(
    begin: Callable[[], BackgroundTracker], read: Callable[[], list[Recorded]]
) -> None:
    """By one process, and by the next one, which knows nothing of the first."""
    for _ in range(2):
        tracker = begin()
        show(tracker, parent(), trial(2), parent(), trial(2))
        assert tracker.close() == ""
        assert read() == expected("running", 2)


def test_a_history_grows_without_doubles(
    begin: Callable[[], BackgroundTracker], read: Callable[[], list[Recorded]]
) -> None:
    for first in (1, 3):  # the second session shows what the first has written, as a resume does
        tracker = begin()
        show(tracker, parent(), *(trial(last) for last in range(first, first + 3)))
        assert tracker.close() == ""
    assert read() == expected("running", 5)


@pytest.mark.parametrize("status", RunStatus)
def test_a_status_changes(
    begin: Callable[[], BackgroundTracker], read: Callable[[], list[Recorded]], status: RunStatus
) -> None:
    """To any, and back to running when the run is resumed; it stays where a snapshot has none."""
    for snapshots, last, now in (
        ((parent(), trial(1, status), trial(1, None)), 1, status),
        ((trial(1, None),), 1, status),
        ((trial(2),), 2, RunStatus.RUNNING),
    ):
        tracker = begin()
        show(tracker, *snapshots)
        assert tracker.close() == ""
        assert read() == expected(now, last)


def test_an_outage_in_the_middle_is_made_up_for(
    server: Server, begin: Callable[[], BackgroundTracker], read: Callable[[], list[Recorded]]
) -> None:
    tracker = begin()
    show(tracker, parent(), trial(1))
    tracker.check()
    wait(lambda: read() == expected("running", 1))
    with server.outage():
        show(tracker, trial(2))
        wait(lambda: bool(tracker.trouble))
        show(tracker, trial(3), trial(4, RunStatus.FINISHED))
    assert tracker.close() == ""
    assert read() == expected("finished", 4)


def test_the_end_waits_and_then_says_what_is_wrong(
    server: Server,
    begin: Callable[[], BackgroundTracker],
    read: Callable[[], list[Recorded]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 0.2)
    tracker = begin()
    tracker.show(parent())
    tracker.show(trial(2))
    assert tracker.close() == ""  # though nobody has waited for these
    assert read() == expected("running", 2)
    tracker = begin()
    tracker.check()
    with server.outage():
        tracker.show(trial(3, RunStatus.FINISHED))
        trouble = tracker.close()
    assert trouble.startswith(f"{tracker.title} at {server.uri}: ")
    assert "\n" not in trouble
    assert read() == expected("running", 2)
    tracker = begin()  # the next session writes the rest
    show(tracker, trial(3, RunStatus.FINISHED))
    assert tracker.close() == ""
    assert read() == expected("finished", 3)


def test_what_opens_the_ui_is_known_in_the_end(server: Server, begin: Callable[[], BackgroundTracker]) -> None:
    tracker = begin()
    show(tracker, parent())
    assert tracker.close() == ""
    assert server.uri in tracker.links()[0]
    assert all(tracker.links())


@pytest.mark.parametrize("again", [True, False])
def test_a_run_that_is_deleted_comes_back_whether_it_is_shown_again_or_not(
    server: Server,
    begin: Callable[[], BackgroundTracker],
    read: Callable[[], list[Recorded]],
    request: pytest.FixtureRequest,
    again: bool,
) -> None:
    tracker = begin()
    show(tracker, parent(), trial(2))
    tracker.check()
    wait(lambda: read() == expected("running", 2))
    server.remove(search_of(request), "trial-000")
    assert [run.name for run in read()] == ["it"]
    if again:
        show(tracker, trial(3))
    assert tracker.close() == ""
    assert read() == expected("running", 3 if again else 2)


def test_two_searches_of_one_name_are_told_apart(server: Server, tmp_path: Path) -> None:
    for identity, last in (("one", 1), ("two", 2), ("one", 3)):
        tracker = BackgroundTracker(server.tracker(server.uri, EXPERIMENT, "same", tmp_path, identity))
        show(tracker, parent(), trial(last))
        assert tracker.close() == ""
    found = server.read("same") or server.read("one") + server.read("two")
    assert sorted(len(run.history) for run in found if run.name == "trial-000") == [2, 3]
    assert len(found) == 4


def test_files_are_uploaded_after_all_runs_and_a_missing_one_is_said(
    begin: Callable[[], BackgroundTracker], read: Callable[[], list[Recorded]], tmp_path: Path
) -> None:
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.write_text("x")
    tracker = begin()
    tracker.show(replace(parent(), files=[there, gone]))
    tracker.show(trial(1))
    assert tracker.close().endswith(f": it: gone: {gone} is not there")
    assert read() == expected("running", 1)


def test_a_model_is_taken_or_passed_over(
    begin: Callable[[], BackgroundTracker], read: Callable[[], list[Recorded]], tmp_path: Path
) -> None:
    """Its weights are no file of the run, and a tracker may have no registry."""
    (tmp_path / "code").mkdir()
    (tmp_path / "weights").write_text("3")
    code = "f00d", "code.loader", tmp_path / "code", (), ()
    model = Model("scale", "", "", tmp_path / "weights", *code, (-1,), (-1,), METRIC, 1.0, True, "", {})
    for _ in range(2):
        tracker = begin()
        show(tracker, replace(parent(), model=model))
        assert tracker.close() == ""
    assert read() == expected("running", 0)[:1]
