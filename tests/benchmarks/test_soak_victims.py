"""Which processes a soak kills. They are stand-ins that have the titles which Ray gives to processes."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager

from benchmarks.soak_victims import RAYLET, SEARCH, descendants, victims


@contextmanager
def process_with(*titles):
    """A process below which are others, of these titles."""
    children = "".join(f"(exec -a {title} sleep 60) & " for title in titles)
    with subprocess.Popen(["/bin/bash", "-c", f"{children} wait"]) as process:
        try:
            while sorted(words[0] for words in descendants(process.pid).values()) != sorted(titles):
                time.sleep(0.01)
            yield process
        finally:
            for pid in (*descendants(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)


def test_each_process_is_of_its_kind():
    titles = {
        "ray::_be_host": "host",
        "ray::RayTrainWorker": "worker of a host",
        "ray::TrainController.run": "controller of a host",
        "ray::PlacementGroupCleaner": "helper of Train",
        "ray::ResourceTrainable.train": "trial's driver",  # at work; between its calls it is ray::TrialClient
        "ray::Desk.fetch": "desk",
        "/ray/core/src/ray/raylet/raylet": RAYLET,
        "ray::IDLE": None,
        "ray::DashboardAgent": None,
    }
    with process_with(*titles) as search:
        found = victims(search.pid, [])
        title_of = {pid: words[0] for pid, words in descendants(search.pid).items()}
    assert found.pop(SEARCH) == [search.pid]
    assert {kind: [title_of[pid] for pid in pids] for kind, pids in found.items()} == {
        kind: [title] for title, kind in titles.items() if kind
    }


def test_on_a_cluster_the_heads_raylet_is_spared():
    with process_with() as search, process_with("/raylet", "ray::Desk") as head, process_with("/raylet") as node:
        found = victims(search.pid, [head.pid, node.pid])
        (raylet,) = descendants(node.pid)
    assert found[RAYLET] == [raylet]
    assert len(found["desk"]) == 1
