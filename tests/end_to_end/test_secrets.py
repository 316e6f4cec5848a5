"""Passwords, keys and tokens that a person gives: in no file of the storage or of Ray, and in no printed line."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.searches import GRID, finish, search, start

pytestmark = [pytest.mark.long, pytest.mark.slow]

IN_URI = "pw-in-uri-71c2"
IN_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "id-7d20fa",
    "AWS_SECRET_ACCESS_KEY": "aws-5f1e90",
    "AWS_SESSION_TOKEN": "session-3b77c1",
    "MLFLOW_TRACKING_USERNAME": "someone",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-90ab4d",
    "RAY_AUTH_TOKEN": "ray-token-0c44e1-0123456789abcdef",
}
NAMES = ("AWS_ACCESS_KEY_ID", "MLFLOW_TRACKING_USERNAME")  # which are no secrets


@pytest.fixture
def refusing() -> str:
    """A server's address where nobody listens, with a user and a password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://user:{IN_URI}@127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch):
    """A folder of temporary files, short enough for Ray's sockets, with Ray's logs afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    for name, value in IN_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def assert_no_secret(what: str, content: bytes) -> None:
    secrets = [IN_URI, *(value for name, value in IN_ENVIRONMENT.items() if name not in NAMES)]
    assert [secret for secret in secrets if secret.encode() in content] == [], what


def assert_no_secret_in(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    for path in files:
        assert_no_secret(str(path), str(path).encode() + path.read_bytes())


def test_a_secret_is_in_no_file_and_no_line(tiny_store, tmp_path: Path, refusing: str, temporary: Path) -> None:
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.05]}}}
    output = finish(search(tmp_path, tiny_store, space, "--tracking-uri", refusing, epochs=1))
    assert "user:***@127.0.0.1" in output  # it was tried, and is said to be away
    assert_no_secret("the output", output.encode())
    assert_no_secret_in(tmp_path / "runs")
    assert_no_secret_in(temporary)

    words = ["-m", "cmd_tune", "search", "--resume", "it"]
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_USERNAME"):
        del os.environ[name]
    refused = finish(start(*words, cwd=tmp_path), 2)
    assert "the password of http://user:***@127.0.0.1" in refused
    again = finish(start(*words, "--tracking-uri", refusing, cwd=tmp_path))
    pretrained = finish(
        start(
            *("-m", "cmd_tune", "pretrain", "--config", "runs/it/best.yaml", "--name", "again"),
            *("--set", "epochs=1", "--tracking-uri", refusing),
            cwd=tmp_path,
        )
    )
    for text in (refused, again, pretrained):
        assert_no_secret("the output", text.encode())
    assert_no_secret_in(tmp_path / "runs")
