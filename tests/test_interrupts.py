"""Real signals at commands that have just begun, are importing, training or ending: one line, exit code 130."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


def catches(process, number):
    """Whether the process has a handler of its own for this signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), 16)
    return bool(mask >> (number - 1) & 1)


def start(*words, cwd):
    process = subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=cwd, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not catches(process, signal.SIGTERM):  # Python itself has none
        assert process.poll() is None
        time.sleep(0.002)
    return process


def ends(process):
    """The lines on the error stream of a process that ends with exit code 130."""
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said.splitlines()


@pytest.mark.parametrize(("how", "delay"), [("INT", 0.0), ("INT", 0.3), ("TERM", 0.8), ("INT", 2.0)])
def test_a_command_that_is_interrupted_while_it_imports_ends_in_one_line(tmp_path, how, delay):
    process = start(REPOSITORY / "run_search.py", "--space", "temps.yaml", cwd=tmp_path)
    time.sleep(delay)
    process.send_signal(signal.Signals[f"SIG{how}"])
    (line,) = ends(process)
    assert line == "interrupted" or line.startswith("interrupted; go on with: ")


HANGS = """
import time
from cmd_tune import interrupts
interrupts._GRACE_S = {grace}
interrupts.catch()
interrupts.say_then("interrupted; go on with: …")
while True:
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize(("grace", "signals"), [(0.1, 1), (600, 2)], ids=["one, and it hangs", "two mean now"])
def test_an_end_that_hangs_is_cut_off_and_a_second_signal_means_now(tmp_path, grace, signals):
    process = start("-c", HANGS.format(grace=grace), cwd=tmp_path)
    assert process.stdout.readline() == "ready\n"
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert ends(process) == ["interrupted; go on with: …"]
