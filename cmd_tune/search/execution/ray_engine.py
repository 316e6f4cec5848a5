"""The engine of Ray: a local Ray or somebody's cluster; trials by Tune, workers of larger trials by Train."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, TypedDict, TypeVar

from cmd_tune.compute.cpus import usable_cpus
from cmd_tune.files import write_text
from cmd_tune.search.execution.engine import Engine, TrialEvents
from cmd_tune.search.execution.ray_hosts import Hosts
from cmd_tune.search.execution.ray_joining import find_head
from cmd_tune.search.execution.ray_output import log_ray_messages, native_errors_to
from cmd_tune.search.execution.ray_session import await_process, leave_ray, nodes_now, ray_session, start_or_join
from cmd_tune.search.execution.ray_watch import Watch
from cmd_tune.search.execution.resources import Node, ResourcePlan, ResourceRequest, lay_anew, plan_resources

if TYPE_CHECKING:
    from cmd_tune.runs.data_source import DataSource
    from cmd_tune.search.execution.nodes import Needs

LOG = "ray.log"  # in the search's folder
WITNESS = "ray/witness"  # a file of this session, which nodes that share the folder see
T = TypeVar("T")


class Trials(TypedDict):
    """Arguments of `plan_resources`."""

    trials: int | None
    given: int


class RayEngine(Engine):
    """Runs trials by Ray. What Ray prints goes to a file in the search's folder, and nothing of it to the screen.

    Ray starts in a thread, and with it the first hosts if it is this machine's: that takes seconds, mostly of waiting.
    """

    title = "Ray"

    def __init__(self, folder: Path, request: ResourceRequest, address: str | None = None) -> None:
        super().__init__(folder, request, address)
        if address:
            find_head(address)
        from cmd_tune.compute.device import gpu_count

        self._here = None if address else Node(request.cpus or usable_cpus(), gpu_count())
        if self._here:
            plan_resources([self._here], request, trials=None, given=0)  # refuses what would wait for ever
        self._session = ExitStack()
        self._watch = Watch(f"go on with --resume {folder.name}")
        self._starting: Future[None] | None = None
        self._hosts: Hosts | None = None

    @property
    def lost(self) -> str:  # type: ignore[override]
        return self._watch.lost

    @property
    def is_open(self) -> bool:  # type: ignore[override]
        return self._starting is not None

    def open(self, *, trials: int | None, given: int) -> None:
        log = self.folder / LOG
        self._trials: Trials = {"trials": trials, "given": given}
        self._session.enter_context(native_errors_to(log))
        self._session.callback(self._watch.end)
        joined = self._session.enter_context(ray_session(self.address, log))
        thread = self._session.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ray"))
        self._session.callback(lambda: thread.submit(leave_ray).result())
        self._session.callback(self._watch.rest)
        self._session.callback(self._close_hosts)
        self._starting = thread.submit(self._start, joined, log)

    def _start(self, address: str | None, log: Path) -> None:
        start_or_join(address, log, self._here)
        if self._here:
            self._open_hosts()
        await_process(self.address, self._hosts and self._hosts.answer())
        import cmd_tune.search.execution.ray_tune  # noqa: F401  (takes a second)

    def _open_hosts(self, needs: Needs | None = None) -> None:
        plan = plan_resources(nodes_now(), self.request, **self._trials)
        replan = partial(lay_anew, request=self.request, **self._trials)
        self._hosts = Hosts(self.folder / "ray", nodes_now, replan, self.request.hung_after, needs)
        self._hosts.open(plan)

    def _close_hosts(self) -> None:
        if self._hosts and not self.lost:
            self._hosts.close()

    def plan(self, source: DataSource) -> ResourcePlan:
        assert self._starting, "it is opened first"
        self._starting.result()
        log_ray_messages()
        self._watch.start()
        if self.address:
            from cmd_tune.search.execution.nodes import check_nodes

            write_text(self.folder / WITNESS, token_hex(8))
            self._open_hosts(check_nodes(source, self.folder, WITNESS))
        return self.hosts.plan

    @property
    def hosts(self) -> Hosts:
        assert self._hosts, "trials are laid out first"
        return self._hosts

    def call(self, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
        return self.hosts.call(function, *arguments)

    def run(self, plan: ResourcePlan, events: TrialEvents) -> None:
        from cmd_tune.search.execution.ray_tune import run_tune

        run_tune(self.folder, self.hosts, events)

    def close(self) -> None:
        self._session.close()
