"""Trial hosts on a Ray cluster: started as planned, watched, and started anew on what is left when one is lost."""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.search.execution.desk import NOTHING
from cmd_tune.search.execution.engine import MAX_RESTARTS
from cmd_tune.search.execution.ray_desk import DeskOf, on_this_node, open_desk
from cmd_tune.search.execution.resources import Node, ResourcePlan, TrialResources

T = TypeVar("T")

_EVERY_S = 1.0  # between two looks at the hosts
_SOON_S = 30.0  # until it is said what the trials wait for
_MOST_STILLBORN = 3  # hosts in a row that end before they are up
_DEAD = "its process died: killed, out of memory or crashed"
_CLOSING_S = 5.0


@dataclass
class _Host:
    result: Any  # Ray's reference, which is ready when the host has ended
    each: TrialResources
    begun: float = field(default_factory=monotonic)
    up: bool = False


class Hosts:
    """The hosts of one search. `look` sees to them, and is called again and again while anything waits for them."""

    def __init__(self, folder: Path, nodes: Callable[[], list[Node]], replan: Callable[[list[Node]], ResourcePlan]):
        """folder: for Ray's own files. nodes: the computers as they are now.

        replan: the layout on these; raises UsageError if nothing fits.
        """
        self._folder, self._nodes, self._replan = folder, nodes, replan
        self._hosts: dict[int, _Host] = {}
        self._numbers = count()
        self._calls = count()
        self._looked, self._stillborn = 0.0, 0
        self._said, self._said_at = "", 0.0

    def open(self, plan: ResourcePlan) -> None:
        """Open the desk and start as many hosts as there are trials at once."""
        self.plan, self._laid_on = plan, self._nodes()
        self._desk = open_desk()
        self.desk = DeskOf(self._desk)
        self._start()

    def look(self, say: Callable[[str], None], relaid: Callable[[ResourcePlan], None]) -> None:
        """See to what has changed since the last look; at once if that was a moment ago.

        say: takes a line for people. relaid: takes the new layout. Raises CmdTuneError if no host can be started.
        """
        now = monotonic()
        if now - self._looked < _EVERY_S:
            return
        self._looked = now
        self._mourn()
        state = self.desk.state()
        for number in state["hosts"]:
            if number in self._hosts:
                self._hosts[number].up, self._stillborn = True, 0
        self._lay_anew(say, relaid)
        self._start()
        self._explain(state, say)

    def call(self, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
        """As of the engine's contract."""
        from ray import cloudpickle

        key, work = f"call {next(self._calls)}", cloudpickle.dumps(partial(function, *arguments))
        self.desk.submit(key, work, first=False)
        return lambda: self._result(key, work)

    def leave(self, key: str) -> None:
        """Withdraw work, without waiting."""
        self._desk.leave.remote(key)

    def close(self) -> None:
        """Send the hosts home; end those that do not go."""
        import ray

        if not self._hosts:
            return
        self._desk.close.remote()
        results = [host.result for host in self._hosts.values()]
        _, left = ray.wait(results, num_returns=len(results), timeout=_CLOSING_S)
        for result in left:
            ray.cancel(result, force=True)
        self._hosts.clear()

    def _start(self) -> None:
        import ray

        while len(self._hosts) < self.plan.concurrent:
            number, each = next(self._numbers), self.plan.per_trial
            own: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": on_this_node()}
            if each.workers == 1:
                own = {"num_cpus": each.cpus, "num_gpus": each.gpus}
            work = ray.remote(_be_host).options(max_retries=0, **own)
            self._hosts[number] = _Host(work.remote(self._desk, number, asdict(each), str(self._folder)), each)

    def _mourn(self) -> None:
        """Tell the desk of hosts that are gone, and why."""
        import ray

        numbers = {host.result: number for number, host in self._hosts.items()}
        done, _ = ray.wait(list(numbers), num_returns=len(numbers), timeout=0) if numbers else ([], [])
        for result in done:
            number = numbers[result]
            host = self._hosts.pop(number)
            why, last = _why(result)
            self._desk.lost.remote(number, why, last)
            self._stillborn += not host.up
            if self._stillborn >= _MOST_STILLBORN:
                raise CmdTuneError(f"the processes of trials end as they start: {why.strip().splitlines()[-1]}")

    def _lay_anew(self, say: Callable[[str], None], relaid: Callable[[ResourcePlan], None]) -> None:
        """Plan again if computers have come or gone."""
        import ray

        nodes = self._nodes()
        if nodes == self._laid_on:
            return
        self._laid_on = nodes
        try:
            plan = self._replan(nodes)
        except CmdTuneError as error:
            say(f"computers have gone: {error}")
            return
        if plan == self.plan:
            return
        self.plan = plan
        pending = [number for number, host in self._hosts.items() if not host.up]
        for number in pending:
            ray.cancel(self._hosts.pop(number).result, force=True)
        say(f"layout: {plan}")
        relaid(plan)

    def _explain(self, state: dict[str, Any], say: Callable[[str], None]) -> None:
        """Say what the trials wait for, if they have waited for a while, and again when that changes."""
        waiting = [host for host in self._hosts.values() if not host.up]
        late = waiting and monotonic() - min(host.begun for host in waiting) > _SOON_S
        if not (late and state["waiting"]):
            self._said = ""
            return
        text = _lack(self.plan.per_trial)
        if text != self._said and monotonic() - self._said_at > _SOON_S:
            self._said, self._said_at = text, monotonic()
            say(text)

    def _result(self, key: str, work: bytes) -> Any:
        from ray import cloudpickle

        for _ in range(1 + MAX_RESTARTS):
            while (said := self.desk.fetch(key, 0, _EVERY_S)) == NOTHING:
                self.look(lambda text: print(text, file=sys.stderr, flush=True), lambda plan: None)
            if "end" in said:
                self.leave(key)
                value, error = cloudpickle.loads(said["end"]["pickle"])
                if error is not None:
                    raise error
                return value
            self.desk.submit(key, work, first=False)
        raise CmdTuneError(str(said["lost"]).strip().splitlines()[-1])


def _be_host(desk: Any, number: int, each: dict[str, Any], folder: str) -> None:
    """What Ray runs for each host: its one process, or what starts its workers and waits for them."""
    resources = TrialResources(**each)
    if resources.workers > 1:
        from cmd_tune.search.execution.ray_group import serve_in_group

        serve_in_group(desk, number, resources, Path(folder))
        return
    from cmd_tune.search.execution.host import serve

    serve(DeskOf(desk), number, resources)


def _why(result: Any) -> tuple[str, dict[str, Any] | None]:
    """Why a host has ended, and the last report of what it was doing if that is to blame."""
    import ray

    from cmd_tune.search.execution.trial_process import failure_report

    try:
        ray.get(result)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, CmdTuneError):
            return str(error.cause), asdict(failure_report(error.cause))
        return str(error), None
    except ray.exceptions.OutOfMemoryError:
        return "its process was ended, since the memory of its node was full", None
    except ray.exceptions.NodeDiedError:
        return "its node was lost", None
    except ray.exceptions.RayError as error:
        return f"{_DEAD} ({first_line(error)})", None
    return "its host went home", None


def _lack(each: TrialResources) -> str:
    """What a host waits for, and what is free."""
    from ray._private.state import available_resources_per_node

    free = available_resources_per_node().values()
    there = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in free)
    return f"waiting for {each.workers} × ({each.cpus:g} CPUs, {each.gpus:g} GPUs); free are {there}, a node each"
