"""Trial hosts on a Ray cluster: started as planned, watched, and started anew on what is left when one is lost."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from cmd_tune.errors import CmdTuneError, first_line
from cmd_tune.formatting import count
from cmd_tune.search.execution.desk import NOTHING
from cmd_tune.search.execution.engine import HUNG, MAX_RESTARTS, TrialReport
from cmd_tune.search.execution.ray_desk import (
    NODE_LABEL,
    DeskOf,
    Process,
    UnfitNode,
    end_process,
    on_this_node,
    open_desk,
    this_process,
)
from cmd_tune.search.execution.ray_group import NoPlaceError, free_groups
from cmd_tune.search.execution.ray_session import free_now
from cmd_tune.search.execution.resources import Node, ResourcePlan, TrialResources, describe_lack

if TYPE_CHECKING:  # it loads PyTorch
    from cmd_tune.search.execution.nodes import Needs

T = TypeVar("T")

_EVERY_S = 1.0  # between two looks at the hosts
_SOON_S = 30.0  # until it is said what the trials wait for
_MOST_STILLBORN = 3  # times in a row that hosts end before they are up; all of a node's are ended at once with it
_HUNG_S, _HUNG_EPOCHS = 3600.0, 10  # an hour, or ten of its longest epochs if that is longer
# What is said of hosts that are gone; ray_tune.py tells the kind of failure by it.
PROCESS_DIED = "its process died: killed, out of memory or crashed"
NODE_GONE = "its node was lost"
MEMORY_FULL = "its process was ended, since the memory of its node was full"
_NO_PLACE = "there was no place for it"
_WENT_HOME = "its host went home"
_CLOSING_S = 1.0  # for hosts to end by themselves


@dataclass
class _Host:
    result: Any  # Ray's reference, which is ready when the host has ended
    each: TrialResources
    places: range  # by which the desk knows it: its number; of fused trials one number each
    processes: Sequence[Process] = ()  # that serve; none before it is up

    @property
    def up(self) -> bool:
        return bool(self.processes)


class Hosts:
    """The hosts of one search. `look` sees to them, and is called again and again while anything waits for them."""

    def __init__(
        self,
        folder: Path,
        nodes: Callable[[Collection[str]], list[Node]],
        replan: Callable[[ResourcePlan, list[Node]], ResourcePlan],
        hung_after: float | None = None,
        needs: Needs | None = None,
    ) -> None:
        """folder: for Ray's own files. nodes: those that are there now, but for some. hung_after: as of a request.

        replan: the layout on some nodes, by the first one; raises UsageError if nothing fits. needs: of nodes
        that join, if they may differ.
        """
        self._folder, self._nodes, self._replan = folder, nodes, replan
        self._hung_after, self._needs = hung_after, needs
        self._unfit: set[str] = set()  # ids of nodes that are left out
        self._hosts: dict[int, _Host] = {}
        self._numbers = itertools.count()
        self._calls = itertools.count()
        self._looked, self._stillborn = 0.0, 0
        self._uncleared = False  # whether a host of several workers is gone, which may have left places behind
        self._said, self._said_at, self._waits_since = "", 0.0, monotonic()

    def open(self, plan: ResourcePlan) -> None:
        """Open the desk and start as many hosts as there are trials at once."""
        self.plan, self._first, self._laid_on = plan, plan, self._nodes(())
        self._desk = open_desk()
        self.desk = DeskOf(self._desk)
        self._start()

    def answer(self) -> Any:
        """What the process of the desk will return once it has started, as Ray has it."""
        return self._desk.state.remote()

    def look(self, say: Callable[[str], None], relaid: Callable[[ResourcePlan], None]) -> None:
        """See to what has changed since the last look; at once if that was a moment ago.

        say: takes a line for people. relaid: takes the new layout. Raises CmdTuneError if no host can be started.
        """
        now = monotonic()
        if now - self._looked < _EVERY_S:
            return
        self._looked = now
        self._mourn(say)
        state = self.desk.state()
        for place, processes in state["hosts"].items():
            if (number := self._at(place)) is not None:
                self._hosts[number].processes, self._stillborn = processes, 0
        self._clear()
        self._lay_anew(say, relaid)
        self._dismiss()
        self._end_hung(state)
        self._start()
        self._explain(state, say)

    def call(self, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
        """As of the engine's contract."""
        from ray import cloudpickle

        key, work = f"call {next(self._calls)}", cloudpickle.dumps(partial(function, *arguments))
        self.desk.submit(key, work, first=False)
        return lambda: self._result(key, work)

    def submit(self, key: str, task: Mapping[str, Any]) -> None:
        """Leave the task of a trial, without waiting: its client, who asks for the reports, sees that it is there."""
        self._desk.submit.remote(key, task, first=True)

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

        while sum(len(host.places) for host in self._hosts.values()) < self.plan.concurrent:
            each = self.plan.per_trial
            number, *_ = numbers = [next(self._numbers) for _ in range(each.fused)]
            own: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": on_this_node()}
            where = {NODE_LABEL: f"!in({','.join(sorted(self._unfit))})"} if self._unfit else {}
            if each.workers == 1:
                own = {"num_cpus": each.cpus, "num_gpus": each.gpus, "label_selector": where}
            work = ray.remote(_be_host).options(max_retries=0, **own)
            result = work.remote(self._desk, number, asdict(each), str(self._folder), self._needs, where)
            self._hosts[number] = _Host(result, each, range(number, number + len(numbers)))

    def _at(self, place: int) -> int | None:
        """The number of the host that has a place."""
        return next((number for number, host in self._hosts.items() if place in host.places), None)

    def _mourn(self, say: Callable[[str], None]) -> None:
        """Tell the desk of hosts that are gone, and why. Nodes that lack something are left out from now on."""
        import ray

        numbers = {host.result: number for number, host in self._hosts.items()}
        done, _ = ray.wait(list(numbers), num_returns=len(numbers), timeout=0) if numbers else ([], [])
        stillborn = ""
        for result in done:
            number = numbers[result]
            host = self._hosts.pop(number)
            error = _error(result)
            why, last = _why(error)
            self._uncleared |= host.each.workers > 1
            if mine := {process.group for process in host.processes} - {""}:  # what of it still runs must not go on
                free_groups(mine.__contains__)
            for place in host.places:
                self._desk.lost.remote(place, why, last)
            if isinstance(error, UnfitNode):
                if error.node not in self._unfit:
                    self._unfit.add(error.node)
                    say(f"{error}; the search goes on without this node, until Ray is started there again")
            elif not host.up and why not in (_NO_PLACE, _WENT_HOME, NODE_GONE):
                stillborn = why
        self._stillborn += bool(stillborn)
        if stillborn and self._stillborn >= _MOST_STILLBORN:
            raise CmdTuneError(f"the processes of trials end as they start: {stillborn.strip().splitlines()[-1]}")

    def _clear(self) -> None:
        """Free what hosts have left behind that were killed while they started.

        Which places are theirs is known once those of all others are: when each host that there is, is up.
        """
        if self._uncleared and all(host.up for host in self._hosts.values()):
            kept = {process.group for host in self._hosts.values() for process in host.processes}
            free_groups(lambda group: group not in kept)
            self._uncleared = False

    def _lay_anew(self, say: Callable[[str], None], relaid: Callable[[ResourcePlan], None]) -> None:
        """Plan again if nodes have come or gone. Hosts that wait for a place that is no longer planned are given up."""
        nodes = self._nodes(self._unfit)
        if nodes == self._laid_on:
            return
        self._laid_on = nodes
        try:
            plan = self._replan(self._first, nodes)
        except CmdTuneError:  # nothing fits: `_explain` says what they wait for
            return
        if plan == self.plan:
            return
        # Those of several workers give up by themselves: by force, Train would leave behind what it has asked for.
        given_up = [number for number, host in self._hosts.items() if not host.up and host.each.workers == 1]
        for number in given_up:
            for place in self._hosts[number].places:  # it may just have come up, and taken work
                self._desk.lost.remote(place, _NO_PLACE)
            self._end(number)
        self.plan = plan
        say(f"layout: {plan}")
        relaid(plan)

    def _dismiss(self) -> None:
        """Have hosts with other shares than planned now go home when their trial has ended; others follow."""
        differing = [host for host in self._hosts.values() if host.each != self.plan.per_trial]
        if others := [place for host in differing for place in host.places]:
            self._desk.dismiss.remote(others)  # at each look, since the desk may have started anew

    def _end_hung(self, state: dict[str, Any]) -> None:
        """End hosts whose trials have not reported for too long."""
        for place, (quiet_s, longest_s) in state["quiet"].items():
            number = self._at(place)
            limit_s = 60 * self._hung_after if self._hung_after else max(_HUNG_S, _HUNG_EPOCHS * longest_s)
            if number is not None and quiet_s > limit_s:
                why = f"it has not reported for {quiet_s / 60:.0f} min, as if it hung; see --hung-after"
                fellows = [other for other in self._hosts[number].places if other != place]
                self._end(number)
                self.desk.lost(place, why, asdict(TrialReport(failure=why, kind=HUNG)))
                for other in fellows:
                    self.desk.lost(other, f"{PROCESS_DIED} (ended, since a trial beside it hung)")

    def _end(self, number: int) -> None:
        """End a host without waiting for it. One that is up may be past listening, so that its processes are killed."""
        import ray

        host = self._hosts.pop(number)
        for process in host.processes:
            end_process(process)
        if not host.up:
            ray.cancel(host.result, force=True)

    def _explain(self, state: dict[str, Any], say: Callable[[str], None]) -> None:
        """Say what the trials wait for, if they have waited for a while, and again when that changes."""
        late = [number for number, host in self._hosts.items() if not host.up]
        if not (late and state["waiting"]):
            self._said, self._waits_since = "", monotonic()
            return
        if monotonic() - self._waits_since < _SOON_S:
            return
        if self._without_place(late, state):
            text = describe_lack(free_now(self._unfit), self.plan)
        else:
            text = f"waiting for Ray to start the processes of {count(len(late), 'trial')}; see its logs"
        if text != self._said and monotonic() - self._said_at > _SOON_S:
            self._said, self._said_at = text, monotonic()
            say(text)

    def _without_place(self, late: list[int], state: dict[str, Any]) -> bool:
        """Whether some of these hosts have no place yet. What starts several workers has one; they may not."""
        if self.plan.per_trial.workers == 1:
            return any(number not in state["placed"] for number in late)
        import ray

        return any(group["state"] == "PENDING" for group in ray.util.placement_group_table().values())

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


def _be_host(
    desk: Any, number: int, each: dict[str, Any], folder: str, needs: Needs | None, where: dict[str, str]
) -> None:
    """What Ray runs for each host: its one process, or what starts its workers and waits for them."""
    resources = TrialResources(**each)
    DeskOf(desk).arrive(number)
    if resources.workers > 1:
        from cmd_tune.search.execution.ray_group import serve_in_group

        serve_in_group(desk, number, resources, Path(folder), needs, where)
        return
    from cmd_tune.search.execution.host import serve

    if needs:
        needs.check_here()
    serve(DeskOf(desk), number, resources, this_process())


def _error(result: Any) -> Exception | None:
    """What a host ended with: our own exception, or else Ray's; None if it went home."""
    import ray

    try:
        ray.get(result)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, NoPlaceError | CmdTuneError) else error
    except ray.exceptions.RayError as error:
        return error
    return None


def _why(error: Exception | None) -> tuple[str, dict[str, Any] | None]:
    """Why a host has ended, and the last report of what it was doing if that is to blame."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError

    from cmd_tune.search.execution.trial_process import failure_report

    if error is None:
        return _WENT_HOME, None
    if isinstance(error, NoPlaceError):
        return _NO_PLACE, None
    if isinstance(error, CmdTuneError):
        return str(error), asdict(failure_report(error))
    if isinstance(error, RayTaskError):
        return str(error), None
    if isinstance(error, OutOfMemoryError):
        return MEMORY_FULL, None
    if isinstance(error, NodeDiedError):
        return NODE_GONE, None
    return f"{PROCESS_DIED} ({first_line(error)})", None
