"""A run's folder as it is copied: whole, in an order that can be resumed at any moment, through outages."""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cmd_tune.compute.slower import Slower
from cmd_tune.remote_files import Mark, RemoteError, RemoteFolder
from cmd_tune.runs import mirror
from cmd_tune.runs.mirror import Mirror, download, is_copied, record_sent
from cmd_tune.train.kept_checkpoints import load_newest, save_next


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a study and one trial."""
    folder = tmp_path / "runs" / "it"
    (folder / "trials" / "000").mkdir(parents=True)
    (folder / "trials" / "000" / "history.jsonl").write_text("1\n")
    (folder / "search.yaml").write_text("name: it")
    with closing(sqlite3.connect(folder / "study.db")) as study:
        study.executescript("create table trials (name text); insert into trials values ('000')")
    return folder


@pytest.fixture
def copied(run: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[RemoteFolder], str]:
    """Copies a run's folder once; returns what went wrong."""
    monkeypatch.setattr(mirror, "_PATIENCE_S", 0.0)
    return lambda remote: Mirror(remote, run, lambda line: None).close()


def trials_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as study:
        return [name for (name,) in study.execute("select name from trials order by name")]


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("search.yaml", True),
        ("trials/000/checkpoint.pt", True),
        ("trials/000/refit-1/history.jsonl", True),
        ("study.db", True),
        ("study.db-journal", False),
        ("trials/000/.checkpoint.pt.12-ab.part", False),
        ("lock", False),
        ("ray/tuner.pkl", False),
        ("trials/000/train/x.json", False),
        ("trials/000/lock", True),
    ],
)
def test_what_is_copied(name: str, copy: bool) -> None:
    assert is_copied(name) == copy


def test_a_copy_is_the_folder(s3: str, run: Path, tmp_path: Path, copied: Callable[[RemoteFolder], str]) -> None:
    remote = RemoteFolder(s3)
    assert copied(remote) == ""
    download(remote, tmp_path / "again")
    assert (tmp_path / "again" / "search.yaml").read_text() == "name: it"
    assert trials_in(tmp_path / "again" / "study.db") == ["000"]
    # What is changed, new and gone is so in the next one, and nothing else is copied again.
    before = remote.files()
    (run / "trials" / "000" / "history.jsonl").write_text("1\n2\n")
    (run / "trials" / "000" / "checkpoint.pt").write_bytes(b"x")
    (run / "search.yaml").unlink()
    assert copied(remote) == ""
    after = remote.files()
    assert set(after) == {"trials/000/history.jsonl", "trials/000/checkpoint.pt", "study.db"}
    assert after["study.db"].size == before["study.db"].size
    assert after["trials/000/history.jsonl"].size == 4


def test_a_downloaded_folder_is_not_copied_back(
    s3: str, run: Path, tmp_path: Path, copied: Callable[[RemoteFolder], str]
) -> None:
    remote = RemoteFolder(s3)
    copied(remote)
    before = remote.files()
    time.sleep(1.1)  # a server's times may be in seconds
    mirror.sent_file(run).unlink()
    for path in run.rglob("*"):
        if path.is_file():
            os.utime(path, ns=(1, 1))
    record_sent(run)
    assert copied(remote) == ""
    assert {**remote.files(), "study.db": None} == {**before, "study.db": None}


class Watched(RemoteFolder):
    """Calls a function before each upload."""

    def __init__(self, uri: str, watch: Callable[[str], None]) -> None:
        super().__init__(uri)
        self.watch = watch

    def upload(self, path: Path, name: str) -> None:
        self.watch(name)
        super().upload(path, name)


def test_a_trial_that_begins_while_files_are_copied_comes_with_the_study_that_knows_it(
    s3: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the driver is lost, no trial of the copy is unknown to its study, and none is ahead of its files."""
    remote, begun, lost = RemoteFolder(s3), ["000"], []
    monkeypatch.setattr(mirror, "PERIOD_S", 0.01)

    def begin(name: str) -> None:
        """At every upload the driver may be lost, and another trial begins."""
        if remote.mark("study.db"):
            there = run.parent / f"lost-{len(lost)}"
            download(remote, there)
            lost.append((trials_in(there / "study.db"), sorted(path.parent.name for path in there.rglob("*.jsonl"))))
        if len(begun) < 12:
            begun.append(f"{len(begun):03d}")
            with closing(sqlite3.connect(run / "study.db")) as study:
                study.execute("insert into trials values (?)", begun[-1:])
                study.commit()
            (run / "trials" / begun[-1]).mkdir()
            (run / "trials" / begun[-1] / "history.jsonl").write_text("1\n")

    while len(begun) < 12:
        assert Mirror(Watched(s3, begin), run, print).close() == ""
    assert len(lost) > 5
    for known, copied in lost:
        assert copied == known
    download(remote, run.parent / "end")
    assert trials_in(run.parent / "end" / "study.db") == begun
    with closing(sqlite3.connect(run.parent / "end" / "study.db")) as study:
        assert study.execute("select name from sqlite_master where type = 'table'").fetchall() == [("trials",)]


def test_both_checkpoints_of_a_run_are_copied_and_one_is_whole_whenever_its_machine_is_lost(
    s3: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are written while others are copied. A trial that goes on never falls back by more than is said."""
    checkpoint = run / "trials" / "000" / "checkpoint.pt"
    remote, written, found = RemoteFolder(s3), 0, []
    monkeypatch.setattr(mirror, "PERIOD_S", 0.01)

    def epoch_of(lost: Path) -> int:
        newest = load_newest(lost / "trials" / "000" / "checkpoint.pt")
        assert newest is not None
        return len(newest.state["history"])

    def save(name: str) -> None:
        nonlocal written
        if remote.mark("study.db"):
            there = tmp_path / f"lost-{len(found)}"
            download(remote, there)
            found.append(epoch_of(there))
        if written < 8:
            written += 1
            save_next(checkpoint, {"history": [{"epoch": k + 1} for k in range(written)]}, keep=written > 1)

    save("")
    while written < 8:
        assert Mirror(Watched(s3, save), run, print).close() == ""
    assert Mirror(remote, run, print).close() == ""
    assert len(found) > 4
    assert found == sorted(found)
    names = {f"trials/000/{name}.pt" for name in ("checkpoint", "checkpoint-before")}
    assert names <= set(remote.files())
    content = remote.read("trials/000/checkpoint.pt") or b""
    remote.write("trials/000/checkpoint.pt", content[:200] + bytes([content[200] ^ 4]) + content[201:])
    download(remote, tmp_path / "again")
    with pytest.warns(Slower, match=r"checkpoint-before.pt, of epoch 7, is used in its place$"):
        assert epoch_of(tmp_path / "again") == 7


class Failing(RemoteFolder):
    """Answers nothing for a number of calls."""

    def __init__(self, uri: str, failures: int) -> None:
        super().__init__(uri)
        self.failures = failures

    def upload(self, path: Path, name: str) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise RemoteError(f"{self.uri}: cannot be written: gone")
        super().upload(path, name)


def test_an_outage_is_outlasted_and_told_once(s3: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "PERIOD_S", 0.01)
    monkeypatch.setattr(mirror, "_GRACE_S", 0.0)
    said: list[str] = []
    assert Mirror(Failing(s3, 5), run, said.append).close() == ""
    told = [line for line in said if not line.startswith("copying the rest")]
    assert told == [
        f"{s3}: cannot be written: gone; the run goes on in {run}, and is copied when that is mended",
        f"{s3}: answers again; what it missed is copied",
    ]
    assert isinstance(RemoteFolder(s3).mark("study.db"), Mark)


def test_a_server_that_is_gone_for_good_is_given_up(s3: str, run: Path, copied: Callable[[RemoteFolder], str]) -> None:
    remote = Failing(s3, 10**9)
    assert copied(remote) == f"{s3}: cannot be written: gone"
    assert copied(RemoteFolder(s3)) == ""
    assert set(RemoteFolder(s3).files()) == {"search.yaml", "study.db", "trials/000/history.jsonl"}
