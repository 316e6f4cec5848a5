"""What every node of a cluster needs, looked at before the first trial."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from benchmarks.soak_victims import descendants
from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution.nodes import check_nodes, difference, look_around
from cmd_tune.search.execution.ray_session import nodes_now, ray_session

pytestmark = pytest.mark.long

PLAN = "search.yaml"


@pytest.fixture
def places(make_store, tmp_path):
    """A data set and the folder of a search, in folders of their own."""
    store = make_store()
    data, folder = tmp_path / "data" / "data.arrow", tmp_path / "runs" / "it"
    for path in (data.parent, folder):
        path.mkdir(parents=True)
    store.path.rename(data)
    (folder / PLAN).write_text("name: it")
    return data, folder


def look(data, folder):
    return look_around(DataSource(data, "xview"), folder, PLAN)


def test_what_is_the_same_in_two_places_is_no_difference(places):
    here = look(*places)
    assert set(here) == {"cmd_tune", "Python", "PyTorch", "data", "storage"}
    assert difference(here, look(*places)) == ""


def test_what_differs_is_named_with_what_to_do(places):
    data, folder = places
    here = look(*places)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    problem = difference(here, look(*places))
    assert problem.startswith("data: ")
    assert problem.endswith("the file must lie under the same path, and be the same, on every node")
    data.unlink()
    assert difference(here, look(*places)).startswith(f"data: {data}: no such file")
    (folder / PLAN).unlink()
    assert f"storage: {folder / PLAN}: No such file" in difference({"storage": "…"}, look(*places))
    assert difference({"PyTorch": "2.8.0"}, {"PyTorch": "2.9.0"}) == (
        "PyTorch: 2.9.0, where the search was started 2.8.0; install the same on every node"
    )
    assert difference({"cmd_tune": "1"}, {}).startswith("cmd_tune: absent, ")
    assert not list(folder.iterdir())


@pytest.fixture
def cluster():
    """One node here; `join` adds one that has a folder of its own in the place of another."""
    from ray.cluster_utils import Cluster

    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:  # noqa: S607
        pytest.skip("no mount namespaces here")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    joined = []

    def join(hidden, fill="true"):
        ray = f"exec {sys.executable} -m ray.scripts.scripts start --address {made.address} --num-cpus 1 --block"
        script = f"mount -t tmpfs none '{hidden}' && {fill} && {ray}"
        joined.append(subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.DEVNULL))  # noqa: S607
        until = time.monotonic() + 120
        while len(made.global_state._live_node_ids()) < 2:
            assert time.monotonic() < until
            time.sleep(0.2)
        return joined[-1]

    yield SimpleNamespace(address=made.address, join=join)
    for process in joined:
        process.terminate()
        process.wait()
    made.shutdown()


def test_a_node_that_does_not_see_the_data_is_named(cluster, places, tmp_path):
    data, folder = places
    cluster.join(data.parent)
    with ray_session(cluster.address, tmp_path / "ray.log", nested=False):
        assert len(nodes_now()) == 2
        with pytest.raises(CmdTuneError) as caught:
            check_nodes(DataSource(data, "xview"), folder, PLAN)
    assert re.match(rf"node \S+ \(\S+\): data: {data}: no such file; make one with .*, where", str(caught.value))


def test_a_node_that_is_lost_while_it_is_looked_at_is_passed_over(cluster, places, tmp_path):
    """Its data set is a pipe, which has no end: it is killed once a process there has begun to read."""
    data, folder = places
    node = cluster.join(data.parent, fill=f"mkfifo '{data}'")

    def kill():
        while not (reading := [pid for pid, words in descendants(node.pid).items() if "look_around" in words[0]]):
            time.sleep(0.05)
        (raylet,) = (pid for pid, words in descendants(node.pid).items() if words[0].endswith("/raylet"))
        for pid in (raylet, *reading):
            os.kill(pid, signal.SIGKILL)

    with ray_session(cluster.address, tmp_path / "ray.log", nested=False):
        killer = threading.Thread(target=kill)
        killer.start()
        check_nodes(DataSource(data, "xview"), folder, PLAN)
        killer.join()
