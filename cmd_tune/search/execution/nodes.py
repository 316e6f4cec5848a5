"""Checks that each node of a cluster has what trials need: before the first trial, and where one joins later."""

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import torch

import cmd_tune
from cmd_tune.errors import CmdTuneError, one_line
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.run_folder import storage_uri
from cmd_tune.search.execution.ray_desk import UnfitNode, on_node
from cmd_tune.search.execution.ray_session import alive_nodes

PATIENCE_S = 60  # for a node's first worker process, which imports all that a trial does
_CURES = {
    "cmd_tune": "install the same on every node",
    "Python": "install the same on every node",
    "PyTorch": "install the same on every node",
    "data": "the file must lie under the same path, and be the same, on every node",
    "storage": "all nodes must share the storage, and may write to it",
}
_CURE_AT_A_URI = (
    "all nodes must share the working folder of a storage at a URI: start the search with XDG_CACHE_HOME naming a "
    "folder that they share"
)


@dataclass(frozen=True)
class Needs:
    """What trials need of a node: what the searching process finds. It goes to other nodes.

    source, folder, witness: as of `look_around`. found: what that found. at_a_uri: whether the folder is the working
    folder of a storage at a URI. fit: ids of nodes that have been checked.
    """

    source: DataSource
    folder: Path
    witness: str
    found: Mapping[str, str]
    at_a_uri: bool
    fit: frozenset[str] = frozenset()

    def check_here(self) -> None:
        """Raise UnfitNode if the node of this process lacks something."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        if node in self.fit:
            return
        if problem := self.lack(look_around(self.source, self.folder, self.witness)):
            raise UnfitNode(f"node {ray.util.get_node_ip_address()} ({platform.node()}): {problem}", node)

    def lack(self, there: Mapping[str, str]) -> str:
        """The first thing that another node does not find as this one, and what to do; empty if there is none."""
        for name, ours in self.found.items():
            theirs = there.get(name, "absent")
            if theirs == ours:
                continue
            if name == "storage":
                said = theirs if str(self.folder) in theirs else f"{self.folder} is another folder there"
                return f"storage: {said}; {_CURE_AT_A_URI if self.at_a_uri else _CURES[name]}"
            return f"{name}: {theirs}, where the search was started {ours}; {_CURES[name]}"
        return ""


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
    try:
        content = blake2b((folder / witness).read_bytes(), digest_size=8).hexdigest()
    except FileNotFoundError:
        raise CmdTuneError(f"{folder} is not there, or is another folder") from None
    mine = folder / f".{platform.node()}-{os.getpid()}.part"
    try:
        mine.write_text("")
    finally:
        with suppress(OSError):
            mine.unlink(missing_ok=True)
    return content


def check_nodes(source: DataSource, folder: Path, witness: str) -> Needs:
    """Raise CmdTuneError for the first node of the Ray cluster that differs from this process.

    Arguments as of `look_around`. Returns what nodes that join later must have. A node that is lost meanwhile is none
    of the cluster's any more.
    """
    import ray

    here = look_around(source, folder, witness)
    needs = Needs(source, folder, witness, here, at_a_uri=bool(storage_uri(folder.parent)))
    asked, fit = {}, set()
    for node in alive_nodes():
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
            if isinstance(error, ray.exceptions.NodeDiedError) or node["NodeID"] not in [
                n["NodeID"] for n in alive_nodes()
            ]:
                continue
            if isinstance(error, ray.exceptions.GetTimeoutError):
                why = f"has started no process within {PATIENCE_S} s; see Ray's logs there"
            else:
                why = f"cannot run this cmd_tune: {one_line(error)}; install it there as it is here"
            raise CmdTuneError(f"{name}: {why}") from error
        if problem := needs.lack(found):
            raise CmdTuneError(f"{name}: {problem}")
        fit.add(node["NodeID"])
    return replace(needs, fit=frozenset(fit))
