"""Where Ray's own files go: the longest path of a socket that Ray takes, to the byte."""
# ruff: noqa: S108  (the folder must have a short name)

import os
from pathlib import Path

import pytest
from ray._private.utils import validate_socket_filepath

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.execution.ray_folder import _MOST, _SOCKET, ensure_ray_folder


def longest() -> int:
    """Bytes of a folder's path that leave room for the longest socket."""
    return _MOST - len(_SOCKET) - 1


@pytest.fixture(autouse=True)
def none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "")  # is restored, whatever a test leaves
    monkeypatch.delenv("RAY_TMPDIR")


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_is_taken_up_to_the_last_byte(name: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    fits = "/tmp/" + "x" * (longest() - len("/tmp/"))
    monkeypatch.setenv(name, fits)
    ensure_ray_folder()
    validate_socket_filepath(f"{fits}/{_SOCKET}")
    assert os.environ.get("RAY_TMPDIR") == (fits if name == "RAY_TMPDIR" else None)
    assert capsys.readouterr().err == ""

    monkeypatch.setenv(name, f"{fits}é")
    with pytest.raises(OSError, match="107"):
        validate_socket_filepath(f"{fits}x/{_SOCKET}")
    ensure_ray_folder()
    said = f"{name} {fits}é: is too long by 2 bytes for the paths of Ray's sockets; Ray's files go to /tmp/ray\n"
    assert (os.environ["RAY_TMPDIR"], capsys.readouterr().err) == ("/tmp", said)


def test_a_folder_that_cannot_be_one_is_not_taken(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    file = Path("/tmp", f"cmd_tune-{os.getpid()}")
    file.touch()
    try:
        for place in (file, file / "x"):
            monkeypatch.setenv("RAY_TMPDIR", str(place))
            ensure_ray_folder()
            assert capsys.readouterr().err == f"RAY_TMPDIR {place}: cannot be written to; Ray's files go to /tmp/ray\n"
    finally:
        file.unlink()
    monkeypatch.setenv("RAY_TMPDIR", "relative")
    ensure_ray_folder()
    assert "is no absolute path" in capsys.readouterr().err


def test_where_there_is_none_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmd_tune.search.execution.ray_folder._OTHERS", ("/" + "x" * 100,))
    monkeypatch.setenv("TMPDIR", "/" + "y" * 100)
    with pytest.raises(
        CmdTuneError, match=rf"^TMPDIR /y+: is too long by {101 - longest()} bytes .*; name a folder in RAY_TMPDIR"
    ):
        ensure_ray_folder()
