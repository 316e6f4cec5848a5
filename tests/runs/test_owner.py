"""One driver at a time on a run at a URI."""

import json
import os
import subprocess
import sys
import time
from threading import Event

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.remote_files import RemoteFolder
from cmd_tune.runs import owner
from cmd_tune.runs.owner import OWNER, Owner


def never() -> None:
    pytest.fail("was taken")


def test_a_run_has_one_owner_at_a_time(s3: str) -> None:
    remote = RemoteFolder(s3)
    first = Owner(remote, never)
    with pytest.raises(CmdTuneError) as refused:
        Owner(remote, never)
    (line,) = refused.value.lines
    assert line.startswith(f"{s3}: is in use by process {os.getpid()} on ")
    first.release()
    assert remote.files() == {}
    Owner(remote, never).release()


def test_the_owner_of_another_machine_is_waited_for(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server's clock: the owner's own may be wrong by hours."""
    remote = RemoteFolder(s3)
    other = {"token": "theirs", "host": "node7", "pid": 1, "machine": "node7/pid:[1]", "time": time.time() - 9999}
    remote.write(OWNER, json.dumps(other).encode())
    with pytest.raises(CmdTuneError, match=r"is in use by process 1 on node7; .* this works in \d+ s$"):
        Owner(remote, never)
    assert set(remote.files()) == {OWNER}
    monkeypatch.setattr(owner, "STALE_S", 0.0)
    Owner(remote, never).release()


def test_a_dead_process_of_this_machine_holds_nothing_up(s3: str) -> None:
    code = (
        "import os, sys; from cmd_tune.remote_files import RemoteFolder; from cmd_tune.runs.owner import Owner\n"
        "Owner(RemoteFolder(sys.argv[1]), print); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, s3], check=True)
    assert set(RemoteFolder(s3).files()) == {OWNER}
    Owner(RemoteFolder(s3), never).release()


def test_an_owner_is_told_that_it_lost_the_run(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_BEAT_S", 0.05)
    remote, lost = RemoteFolder(s3), Event()
    first = Owner(remote, lost.set)
    remote.write(OWNER, b'{"token": "theirs"}')
    assert lost.wait(30)
    first.release()
    assert json.loads(remote.read(OWNER) or b"") == {"token": "theirs"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_damaged_file_of_an_owner_is_none(s3: str, content: bytes) -> None:
    RemoteFolder(s3).write(OWNER, content)
    Owner(RemoteFolder(s3), never).release()
