"""How many CPUs this process may use: fewer than the machine has, where affinity, cgroups or Slurm limit it."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from math import floor, inf
from pathlib import Path, PurePosixPath

SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")  # of a task; of the job on this node, for all its tasks


def usable_cpus() -> int:
    """The CPUs that this process may use: the least of what each limit leaves, rounded down, and at least 1.

    The limits are the CPUs it may run on (`taskset`, a cpuset), the quotas of its cgroups (v1 and v2; `--cpus` of a
    container), and the variables of SLURM.
    """
    return max(1, floor(min(_affinity(), cgroup_quota(), *_slurm())))


def _affinity() -> int:
    """The CPUs that the scheduler may run this process on; the kernel leaves out those that a cpuset lacks."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _slurm() -> Iterator[int]:
    for name in SLURM:
        if re.fullmatch(r"0*[1-9]\d*", value := os.environ.get(name, "")):
            yield int(value)


def cgroup_quota(process: Path = Path("/proc/self")) -> float:
    """CPU time per time that the cgroups of a process may use, in CPUs; infinite without a quota.

    A group has no more than each of those around it. process: its folder in /proc.
    """
    try:
        mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        groups = (process / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no Linux
        return inf
    path_of = {controller: path for _, names, path in _fields(groups) for controller in names.split(",")}
    quotas = [inf]
    for mount in mounts:
        left, _, right = mount.partition(" - ")
        root, point = (_unescaped(field) for field in left.split()[3:5])
        kind, _, options = (*right.split(), "", "", "")[:3]
        if kind == "cgroup2" and "" in path_of:
            quotas += [_quota_v2(folder) for folder in _folders(point, root, path_of[""])]
        elif kind == "cgroup" and "cpu" in options.split(",") and "cpu" in path_of:
            quotas += [_quota_v1(folder) for folder in _folders(point, root, path_of["cpu"])]
    return min(quotas)


def _fields(groups: list[str]) -> Iterator[tuple[str, str, str]]:
    """Of each line of /proc/PID/cgroup: number, controllers (none: v2), path."""
    for line in groups:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        yield number, controllers, path


def _unescaped(field: str) -> str:
    r"""A path as mountinfo writes it, where a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _folders(point: str, root: str, path: str) -> list[Path]:
    """The folders of a group and of those around it, in a file system of which `root` is mounted at `point`.

    A container may see the path of its group outside of it, which is then the root of what it has mounted.
    """
    group = PurePosixPath(path)
    inside = group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()
    if ".." in inside.parts:
        inside = PurePosixPath()
    return [Path(point, part) for part in (inside, *inside.parents)]


def _quota_v2(folder: Path) -> float:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return _ratio(quota, period)
    return inf


def _quota_v1(folder: Path) -> float:
    with suppress(OSError, ValueError):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        return _ratio(*((folder / name).read_text(encoding="utf-8") for name in names))
    return inf


def _ratio(quota: str, period: str) -> float:
    """Microseconds of CPU time per period; infinite where there is no quota, which is max or negative."""
    if quota.strip() == "max" or int(quota) <= 0 or int(period) <= 0:
        return inf
    return int(quota) / int(period)
