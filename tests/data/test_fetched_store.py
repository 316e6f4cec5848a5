"""A store at a URI: fetched once on a machine, whoever asks; told when it changes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmd_tune.data.fetched_store import fetch, fetched_before
from cmd_tune.data.store import Store, open_store
from cmd_tune.errors import DataError
from cmd_tune.remote_files import RemoteFolder
from tests.conftest import write_tiny_store


def test_processes_of_one_machine_fetch_a_store_once(s3: str, tiny_store: Store, tmp_path: Path) -> None:
    RemoteFolder(s3).upload(tiny_store.path, "tiny.arrow")
    code = "import sys; from cmd_tune.data.fetched_store import fetch; print(fetch(sys.argv[1]))"
    command = [sys.executable, "-c", code, f"{s3}/tiny.arrow"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=os.environ, **pipes) for _ in range(3)]
    said = [process.communicate() for process in processes]
    paths = {Path(out.strip()) for out, _ in said}
    (path,) = paths
    assert sum("fetching" in line for _, line in said) == 1, said
    assert path.read_bytes() == tiny_store.path.read_bytes()
    assert path.is_relative_to(tmp_path / "machine" / "cmd_tune" / "data")
    assert [found.name for found in path.parent.iterdir() if found.name != "lock"] == ["tiny.arrow"]


def test_a_store_that_changes_is_fetched_anew_but_not_within_a_run(
    s3: str, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, remote = f"{s3}/tiny.arrow", RemoteFolder(s3)
    remote.upload(tiny_store.path, "tiny.arrow")
    first = fetch(uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    there = fetched_before(uri, Path("/not/here", first.parent.name, first.name))
    assert there != first
    assert open_store(there).fingerprint == tiny_store.fingerprint

    remote.upload(write_tiny_store(tmp_path / "other.arrow", seed=1).path, "tiny.arrow")
    assert fetched_before(uri, there) == there
    assert open_store(fetch(uri)).fingerprint != tiny_store.fingerprint
    with pytest.raises(DataError) as changed:
        fetched_before(uri, Path("/not/here", first.parent.name, first.name))
    assert str(changed.value) == f"{uri}: has changed since the run began; put it back, or start a new run"


def test_a_store_that_is_not_there_is_told(s3: str) -> None:
    with pytest.raises(DataError, match=rf"^{s3}/none.arrow: there is no such file$"):
        fetch(f"{s3}/none.arrow")
