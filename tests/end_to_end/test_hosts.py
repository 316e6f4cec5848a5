"""Hosts of trials that hang or die, and nodes that come and go."""

import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

from benchmarks.soak_victims import descendants
from tests.end_to_end.searches import GRID, REPOSITORY, TINY, epochs_done, finish, search, trials, wait_for
from tests.ray_clusters import mounts_possible, ray_cluster

pytestmark = pytest.mark.long


def processes_below(pid, beginning):
    """Ids of the processes below one whose command line begins so."""
    return [child for child, words in descendants(pid).items() if words[0].startswith(beginning)]


def test_a_trial_that_hangs_is_ended_and_the_others_go_on(tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.05]}}}
    process = search(tmp_path, tiny_store, space, "--concurrent", 1, "--hung-after", 0.1, epochs=20)
    wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
    (host,) = processes_below(process.pid, "ray::_be_host")
    os.kill(host, signal.SIGSTOP)  # it answers nobody any more
    output = finish(process)
    assert re.search(r"^trial-000 failed: it has not reported for 0 min, as if it hung; see --hung-after", output, re.M)
    hung, whole = trials(tmp_path)
    assert (hung["state"], hung["failure"], whole["state"], whole["epoch"]) == ("failed", "hung", "finished", "20")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["ray::ResourceTrainable", "ray::Desk", "ray::_be_host"])
def test_what_stands_between_a_search_and_its_trial_dies(victim, unbroken, tiny_store, tmp_path):
    process = search(tmp_path, tiny_store, GRID, "--concurrent", "1")
    wait_for(lambda: epochs_done(tmp_path, 0) >= 2, process)
    for pid in processes_below(process.pid, victim):
        os.kill(pid, signal.SIGKILL)
    finish(process)

    def scores(cwd):
        return [{key: value for key, value in row.items() if not key.endswith("seconds")} for row in trials(cwd)[:3]]

    assert scores(tmp_path) == scores(unbroken[0])


def search_on(cluster, cwd, store, epochs, *more):
    """Starts a search of four trials on a cluster; what it prints goes to cwd/log."""
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.05, 0.1, 0.2]}}}
    (cwd / "space.yaml").write_text(yaml.safe_dump(space))
    settings = [word for setting in (*TINY, "evaluate_every=1", f"epochs={epochs}") for word in ("--set", setting)]
    words = ["--space", "space.yaml", "--data", store.path, "--name", "it", *settings, *more]
    with (cwd / "log").open("w") as out:
        return subprocess.Popen(
            [sys.executable, REPOSITORY / "run_search.py", *map(str, words), "--address", cluster.address],
            cwd=cwd, env=cluster.env, text=True, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["ray::TrainController", "ray::_be_host"])
def test_what_starts_workers_dies_and_their_places_are_had_again(victim, tiny_store, tmp_path):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.05]}}}
    process = search(tmp_path, tiny_store, space, "--workers", "2", "--concurrent", "1", epochs=2)
    wait_for(lambda: processes_below(process.pid, "ray::RayTrainWorker"), process)  # before they are all up
    (pid,) = processes_below(process.pid, victim)
    os.kill(pid, signal.SIGKILL)
    finish(process)
    assert [(row["state"], row["epoch"]) for row in trials(tmp_path)] == [("finished", "2")]


@pytest.mark.slow
def test_a_node_that_is_lost_while_many_hosts_start_on_it_ends_no_search(tiny_store, tmp_path):
    with ray_cluster(cpus=1) as cluster:
        raylet = cluster.join(cpus=3)
        process = search_on(cluster, tmp_path, tiny_store, 2, "--concurrent", "4")
        wait_for(lambda: len(processes_below(raylet, "ray::_be_host")) == 3, process)
        os.kill(raylet, signal.SIGKILL)
        assert process.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    assert [(row["state"], row["epoch"]) for row in trials(tmp_path)] == [("finished", "2")] * 4


@pytest.mark.slow
def test_trials_are_laid_over_the_nodes_that_are_there(tiny_store, tmp_path):
    """Two workers lie on two nodes of which one is killed, then on what is left; a node that joins is used again."""
    log = tmp_path / "log"
    with ray_cluster(cpus=1) as cluster:
        raylet = cluster.join(cpus=1)
        process = search_on(cluster, tmp_path, tiny_store, 80, "--workers", "2", "--concurrent", "1")
        wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
        os.kill(raylet, signal.SIGKILL)
        wait_for(lambda: "0.5 CPU and no GPU a worker" in log.read_text(), process)
        wait_for(lambda: epochs_done(tmp_path, 1) >= 1, process)
        joined = cluster.join(cpus=1)
        wait_for(lambda: log.read_text().count("2 workers a trial, 1 CPU and no GPU a worker") == 2, process)
        wait_for(lambda: processes_below(joined, "ray::RayTrainWorker"), process)  # behind the trial that ran
        assert process.wait(timeout=300) == 0, log.read_text()
    output = log.read_text()
    assert "layout: 1 trial at a time, 2 workers a trial, 1 CPU and no GPU a worker" in output
    assert "Traceback" not in output
    assert [(row["state"], row["epoch"]) for row in trials(tmp_path)] == [("finished", "80")] * 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_node_that_joins_and_does_not_share_the_storage_is_left_out(workers, tiny_store, tmp_path):
    """A trial there would begin anew, and leave its checkpoints where nobody finds them."""
    if not mounts_possible():
        pytest.skip("no mount namespaces here")
    log = tmp_path / "log"
    with ray_cluster(cpus=1) as cluster:
        process = search_on(cluster, tmp_path, tiny_store, 60, "--workers", workers)
        wait_for(lambda: epochs_done(tmp_path, 0) >= 1, process)
        cluster.join(cpus=1, hidden=tmp_path / "runs")
        wait_for(lambda: "the search goes on without this node" in log.read_text(), process)
        assert process.wait(timeout=300) == 0, log.read_text()
    output = log.read_text()
    lacks = re.findall(r"^node \S+ \(\S+\): storage: (.*); all nodes must share the storage.*$", output, re.M)
    assert lacks == [f"{tmp_path / 'runs' / 'it'} is not there, or is another folder"]
    assert "Traceback" not in output
    assert [(row["state"], row["epoch"]) for row in trials(tmp_path)] == [("finished", "60")] * 4
