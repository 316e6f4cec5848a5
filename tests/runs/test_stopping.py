"""Ending a run from outside: real processes that have its lock, on this host, on another, and stubborn ones."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from rich.console import Console

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.locks import lock_file
from cmd_tune.runs.lock_holder import LOCK, use_of
from cmd_tune.runs.run_folder import resume_line
from cmd_tune.runs.stopping import stop_run

RUN = """
import signal, sys, time
from pathlib import Path
from cmd_tune.runs.run_folder import lock_folder
from cmd_tune.runs.session import termination_as_interrupt
with lock_folder(Path(sys.argv[1])), termination_as_interrupt("cut off"):
    if sys.argv[2] == "stubborn":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        print("runs", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.5)
        (Path(sys.argv[1]) / "in order").touch()
"""


@pytest.fixture
def running(tmp_path) -> Iterator:
    """Starts a process that has the run in tmp_path / "it"."""
    started = []

    def start(kind):
        (tmp_path / "it").mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, tmp_path / "it", kind], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "runs\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_ends_in_order_before_the_command_does(running, tmp_path):
    folder, file = tmp_path / "it", io.StringIO()
    process = running("orderly")
    holder = use_of(folder).holder
    stop_run(folder, "pretrain", Console(file=file, width=300))
    assert (folder / "in order").exists()
    assert use_of(folder) is None
    assert process.wait(10) == 0
    assert file.getvalue().splitlines() == [
        f"it: {holder} is told to end; waiting for it to leave {folder}",
        f"it: has ended; go on with: {resume_line('pretrain', folder)}",
    ]


def test_a_run_that_does_not_end_is_told_with_what_ends_it(running, tmp_path):
    process = running("stubborn")
    with pytest.raises(CmdTuneError) as caught:
        stop_run(tmp_path / "it", "search", Console(file=io.StringIO()), patience_s=1)
    (line,) = caught.value.lines
    assert line.endswith(f"has not ended in 1s; to end it at once, which costs the work since the last checkpoints: "
                         f"kill -KILL {process.pid}")  # fmt: skip
    assert process.poll() is None


def test_a_run_on_another_host_is_not_touched_and_the_line_says_where_it_is(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"host": "node7", "pid": 42, "machine": "node7/pid:[1]"}))
    with (tmp_path / LOCK).open("a") as handle:
        lock_file(handle, wait=False)
        with pytest.raises(CmdTuneError) as caught:
            stop_run(tmp_path, "search", Console())
    said = "runs as process 42 on node7, and can be ended there alone; type there: kill -INT 42"
    assert str(caught.value) == f"{tmp_path.name}: {said}"


def test_without_locks_nothing_is_ended(tmp_path, monkeypatch):
    """The number in the lock may be another process's by now."""
    (tmp_path / LOCK).write_text(json.dumps({"host": "node7", "pid": 42, "machine": "node7/pid:[1]"}))
    monkeypatch.setattr("cmd_tune.runs.lock_holder.is_locked", lambda _: None)
    with pytest.raises(CmdTuneError, match="no locks, so that process 42 on node7 may have ended; if it runs, type"):
        stop_run(tmp_path, "search", Console())


def test_what_is_not_running_is_a_mistake(tmp_path):
    with pytest.raises(UsageError) as caught:
        stop_run(tmp_path, "search", Console())
    assert (str(caught.value), caught.value.exit_code) == (f"{tmp_path.name}: is not running", 2)
