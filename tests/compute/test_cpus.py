"""How many CPUs may be used: limits of affinity, of cgroups as their files are written here, of Slurm."""

import os
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

from cmd_tune.compute.cpus import SLURM, cgroup_quota, usable_cpus


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch):
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def process(tmp_path):
    """Writes /proc/PID of a process in the group `path`; the file system of groups has `root` mounted in tmp_path."""

    def make(kind, path, root="/", files=None):
        folder, point = tmp_path / "proc", tmp_path / "a group"
        folder.mkdir()
        for name, content in (files or {}).items():
            (point / name).parent.mkdir(parents=True, exist_ok=True)
            (point / name).write_text(f"{content}\n")
        controllers, number = ("", 0) if kind == "cgroup2" else ("cpu,cpuacct", 4)
        options = "rw" if kind == "cgroup2" else "rw,cpu,cpuacct"
        (folder / "cgroup").write_text(f"5:memory:/elsewhere\n{number}:{controllers}:{path}\n1:name=systemd:/x\n")
        escaped = str(point).replace(" ", "\\040")
        (folder / "mountinfo").write_text(
            "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
            f"31 22 0:28 {root} {escaped} rw,nosuid shared:9 - {kind} cgroup {options}\n"
            "33 22 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        )
        return folder

    return make


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "max 100000"}, inf),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "50000 100000"}, 0.5),
        ({"job/cpu.max": "400000 100000", "job/step/cpu.max": "max 100000"}, 4.0),
        (
            {"job/cpu.max": "400000 200000", "job/step/cpu.max": "300000 100000"},
            2.0,
        ),  # no more than the group around it
        ({"job/step/cpu.max": "70000 10000", "job/other/cpu.max": "10000 10000"}, 7.0),
        ({"job/step/cpu.max": "no numbers"}, inf),
        ({}, inf),
    ],
)
def test_a_quota_of_cgroups_v2(process, files, cpus):
    assert cgroup_quota(process("cgroup2", "/job/step", files=files)) == cpus


@pytest.mark.parametrize(("quota", "period", "cpus"), [(-1, 100_000, inf), (250_000, 100_000, 2.5), (0, 0, inf)])
def test_a_quota_of_cgroups_v1(process, quota, period, cpus):
    files = {"job/cpu.cfs_quota_us": quota, "job/cpu.cfs_period_us": period, "job/step/cpu.cfs_quota_us": -1}
    assert cgroup_quota(process("cgroup", "/job/step", files=files)) == cpus


@pytest.mark.parametrize(
    ("path", "root", "cpus"),
    [
        ("/docker/12ab", "/docker/12ab", 3.0),  # without a namespace of cgroups, its files are the root of the mount
        ("/docker/12ab/deep", "/docker/12ab", 2.0),
        ("/", "/docker/12ab", 3.0),
        ("/../other", "/", 3.0),  # beyond the namespace
    ],
)
def test_a_quota_of_a_container(process, path, root, cpus):
    files = {"cpu.max": "300000 100000", "deep/cpu.max": "200000 100000"}
    assert cgroup_quota(process("cgroup2", path, root, files)) == cpus


def test_where_there_are_no_cgroups_there_is_no_quota(tmp_path):
    assert cgroup_quota(tmp_path) == inf


def test_slurm_lowers_the_number_and_what_is_no_number_does_not(monkeypatch):
    before = usable_cpus()
    for value in ("", "none", "0", "-1", "1.5", "100000"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", value)
        assert usable_cpus() == before
    for name in SLURM:
        monkeypatch.setenv(name, "1")
        assert usable_cpus() == 1
        monkeypatch.delenv(name)


def test_taskset_lowers_the_number():
    """Of a process of its own, whose first CPU is one that this one may run on."""
    cpu = min(os.sched_getaffinity(0))
    code = "from cmd_tune.compute.cpus import usable_cpus; print(usable_cpus())"
    command = ["taskset", "-c", str(cpu), sys.executable, "-c", code]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
