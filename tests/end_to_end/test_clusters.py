"""Searches on clusters, launched as cluster/ does, and what the screen shows when a node dies."""

import csv
import os
import re
import signal
import subprocess

import pytest
import yaml

from benchmarks.invariance import difference, over_nodes
from tests.end_to_end.searches import GRID, REPOSITORY, TINY, VALIDATED, epochs_done, finish, search, wait_for
from tests.ray_clusters import NAMESPACE, commands_in, ray_cluster, ray_folder

pytestmark = [pytest.mark.long, pytest.mark.slow]

FIRST = {**GRID, "parameters": {"teacher_temperature": {"values": [0.05]}}}
OF_RAY = re.compile(r"\(raylet|\(gcs_|\.cc:\d+|_raylet|core_worker|ray\.init|\[state-dump\]", re.IGNORECASE)


@pytest.fixture
def options(tmp_path, tiny_store):
    """What is typed behind a storage and a name."""
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(FIRST))
    settings = [word for setting in (*TINY, VALIDATED, "epochs=2") for word in ("--set", setting)]
    return ["--space", str(tmp_path / "space.yaml"), "--data", str(tiny_store.path), *settings]


def states(cwd):
    with open(cwd / "runs" / "it" / "trials.csv") as file:
        return [row["state"] for row in csv.DictReader(file)]


def submit(cluster, *words):
    """A job, to its end: its exit code and what it printed."""
    command = ["ray", "job", "submit", "--address", cluster.dashboard, "--runtime-env", "cluster/job.yaml", "--"]
    environment = {**cluster.env, "RAY_AUTH_MODE": "token"}
    done = subprocess.run(
        [*command, *map(str, words)], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def test_a_search_is_sent_to_a_cluster_as_a_job_and_sent_again(tmp_path, options):
    """Twice: the second time it goes on, here with nothing. A job without --address has a Ray of its own."""
    with ray_cluster() as cluster:
        sent = ("cluster/search.sh", tmp_path / "runs", "it", *options)
        code, output = submit(cluster, REPOSITORY / sent[0], *sent[1:])
        assert code == 0, output
        assert "search it: joining Ray at auto" in output
        assert states(tmp_path) == ["finished"]
        code, output = submit(cluster, REPOSITORY / sent[0], *sent[1:])
        assert code == 0, output
        assert "search it: is finished" in output

        alone = ("python", "-m", "cmd_tune", "search", "--storage", tmp_path / "runs", "--name", "alone")
        code, output = submit(cluster, *alone, *options)
        assert code == 0, output
        assert "search alone: starting Ray" in output


def batch(storage, options):
    """The batch script of Slurm, to its end, and what it printed.

    Its variables and srun are made up, in a namespace of processes where `ray stop` ends no other's.
    """
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespaces here")
    with ray_folder() as folder:
        skip = 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"'
        bin_ = commands_in(folder / "venv" / "bin", srun=skip, scontrol="hostname")
        (bin_ / "activate").write_text(f"PATH={bin_}:$PATH\n")
        made_up = {"JOB_ID": os.getpid(), "JOB_NODELIST": "here", "JOB_NUM_NODES": 1, "CPUS_PER_TASK": 2}
        environment = {
            **os.environ,
            **{f"SLURM_{name}": str(value) for name, value in made_up.items()},
            "SLURM_SUBMIT_DIR": str(REPOSITORY),
            "RAY_TMPDIR": str(folder),
            "PYTHONPATH": str(REPOSITORY),
            "VENV": str(folder / "venv"),
            "STORAGE": str(storage),
            "NAME": "it",
            "OPTIONS": " ".join(options),
        }
        words = [*NAMESPACE, "bash", "cluster/slurm.sh"]
        done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_batch_script_of_slurm_runs_a_search(tmp_path, options):
    assert "search it: joining Ray at auto" in batch(tmp_path / "runs", options)
    assert states(tmp_path) == ["finished"]


def test_the_batch_script_of_slurm_goes_on_with_a_search_at_a_uri(s3, tmp_path, options, monkeypatch):
    """On another node, which has nothing of it."""
    assert "search it: joining Ray at auto" in batch(f"{s3}/runs", options)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert "search it: is finished" in batch(f"{s3}/runs", options)


def test_nothing_of_rays_own_is_printed_when_a_node_dies_and_the_resume_line_joins_again(
    tmp_path, tiny_store, monkeypatch
):
    space = {**GRID, "parameters": {"teacher_temperature": {"values": [0.01, 0.05]}}}
    with ray_cluster(cpus=1) as cluster:
        raylet = cluster.join(cpus=1)
        for name, value in cluster.env.items():
            monkeypatch.setenv(name, value)
        process = search(tmp_path, tiny_store, space, "--address", cluster.address, epochs=120)
        wait_for(lambda: epochs_done(tmp_path, 0) >= 1 and epochs_done(tmp_path, 1) >= 1, process)
        os.kill(raylet, signal.SIGKILL)
        log = tmp_path / "runs" / "it" / "ray.log"
        wait_for(lambda: "has been marked dead" in log.read_text(), process)
        process.send_signal(signal.SIGINT)
        output = finish(process, 130)
        assert [line for line in output.splitlines() if OF_RAY.search(line)] == []
        resume = re.search(r"^interrupted; go on with: (.+)$", output, re.MULTILINE)[1]
        assert resume.endswith(f"--address {cluster.address}")
        again = subprocess.Popen(  # noqa: S602
            resume, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        output = finish(again)
        assert f"joining Ray at {cluster.address}" in output
        assert [line for line in output.splitlines() if OF_RAY.search(line)] == []
    assert states(tmp_path) == ["finished"] * 2


def test_a_trial_over_two_nodes_has_the_numbers_of_one_worker(tmp_path, tiny_store):
    """Losses of every epoch, scores, and the tensors of the last checkpoint."""
    changes = dict(setting.split("=") for setting in (*TINY, VALIDATED))
    apart = difference(*over_nodes(tiny_store.path, tmp_path, changes))
    assert apart.losses < 2e-5
    assert max(apart.weights, apart.banks) < 1e-4
    assert apart.scores <= 100 / 12 + 1e-4  # of 12 queries, one may tip over
