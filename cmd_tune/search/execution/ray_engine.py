"""The engine of Ray: a local Ray or somebody's cluster; trials by Tune, workers of larger trials by Train."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar

from cmd_tune.compute.cpus import usable_cpus
from cmd_tune.files import write_text
from cmd_tune.search.execution.engine import Engine, TrialEvents
from cmd_tune.search.execution.ray_hosts import Hosts
from cmd_tune.search.execution.ray_joining import find_head
from cmd_tune.search.execution.ray_output import log_ray_messages, native_errors_to
from cmd_tune.search.execution.ray_session import nodes_now, ray_session
from cmd_tune.search.execution.ray_watch import Watch
from cmd_tune.search.execution.resources import Node, ResourcePlan, ResourceRequest, lay_anew, plan_resources

if TYPE_CHECKING:
    from cmd_tune.runs.data_source import DataSource

LOG = "ray.log"  # in the search's folder
WITNESS = "ray/witness"  # a file of this session, which nodes that share the folder see
T = TypeVar("T")


class RayEngine(Engine):
    """Runs trials by Ray. What Ray prints goes to a file in the search's folder, and nothing of it to the screen."""

    title = "Ray"

    def __init__(self, folder: Path, source: DataSource, request: ResourceRequest, address: str | None = None) -> None:
        super().__init__(folder, source, request, address)
        if address:
            find_head(address)
        from cmd_tune.compute.device import gpu_count

        self._here = None if address else Node(request.cpus or usable_cpus(), gpu_count())
        if self._here:
            plan_resources([self._here], request, trials=None, given=0)  # refuses what would wait for ever
        self._session = ExitStack()
        self._watch = Watch(f"go on with --resume {folder.name}")

    @property
    def lost(self) -> str:  # type: ignore[override]
        return self._watch.lost

    def open(self) -> None:
        log = self.folder / LOG
        self._session.enter_context(native_errors_to(log))
        self._session.callback(self._watch.end)
        nested = (self.request.workers or 1) > 1
        self._session.enter_context(ray_session(self.address, log, self._here, nested=nested))
        log_ray_messages()
        self._watch.start()
        self._session.callback(self._watch.rest)

    def plan(self, *, trials: int | None, given: int) -> ResourcePlan:
        """The first hosts start, too."""
        needs = None
        if self.address:
            from cmd_tune.search.execution.nodes import check_nodes

            write_text(self.folder / WITNESS, token_hex(8))
            needs = check_nodes(self.source, self.folder, WITNESS)

        plan = plan_resources(nodes_now(), self.request, trials=trials, given=given)
        replan = partial(lay_anew, request=self.request, trials=trials, given=given)
        self._hosts = Hosts(self.folder / "ray", nodes_now, replan, self.request.hung_after, needs)
        self._session.callback(lambda: None if self.lost else self._hosts.close())
        self._hosts.open(plan)
        return plan

    def call(self, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
        return self._hosts.call(function, *arguments)

    def run(self, plan: ResourcePlan, events: TrialEvents) -> None:
        from cmd_tune.search.execution.ray_tune import run_tune

        run_tune(self.folder, self._hosts, events)

    def close(self) -> None:
        self._session.close()
