"""Checks, before the first trial, that each node of a cluster has what trials need."""

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

import cmd_tune
from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.runs.data_source import DataSource
from cmd_tune.search.execution.ray_desk import on_node

PATIENCE_S = 60  # for a node's first worker process, which imports all that a trial does
_CURES = {
    "cmd_tune": "install the same on every node",
    "Python": "install the same on every node",
    "PyTorch": "install the same on every node",
    "data": "the file must lie under the same path, and be the same, on every node",
    "storage": "--storage, or the working folder of one at a URI, must be shared by all nodes, which may write to it",
}


def look_around(source: DataSource, folder: Path, witness: str) -> dict[str, str]:
    """Describe what must be the same on all nodes: code, libraries, data, storage. witness: a file in the folder."""
    found = {
        "cmd_tune": f"{cmd_tune.__version__} (code {_code()})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "PyTorch": torch.__version__.partition("+")[0],  # builds for different GPUs, or for none, work together
    }
    looks: dict[str, Callable[[], str]] = {
        "data": lambda: source.store().fingerprint,
        "storage": lambda: _storage(folder, witness),
    }
    for name, look in looks.items():
        try:
            found[name] = look()
        except (OSError, CmdTuneError) as error:
            found[name] = one_line(error)
    return found


def _code() -> str:
    """A fingerprint of the package's own source files."""
    root = Path(cmd_tune.__file__).parent
    digest = blake2b(digest_size=4)
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _storage(folder: Path, witness: str) -> str:
    """Read the witness of a folder, and check that the folder can be written to."""
    content = blake2b((folder / witness).read_bytes(), digest_size=8).hexdigest()
    mine = folder / f".{platform.node()}-{os.getpid()}.part"
    try:
        mine.write_text("")
    finally:
        with suppress(OSError):
            mine.unlink(missing_ok=True)
    return content


def check_nodes(source: DataSource, folder: Path, witness: str) -> None:
    """Raise CmdTuneError for the first node of the Ray cluster that differs from this process.

    Arguments as of `look_around`. A node that is lost meanwhile is none of the cluster's any more.
    """
    import ray

    here = look_around(source, folder, witness)
    asked = {}
    for node in _alive():
        if node["Resources"].get("CPU"):
            there = {"scheduling_strategy": on_node(node["NodeID"])}
            task = ray.remote(look_around).options(num_cpus=0, max_retries=0, **there)
            asked[task.remote(source, folder, witness)] = node
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE_S)
    for answer in (*answered, *silent):
        node = asked[answer]
        name = f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']})"
        try:
            found = ray.get(answer, timeout=0)
        except Exception as error:  # anything can keep a task from running there
            if isinstance(error, ray.exceptions.NodeDiedError) or node["NodeID"] not in [n["NodeID"] for n in _alive()]:
                continue
            if isinstance(error, ray.exceptions.GetTimeoutError):
                why = f"has started no process within {PATIENCE_S} s; see Ray's logs there"
            else:
                why = f"cannot run this cmd_tune: {one_line(error)}; install it there as it is here"
            raise CmdTuneError(f"{name}: {why}") from error
        if problem := difference(here, found):
            raise CmdTuneError(f"{name}: {problem}")


def _alive() -> list[dict[str, Any]]:
    """Ray's descriptions of the nodes that are alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Name the first thing that two nodes do not find alike, and what to do; empty if there is none."""
    for name, ours in here.items():
        theirs = there.get(name, "absent")
        if theirs != ours:
            return f"{name}: {theirs}, where the search was started {ours}; {_CURES[name]}"
    return ""
