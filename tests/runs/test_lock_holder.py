"""Who has a run: what a lock holds while it is held, after an orderly end, and after a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmd_tune.errors import CmdTuneError
from cmd_tune.locks import lock_file
from cmd_tune.runs.lock_holder import LOCK, Use, is_dead_here, this_machine, use_of
from cmd_tune.runs.run_folder import lock_folder

HOLD = """
import sys, time
from pathlib import Path
from cmd_tune.runs.run_folder import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the run in tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_lock_names_who_has_it_also_after_somebody_was_refused(other, tmp_path):
    for _ in range(2):
        use = use_of(tmp_path)
        assert (use.holder.pid, use.holder.is_here, use.sure) == (other.pid, True, True)
        with pytest.raises(CmdTuneError, match="is in use"), lock_folder(tmp_path):
            pass
    assert str(use.holder).startswith(f"process {other.pid} on ")


def test_what_was_killed_has_nothing(other, tmp_path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == other.pid  # nobody cleared it
    assert use_of(tmp_path) is None


def test_after_an_orderly_end_the_lock_names_nobody(tmp_path):
    assert use_of(tmp_path) is None  # no lock at all
    with lock_folder(tmp_path):
        assert use_of(tmp_path).holder.pid == os.getpid()
    assert (tmp_path / LOCK).read_text() == ""
    assert use_of(tmp_path) is None


def test_a_number_that_another_process_has_now_is_not_taken_for_the_holder(tmp_path):
    """As after a kill and a restart of the machine: the lock is free, whatever it names."""
    (tmp_path / LOCK).write_text(json.dumps({"host": "here", "pid": os.getpid(), "machine": this_machine()}))
    assert use_of(tmp_path) is None


def test_a_process_of_another_machine_counts_while_it_has_the_lock(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"host": "node7", "pid": 1, "machine": "node7/pid:[1]"}))
    with (tmp_path / LOCK).open("a") as handle:
        lock_file(handle, wait=False)
        use = use_of(tmp_path)
        assert (str(use.holder), use.holder.is_here) == ("process 1 on node7", False)
    assert use_of(tmp_path) is None


def test_without_locks_nobody_knows_whether_the_holder_lives(tmp_path, monkeypatch):
    (tmp_path / LOCK).write_text(json.dumps({"host": "node7", "pid": 1, "machine": "node7/pid:[1]"}))
    monkeypatch.setattr("cmd_tune.runs.lock_holder.is_locked", lambda _: None)
    use = use_of(tmp_path)
    assert isinstance(use, Use)
    assert not use.sure


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"host": "a"}', '{"host": "a", "pid": null, "machine": "b"}'])
def test_a_lock_that_says_nothing_is_of_nobody(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    assert use_of(tmp_path) is None


def test_a_process_is_dead_only_where_its_number_means_something():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert is_dead_here(this_machine(), done.pid)
    assert not is_dead_here("elsewhere", done.pid)
    assert not is_dead_here(this_machine(), os.getpid())
    assert not is_dead_here(this_machine(), None)
