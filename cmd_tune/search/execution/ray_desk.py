"""The desk as an actor of Ray on the node of the searching process, and how others speak with it."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from cmd_tune.errors import CmdTuneError
from cmd_tune.search.execution.desk import Desk

NODE_LABEL = "ray.io/node-id"  # by which Ray labels each node
_NAME = "desk"  # in the namespace of the search's Ray job, which is its own


class UnfitNode(CmdTuneError):
    """A node lacks what trials need. node: its id."""

    def __init__(self, line: str, node: str = "") -> None:
        super().__init__(line)
        self.node = node


def open_desk() -> Any:
    """Start the desk of this Ray job, on this node.

    If its process dies it starts again, empty, and whoever speaks with it then is answered by the new one.
    """
    import ray

    options = {"num_cpus": 0, "max_concurrency": 10_000, "scheduling_strategy": on_this_node()}
    return ray.remote(Desk).options(name=_NAME, max_restarts=-1, max_task_retries=-1, **options).remote()


def find_desk() -> "DeskOf":
    """The desk of this Ray job, in any of its processes."""
    import ray

    return DeskOf(ray.get_actor(_NAME))


def on_this_node() -> Any:
    """A scheduling strategy: nowhere but on the node of this process."""
    import ray

    return on_node(ray.get_runtime_context().get_node_id())


def on_node(node: str) -> Any:
    """A scheduling strategy: nowhere but on a node, by its id."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


class Process(NamedTuple):
    """A process of the cluster: its node, its id there, and the placement group that it lies in, if any."""

    node: str
    pid: int
    group: str


def this_process() -> Process:
    import ray

    group = ray.util.get_current_placement_group()
    return Process(ray.get_runtime_context().get_node_id(), os.getpid(), group.id.hex() if group else "")


def end_process(process: Process) -> None:
    """Kill a process, without waiting."""
    import ray

    there = {"scheduling_strategy": on_node(process.node)}
    ray.remote(num_cpus=0, max_retries=0)(_kill).options(**there).remote(process.pid)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class DeskOf:
    """The methods of a desk that is an actor, each of which waits for the answer."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Callable[..., Any]:
        import ray

        method = getattr(self._actor, name)
        return lambda *arguments, **options: ray.get(method.remote(*arguments, **options))
