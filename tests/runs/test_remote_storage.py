"""A storage at a URI: its working folder, whose copy wins, and what is printed. On a real S3 server."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cmd_tune.data.store import Store
from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.remote_files import RemoteFolder
from cmd_tune.runs import mirror, owner
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.pretrain_and_score import run as pretrain_and_score
from cmd_tune.runs.remote_storage import Storage, command_of, open_storage
from cmd_tune.runs.run_folder import new_folder, resume_line, shown_place
from cmd_tune.runs.stopping import refuse_elsewhere
from cmd_tune.settings import Settings
from tests.typed import invoke, refused

SETTINGS = (
    "hidden_size=8", "embedding_size=8", "layers=1", "frames=8", "queue_size=32", "topk=8", "crop_min_frames=4",
    "batch_size=8", "checkpoint_every=1", "evaluate_every=30",
)  # fmt: skip


def begun(uri: str, name: str = "p") -> tuple[Storage, Path]:
    """A storage and the folder of a new run in it."""
    storage = open_storage(uri)
    run = new_folder(storage.folder, name, "pretrain")
    (run / "pretrain.yaml").write_text("data: data/made-up.arrow\n")
    return storage, run


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody begins at the same moment, for whom a run would wait; test_owner.py has those who do."""
    monkeypatch.setattr(owner, "_SETTLE_S", 0.0)


@pytest.fixture
def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has this process work on another machine: with another cache."""
    return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def test_a_folder_is_its_own_storage(tmp_path: Path) -> None:
    for text in (str(tmp_path), tmp_path.as_uri()):
        storage = open_storage(text)
        assert (storage.folder, storage.uri) == (tmp_path, "")
        with storage.kept(tmp_path / "p", "pretrain", new=True):
            pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_has_is_found_on_another_machine(s3: str, move: Callable[[str], None], tmp_path: Path) -> None:
    storage, run = begun(f"{s3}/runs")
    (storage.folder / "data").mkdir()
    (storage.folder / "data" / "made-up.arrow").write_text("clips")
    with storage.kept(run, "pretrain", new=True):
        (run / "checkpoint.pt").write_bytes(b"epoch 1")
    assert RemoteFolder(f"{s3}/runs").folders() == ["data", "p"]

    move("another")
    again = open_storage(f"{s3}/runs", "p")
    assert again.folder.is_relative_to(tmp_path / "another")
    assert (again.folder / "p" / "checkpoint.pt").read_bytes() == b"epoch 1"
    assert (again.folder / "data" / "made-up.arrow").read_text() == "clips"
    again.release()


def test_the_last_session_has_the_run(s3: str, move: Callable[[str], None]) -> None:
    """On one machine its own folder counts, which may be ahead of the copy; a session elsewhere supersedes it."""
    storage, run = begun(s3)
    with storage.kept(run, "pretrain", new=True):
        (run / "checkpoint.pt").write_bytes(b"epoch 1")
    (run / "checkpoint.pt").write_bytes(b"epoch 2, which was not copied")
    storage = open_storage(s3, "p")
    assert (run / "checkpoint.pt").read_bytes() == b"epoch 2, which was not copied"
    with storage.kept(run, "pretrain", new=False):
        pass

    move("another")
    there = open_storage(s3, "p")
    assert (there.folder / "p" / "checkpoint.pt").read_bytes() == b"epoch 2, which was not copied"
    with there.kept(there.folder / "p", "pretrain", new=False):
        (there.folder / "p" / "checkpoint.pt").write_bytes(b"epoch 3")
    assert json.loads((there.folder / "p" / "session.json").read_text())["session"] == 3

    move("machine")
    open_storage(s3, "p").release()
    assert (run / "checkpoint.pt").read_bytes() == b"epoch 3"


def test_a_session_that_began_while_the_server_was_away_loses_nothing(
    s3: str, move: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, run = begun(s3)
    with storage.kept(run, "pretrain", new=True):
        pass
    (run / "checkpoint.pt").write_bytes(b"ahead")
    with monkeypatch.context() as away:
        again = open_storage(s3, "p")
        away.setattr(RemoteFolder, "write", lambda *_: None)  # the number of this session does not get there
        again._begin(RemoteFolder(f"{s3}/p"), run, new=False)
        again.release()
    open_storage(s3, "p").release()
    assert (run / "checkpoint.pt").read_bytes() == b"ahead"

    move("another")
    there = open_storage(s3, "p")
    with there.kept(there.folder / "p", "pretrain", new=False):
        (there.folder / "p" / "checkpoint.pt").write_bytes(b"further")
    move("machine")
    open_storage(s3, "p").release()
    assert (run / "checkpoint.pt").read_bytes() == b"further"


@pytest.mark.parametrize("typed", ["{uri}/p", "{folder}/p"])
def test_a_run_is_named_by_its_uri_or_its_working_folder(s3: str, typed: str) -> None:
    storage, run = begun(s3)
    with storage.kept(run, "pretrain", new=True):
        pass
    again = open_storage("runs", typed.format(uri=s3, folder=storage.folder))
    assert (again.uri, again.folder, again.resume) == (s3, storage.folder, "p")
    again.release()
    assert open_storage(str(storage.folder)).uri == s3


def test_printed_lines_name_the_uri(s3: str) -> None:
    _, run = begun(s3)
    assert shown_place(run) == f"{s3}/p, from {run}"
    assert resume_line("pretrain", run).endswith(f"cmd_tune pretrain --resume p --storage {s3}")


def test_a_name_that_is_wrong_or_taken_is_refused(s3: str, move: Callable[[str], None]) -> None:
    with pytest.raises(UsageError) as none:
        open_storage(s3, "p")
    assert str(none.value) == f"--resume p: {s3} has no such run; there are none"
    storage, run = begun(s3, "temps-1")
    with storage.kept(run, "pretrain", new=True):
        pass
    for name in ("tmps-1", "temps-1/x", "../temps-1"):
        with pytest.raises(UsageError, match=r"has no such run; did you mean 'temps-1'\?$"):
            open_storage(s3, name)
    move("another")
    storage, run = begun(s3, "temps-1")
    with pytest.raises(UsageError, match=r"^--name temps-1: .* exists"), storage.kept(run, "pretrain", new=True):
        pass
    assert not run.exists()


def test_a_driver_that_is_lost_as_it_begins_leaves_what_can_be_resumed_or_begun(
    s3: str, move: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each thing that it writes there. Never is the run's name taken by what is none."""
    remote, asked = RemoteFolder(f"{s3}/p"), []
    write = RemoteFolder.write

    class Lost(BaseException):
        pass

    def stop(*_: object) -> None:
        asked.append(None)
        if len(asked) > survived:
            raise Lost
        write(*_)  # type: ignore[arg-type]

    for survived in range(3):
        for name in remote.files():
            remote.delete(name)
        asked.clear()
        move(f"lost-{survived}")
        storage, run = begun(s3)
        with monkeypatch.context() as lost:
            lost.setattr(RemoteFolder, "write", stop)
            with pytest.raises(Lost):
                storage._begin(remote, run, new=True)
            if storage._owner:
                storage._owner._ended.set()  # without a word
        left = set(remote.files())
        assert left == [set(), {".owner.json"}, {".owner.json", "pretrain.yaml"}][survived]
        remote.write(".owner.json", b"{}")
        move(f"next-{survived}")
        assert open_storage(s3).has("p") == (survived == 2)
        if survived == 2:
            again = open_storage(s3, "p")
            assert (again.folder / "p" / "pretrain.yaml").is_file()
            again.release()
        else:
            storage, run = begun(s3)
            with storage.kept(run, "pretrain", new=True):
                assert storage.has("p")


def test_a_run_in_use_is_refused_on_another_machine_and_left_alone(s3: str, move: Callable[[str], None]) -> None:
    storage, run = begun(s3)
    with storage.kept(run, "pretrain", new=True):
        before = RemoteFolder(s3).read("p/session.json")
        move("another")
        with pytest.raises(CmdTuneError, match="is in use by process"):
            open_storage(s3, "p")
        assert RemoteFolder(s3).read("p/session.json") == before


@pytest.mark.slow
def test_a_driver_that_lost_its_run_ends_and_copies_nothing_more(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a minute without a network, in which the run was resumed elsewhere."""
    monkeypatch.setattr(owner, "_BEAT_S", 0.1)
    storage, run = begun(s3)

    def work() -> None:
        with storage.kept(run, "pretrain", new=True):
            RemoteFolder(s3).write("p/.owner.json", b'{"token": "theirs"}')
            RemoteFolder(s3).write("p/checkpoint.pt", b"theirs")
            time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        work()
    (run / "checkpoint.pt").write_bytes(b"ours")
    assert RemoteFolder(s3).read("p/checkpoint.pt") == b"theirs"
    assert RemoteFolder(s3).read("p/.owner.json") == b'{"token": "theirs"}'
    assert f"{s3}/p: another driver has taken the run; this one ends" in capsys.readouterr().err


def test_a_copy_that_somebody_deleted_is_made_anew(s3: str) -> None:
    storage, run = begun(s3)
    with storage.kept(run, "pretrain", new=True):
        (run / "checkpoint.pt").write_bytes(b"x")
    for name in (remote := RemoteFolder(s3)).files():
        remote.delete(name)
    storage = open_storage(s3, "p")
    with storage.kept(run, "pretrain", new=False):
        pass
    assert set(remote.files()) == {"p/checkpoint.pt", "p/pretrain.yaml", "p/session.json"}


def test_a_run_that_does_not_begin_leaves_nothing(s3: str) -> None:
    storage, run = begun(s3)

    def end() -> None:
        with storage.kept(run, "pretrain", new=True):
            shutil.rmtree(run)
            raise CmdTuneError("its data are gone")

    with pytest.raises(CmdTuneError, match="its data are gone"):
        end()
    assert RemoteFolder(s3).files() == {}


def test_what_could_not_be_copied_is_told_with_the_cure(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_PATIENCE_S", 0.0)
    storage, run = begun(s3)

    def cut_off(*_: object) -> None:
        raise CmdTuneError("cut off")

    def work() -> None:
        with storage.kept(run, "pretrain", new=True):
            monkeypatch.setattr(RemoteFolder, "upload", cut_off)
            (run / "checkpoint.pt").write_bytes(b"x")

    with pytest.raises(CmdTuneError) as caught:
        work()
    (line,) = caught.value.lines
    assert line.startswith(f"{s3}/p: is not complete: cut off; the rest is in {run}, and is copied by: ")
    assert line.endswith(f"pretrain --resume p --storage {s3}")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "cmd_tune", "pretrain", *map(str, words)]


def pretrain(*words: object, code: int = 0) -> str:
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.long
def test_a_pretraining_goes_on_where_its_machine_was_lost(
    s3: str, tiny_store: Store, tmp_path: Path, move: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends in the state of one that was never stopped."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as this process has, where one runs that is never stopped
    options = [word for setting in (*SETTINGS, "epochs=60") for word in ("--set", setting)]
    new = ["--data", tiny_store.path, "--name", "p", *options]
    process = subprocess.Popen(command(*new, "--storage", s3), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    remote = RemoteFolder(f"{s3}/p")
    until = time.monotonic() + 120
    while remote.mark("checkpoint.pt") is None:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.communicate()

    move("another")
    output = pretrain("--resume", "p", "--storage", s3)
    (working,) = (tmp_path / "another" / "cmd_tune" / "storages").iterdir()
    assert f"Folder: {s3}/p, from {working / 'p'}" in output
    remote.download("checkpoint.pt", tmp_path / "there.pt")
    states = [torch.load(path, weights_only=True) for path in (working / "p" / "checkpoint.pt", tmp_path / "there.pt")]
    unbroken = tmp_path / "unbroken"
    pretrain_and_score(
        Settings(**states[0]["settings"]), DataSource(tiny_store.path, "xview"), unbroken, lambda record: None
    )
    states.insert(0, torch.load(unbroken / "checkpoint.pt", weights_only=True))
    for state in states[1:]:
        assert state["pretrainer"].keys() == states[0]["pretrainer"].keys()
        assert all(torch.equal(x, states[0]["pretrainer"][name]) for name, x in state["pretrainer"].items())
        assert [record["epoch"] for record in state["history"]] == list(range(1, 61))
    assert ".owner.json" not in remote.files()


@pytest.mark.long
def test_no_credentials_are_kept_or_shown(
    s3: str, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    RemoteFolder(s3).upload(tiny_store.path, "tiny.arrow")
    options = [word for setting in (*SETTINGS, "epochs=1") for word in ("--set", setting)]
    output = pretrain("--data", f"{s3}/tiny.arrow", "--storage", f"{s3}/runs", "--name", "p", *options)
    assert f"{s3}/tiny.arrow" in output
    assert "hunter2" not in output
    resume = shlex.split(resume_line("pretrain", next((tmp_path / "machine").glob("cmd_tune/storages/*")) / "p"))
    again = invoke(*resume[3:])  # in this process
    assert (again.exit_code, "nothing" in again.output) == (0, False)
    kept = [path for path in (tmp_path / "machine").rglob("*") if path.is_file()]
    assert [path for path in kept if b"hunter2" in path.read_bytes()] == []
    remote = RemoteFolder(s3)
    assert [name for name in remote.files() if b"hunter2" in (remote.read(name) or b"")] == []
    assert b"data: " + f"{s3}/tiny.arrow".encode() in (remote.read("runs/p/pretrain.yaml") or b"")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--storage", "s3:/x"], "--storage s3:/x: names no bucket; "),
        (["--data", "hdfs://h/x"], "--data hdfs://h/x: hdfs:// is no kind of storage that is known; "),
        (["--config", "s3://b/best.yaml"], "s3://b/best.yaml: is a URI, where a file of this machine is needed; "),
    ],
)
def test_a_uri_that_is_none_is_refused_before_anything_is_made(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = refused("pretrain", *words).lines
    assert line.startswith(said)
    assert list(tmp_path.iterdir()) == []


def test_the_command_of_a_run_is_known_where_its_files_are_at_the_uri_alone(s3: str) -> None:
    remote = RemoteFolder(f"{s3}/runs")
    remote.write("there/pretrain.yaml", b"-")
    assert command_of(f"{s3}/runs", "there") == "pretrain"
    assert command_of("runs", f"{s3}/runs/there") == "pretrain"
    here = open_storage(f"{s3}/runs").folder / "here"
    here.mkdir()
    (here / "search.yaml").touch()
    assert command_of(f"{s3}/runs", "here") == "search"
    with pytest.raises(UsageError, match="has no such run"):
        command_of(f"{s3}/runs", "nowhere")


def test_a_run_at_a_uri_is_told_to_run_where_its_driver_is(s3: str) -> None:
    storage = open_storage(f"{s3}/runs")
    remote = RemoteFolder(f"{s3}/runs/it")
    assert storage.driver("it") is None
    driver = {"host": "node7", "pid": 42, "machine": "node7/pid:[1]"}
    remote.write(".owner.json", json.dumps({**driver, "token": "t", "time": time.time() - 10}).encode())
    found = storage.driver("it")
    assert str(found) == "process 42 on node7"
    with pytest.raises(CmdTuneError, match=r"^it: runs as process 42 on node7, and can be ended there alone; type"):
        refuse_elsewhere("it", found)
    remote.write(".owner.json", json.dumps({**driver, "token": "t", "time": time.time() - 61}).encode())
    assert storage.driver("it") is None
    assert open_storage("runs").driver("it") is None


def test_runs_that_are_at_the_uri_alone_are_named(s3: str, tmp_path: Path) -> None:
    storage, _ = begun(f"{s3}/runs", "here")
    remote = RemoteFolder(f"{s3}/runs")
    for name in ("here/search.yaml", "there/search.yaml", "other/pretrain.yaml", "data/made-up.arrow"):
        remote.write(name, b"-")
    assert storage.elsewhere("search.yaml") == ["there"]
    assert open_storage(str(tmp_path)).elsewhere("search.yaml") == []
