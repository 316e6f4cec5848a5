"""What reaches the screen, and what only the log."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from cmd_tune.search.execution.ray_output import native_errors_to
from cmd_tune.search.execution.ray_tune import _last_line

pytestmark = pytest.mark.long

SPEAKS = """
import os, sys
from pathlib import Path
from cmd_tune.search.execution.ray_output import native_errors_to
with native_errors_to(Path(sys.argv[1])):
    os.write(2, b"from C++\\n")
    print("from Python τ", file=sys.stderr)
    os.system("echo from a child >&2")
os.write(2, b"afterwards\\n")
print("and Python", file=sys.stderr)
"""


def test_only_python_reaches_the_screen(tmp_path):
    log = tmp_path / "ray.log"
    log.write_text("before\n")
    words = [sys.executable, "-c", SPEAKS, log]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stderr.splitlines() == ["from Python τ", "afterwards", "and Python"]
    assert log.read_text().splitlines() == ["before", "from C++", "from a child"]


def test_an_error_inside_puts_the_screen_back(tmp_path):
    before = sys.stderr
    try:
        with native_errors_to(tmp_path / "ray.log"):
            raise KeyError
    except KeyError:
        assert sys.stderr is before


WORKER_DIES = """
import os, sys, time
from pathlib import Path
from cmd_tune.search.execution.ray_output import log_ray_messages
from tests.search.execution.started_ray import started_ray
log = Path(sys.argv[1])
with started_ray(None, log):
    import ray
    log_ray_messages()
    @ray.remote(max_retries=0)
    def die():
        os._exit(1)
    try:
        ray.get(die.remote())
    except ray.exceptions.WorkerCrashedError:
        print("it crashed")
    until = time.monotonic() + 30
    while "A worker died" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.1)
"""


def test_what_rays_node_says_of_a_dead_worker_is_logged(tmp_path):
    """In a process of its own, since Ray ends the process whose node it loses."""
    log = tmp_path / "ray.log"
    done = subprocess.run([sys.executable, "-c", WORKER_DIES, log], capture_output=True, text=True, check=True)
    assert done.stdout == "it crashed\n"
    assert "A worker died" in log.read_text()
    assert "A worker died" not in done.stderr


def test_a_failed_trial_names_where_its_traceback_is(tmp_path):
    text = 'Traceback (most recent call last):\n  File "x.py", line 1\nRuntimeError: \x1b[31mno such kernel\x1b[39m'
    error = RayTaskError("run", text, RuntimeError("no such kernel"))
    trial = SimpleNamespace(config={"trial": 3, "folder": str(tmp_path / "003")}, get_error=lambda: error)
    (tmp_path / "003").mkdir()
    line = _last_line(trial)
    assert line == f"RuntimeError: no such kernel (in full: {tmp_path / '003' / 'error.txt'})"
    assert 'File "x.py", line 1' in (tmp_path / "003" / "error.txt").read_text()
