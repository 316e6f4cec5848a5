"""The engine of Ray: a local Ray or somebody's cluster; trials by Tune, workers of larger trials by Train."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.run_folder import SEARCH_FILE
from cmd_tune.search.execution.engine import Engine, TrialEvents
from cmd_tune.search.execution.nodes import check_nodes
from cmd_tune.search.execution.ray_output import log_ray_messages, native_errors_to
from cmd_tune.search.execution.ray_session import check_reachable, ray_session
from cmd_tune.search.execution.resources import ResourcePlan, ResourceRequest, plan_resources

LOG = "ray.log"  # in the search's folder
T = TypeVar("T")


class RayEngine(Engine):
    """Runs trials by Ray. What Ray prints goes to a file in the search's folder, and nothing of it to the screen."""

    title = "Ray"

    def __init__(self, folder: Path, source: DataSource, request: ResourceRequest, address: str | None = None) -> None:
        super().__init__(folder, source, request, address)
        if address and ":" in address:
            check_reachable(address)
        self._session = ExitStack()

    def open(self) -> None:
        log = self.folder / LOG
        self._session.enter_context(native_errors_to(log))
        nested = (self.request.workers or 1) > 1
        self._nodes = self._session.enter_context(ray_session(self.address, log, nested=nested))
        log_ray_messages()

    def plan(self, *, trials: int | None, given: int) -> ResourcePlan:
        if self.address:
            check_nodes(self.source, self.folder, SEARCH_FILE)
        return plan_resources(self._nodes, self.request, trials=trials, given=given)

    def call(self, function: Callable[..., T], *arguments: object, cpus: float, gpus: float) -> Callable[[], T]:
        import ray

        result = ray.remote(function).options(num_cpus=cpus, num_gpus=gpus).remote(*arguments)
        return lambda: ray.get(result)

    def run(self, plan: ResourcePlan, events: TrialEvents) -> None:
        from cmd_tune.search.execution.ray_tune import run_tune

        run_tune(self.folder, plan.per_trial, events)

    def close(self) -> None:
        self._session.close()
