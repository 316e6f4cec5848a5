"""What the screen says of a run's place and of its records."""

import shlex
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cmd_tune.runs.messages import close_tracker, print_places, tell_outage
from cmd_tune.tracking import BackgroundTracker, RunSnapshot, open_tracker
from tests.odd_names import ALL
from tests.tracking.file_tracker import FileTracker


@pytest.fixture
def console() -> Console:
    """A screen that is narrower than what is printed."""
    return Console(file=StringIO(), width=20)


def printed(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def begin(uri: Path, storage: Path) -> BackgroundTracker:
    tracker = BackgroundTracker(FileTracker(str(uri), "synthetic-xview", "it", storage))
    tracker.show(RunSnapshot(key=None, name="it", params={}, documents={}))
    return tracker


def test_places_are_printed_as_they_are(console: Console, tmp_path: Path) -> None:
    """Brackets and colons are no markup, and no line is wrapped."""
    tracker = begin(tmp_path / ALL, tmp_path)
    assert tracker.close() == ""
    print_places(console, tmp_path / "[red]:smile:", "results.json, figures/", tracker)
    print_places(console, tmp_path, "", tracker)
    link = f"the folder: {tmp_path / ALL}"
    first, second = (
        f"\nFolder: {tmp_path / '[red]:smile:'} (results.json, figures/)\n{link}\n",
        f"\nFolder: {tmp_path}\n{link}\n",
    )
    assert printed(console) == first + second


def test_of_a_database_a_command_comes_first_and_then_the_address(console: Console, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = open_tracker(uri, "synthetic-xview", "it", tmp_path)
    tracker.check()
    assert tracker.close() == ""
    print_places(console, tmp_path, "", tracker)
    _, _, command, then = printed(console).splitlines()
    assert shlex.split(command)[:4] == ["MLflow:", sys.executable, "-m", "mlflow"]
    assert then.startswith("  then: http://127.0.0.1:5000/#/experiments/")


def test_an_outage_and_its_end_are_a_line_each(console: Console, tmp_path: Path) -> None:
    tell = tell_outage(console, tmp_path / "it", "cmd_tune --resume it")
    tell("MLflow", "MLflow at http://here: Connection refused")
    tell("MLflow", "")
    begun, over = printed(console).splitlines()
    assert begun.startswith(
        f"MLflow at http://here: Connection refused; the run goes on, its records are kept in {tmp_path / 'it'} and go "
        "to MLflow when it takes them, or afterwards by: "
    )
    assert begun.endswith(": cmd_tune --resume it")
    assert over == "MLflow answers again; what it missed is written now"


def test_what_could_not_be_written_is_said_with_what_writes_it(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 0.1)
    close_tracker(begin(tmp_path / "shown", tmp_path), console, "cmd_tune --resume it")
    assert printed(console) == ""
    (tmp_path / "file").touch()
    close_tracker(begin(tmp_path / "file" / "shown", tmp_path), console, "cmd_tune --resume it")
    missing, rest = printed(console).splitlines()
    assert missing == f"Not everything is recorded. the folder at {tmp_path}/file/shown: Not a directory"
    assert rest == "Write the rest with: cmd_tune --resume it"


def test_the_end_says_what_it_waits_for(console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmd_tune.tracking.backlog.PAUSE_S", 0.02)
    monkeypatch.setattr("cmd_tune.tracking.backlog.PATIENCE_S", 1.0)
    monkeypatch.setattr("cmd_tune.tracking.background._NOTICE_S", 0.3)
    (tmp_path / "file").touch()
    close_tracker(begin(tmp_path / "file" / "shown", tmp_path), console, "cmd_tune --resume it")
    first, *_ = printed(console).splitlines()
    why = f"the folder at {tmp_path}/file/shown: Not a directory"
    assert first == f"waiting for the folder to take 1 run ({why}); Ctrl-C leaves it to: cmd_tune --resume it"
