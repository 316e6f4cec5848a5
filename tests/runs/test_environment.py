"""Where a run was made: its commit in a real checkout, and a list that grows with every session."""

import subprocess
from datetime import datetime

import pytest
import torch

import cmd_tune
from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.environment import (
    ENVIRONMENT,
    describe_environment,
    describe_software,
    git_commit,
    last_commit,
    record_session,
)
from cmd_tune.yaml_files import read_yaml


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that the package seems to lie in, and git there."""
    (tmp_path / "cmd_tune").mkdir()
    (tmp_path / "cmd_tune" / "__init__.py").write_text("one\n")
    monkeypatch.setattr(cmd_tune, "__file__", str(tmp_path / "cmd_tune" / "__init__.py"))
    git_commit.cache_clear()

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)  # noqa: S607
        return done.stdout.strip()

    yield tmp_path, git
    git_commit.cache_clear()


def test_the_commit_of_a_checkout_and_whether_files_differ(checkout):
    folder, git = checkout
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert git_commit() == head
    (folder / "runs.txt").write_text("a run's own\n")  # not of the code
    git_commit.cache_clear()
    assert git_commit() == head
    (folder / "cmd_tune" / "__init__.py").write_text("two\n")
    git_commit.cache_clear()
    assert git_commit() == f"{head}+changes"


def test_outside_a_checkout_or_without_a_commit_there_is_none(checkout):
    _, git = checkout
    assert git_commit() is None
    git("init", "--quiet")
    git_commit.cache_clear()
    assert git_commit() is None


def test_what_computes_says_more_than_what_does_not():
    software, environment = describe_software(), describe_environment()
    assert environment == {**software, "cpu_threads": torch.get_num_threads(), "gpu": environment["gpu"]}
    assert software["cmd_tune"] == cmd_tune.__version__
    assert software["packages"]["torch"] == torch.__version__


def test_every_session_is_added_to_the_list(tmp_path):
    for threads in (2, 4):
        record_session(tmp_path, {"cpu_threads": threads})
    first, second = read_yaml(tmp_path / ENVIRONMENT)
    assert (first["cpu_threads"], second["cpu_threads"]) == (2, 4)
    started = [datetime.fromisoformat(trial["started"]) for trial in (first, second)]
    assert started == sorted(started)
    assert all(moment.utcoffset() is not None for moment in started)


def test_a_list_of_sessions_that_cannot_be_read_is_named(tmp_path):
    assert last_commit(tmp_path) is None
    (tmp_path / ENVIRONMENT).mkdir()
    with pytest.raises(CmdTuneError, match=r"environment\.yaml: cannot be read: Is a directory; restore it"):
        last_commit(tmp_path)
