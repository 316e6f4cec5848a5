"""A Ray whose node does not come up in time: started once more, and nothing of it left behind."""

import os
import signal
import threading
import time
from contextlib import suppress

import pytest
import ray

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.execution.ray_session import nodes_now
from tests.ray_clusters import processes_of, ray_folder
from tests.search.execution.started_ray import started_ray

pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture
def stopped(monkeypatch):
    """Has the first nodes that are started stand still, as on a machine whose CPUs others have."""
    with ray_folder() as folder:
        monkeypatch.setenv("RAY_TMPDIR", str(folder))
        over = threading.Event()

        def stop(count):
            seen = set()

            def watch():
                while not over.wait(0.002) and len(seen) < count:
                    for pid in processes_of(folder, "/raylet") - seen:
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGSTOP)
                        seen.add(pid)

            threading.Thread(target=watch, daemon=True).start()
            return folder, seen

        yield stop
        over.set()
        for pid in processes_of(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def wait_for_none(folder):
    until = time.monotonic() + 30
    while left := processes_of(folder):
        assert time.monotonic() < until, left
        time.sleep(0.1)


def test_a_node_that_is_not_up_in_time_is_started_once_more(stopped, tmp_path, capsys):
    folder, seen = stopped(1)
    with started_ray(None, tmp_path / "ray.log"):
        assert len(nodes_now()) == 1
        (raylet,) = processes_of(folder, "/raylet")
        assert raylet not in seen
        assert ray.get(ray.remote(os.getenv).remote("RAY_TMPDIR")) == str(folder)  # what it starts works
    wait_for_none(folder)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Ray: ")]
    assert line.startswith("Ray: The current node timed out during startup. ")
    assert line.endswith(" It is started once more")


def test_one_that_never_comes_up_is_told_and_leaves_nothing(stopped, tmp_path):
    folder, seen = stopped(3)
    with pytest.raises(CmdTuneError, match=r"^Ray: cannot be reached or started: The current node timed out during"):
        started_ray(None, tmp_path / "ray.log").__enter__()
    assert len(seen) == 2
    assert not ray.is_initialized()
    wait_for_none(folder)
