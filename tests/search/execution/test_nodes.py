"""What every node of a cluster needs, looked at before the first trial."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.soak_victims import descendants
from cmd_tune.errors import CmdTuneError
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution.nodes import Needs, check_nodes, look_around
from cmd_tune.search.execution.ray_session import nodes_now
from tests.search.execution.started_ray import started_ray

pytestmark = pytest.mark.long

PLAN = "search.yaml"
_CURE = "start the search with XDG_CACHE_HOME naming a folder that they share"


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


def needs(data, folder):
    source = DataSource(data, "xview")
    return Needs(source, folder, PLAN, look_around(source, folder, PLAN), at_a_uri=False)


def test_what_is_the_same_in_two_places_is_no_lack(places):
    here = needs(*places)
    assert set(here.found) == {"cmd_tune", "Python", "PyTorch", "data", "storage"}
    assert here.lack(needs(*places).found) == ""


def test_what_differs_is_named_with_what_to_do(places):
    data, folder = places
    here = needs(*places)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    problem = here.lack(needs(*places).found)
    assert problem.startswith("data: ")
    assert problem.endswith("the file must lie under the same path, and be the same, on every node")
    data.unlink()
    assert here.lack(needs(*places).found).startswith(f"data: {data}: no such file")
    (folder / PLAN).unlink()
    theirs = {**here.found, "storage": needs(*places).found["storage"]}
    cure = "all nodes must share the storage, and may write to it"
    assert here.lack(theirs) == f"storage: {folder} is not there, or is another folder; {cure}"
    assert here.lack({**theirs, "storage": "0" * 16}) == f"storage: {folder} is another folder there; {cure}"
    at_a_uri = replace(here, at_a_uri=True).lack(theirs)
    assert at_a_uri.endswith("; all nodes must share the working folder of a storage at a URI: " + _CURE)
    assert replace(here, found={"PyTorch": "2.9.0"}).lack({"PyTorch": "2.8.0"}) == (
        "PyTorch: 2.8.0, where the search was started 2.9.0; install the same on every node"
    )
    assert here.lack({}).startswith("cmd_tune: absent, ")
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
    with started_ray(cluster.address, tmp_path / "ray.log"):
        assert len(nodes_now()) == 2
        with pytest.raises(CmdTuneError) as caught:
            check_nodes(DataSource(data, "xview"), folder, PLAN)
    assert re.match(rf"node \S+ \(\S+\): data: {data}: no such file; make one with .*, where", str(caught.value))


@pytest.mark.slow
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

    with started_ray(cluster.address, tmp_path / "ray.log"):
        killer = threading.Thread(target=kill)
        killer.start()
        check_nodes(DataSource(data, "xview"), folder, PLAN)
        killer.join()
