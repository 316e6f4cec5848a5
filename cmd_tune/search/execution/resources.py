"""How trials are laid over nodes: how many run at once, and the CPUs, GPUs and threads of each of their workers.

The CPUs and GPUs of a worker are those of one node; the workers of a trial may lie on several. Since all workers are
alike, a layout is possible if the nodes have places for as many of them as run at once.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, floor, isfinite

from cmd_tune.errors import UsageError
from cmd_tune.formatting import count

# Workers of a CPU. Each takes 5 s of CPU time to start, so that four take 20 s, and 64 on two CPUs take minutes.
MOST_PER_CPU = 4
LEAST_CPUS = 1 / MOST_PER_CPU  # of a worker
TRIALS_PER_SLOT = 4  # a sampler learns little if most of its trials run at once
_UNIT = 10_000  # Ray counts in ten thousandths of a CPU or GPU
_STEPS = 100  # a worker's CPUs are whole hundredths
_LISTED = 4  # nodes in a line
AUTO = "auto"  # as --fuse


@dataclass(frozen=True)
class Node:
    """What a node has, or has left, for workers. Of GPUs that are no whole number, the fraction is left of one GPU."""

    cpus: float
    gpus: float
    name: str = "this machine"

    def places(self, cpus: float, gpus: float) -> int:
        """How many workers with so many CPUs and GPUs each fit on it. A share of a GPU comes from one GPU."""
        by_cpus = _units(self.cpus) // _units(cpus)
        if not gpus:
            return by_cpus
        whole, fraction = divmod(_units(self.gpus), _UNIT)
        share = _units(gpus)
        by_gpus = whole * _UNIT // share if share >= _UNIT else whole * (_UNIT // share) + fraction // share
        return min(by_cpus, by_gpus)


@dataclass(frozen=True)
class ResourceRequest:
    """What a person asks for. None leaves the choice to `plan_resources`; for workers it means one."""

    concurrent: int | None = None  # trials at once
    workers: int | None = None  # of each trial
    gpus_per_worker: float | None = None  # shares of one GPU allowed
    cpus: int | None = None  # of this machine, where the search joins no cluster; None: all that it may use
    hung_after: float | None = None  # minutes without a report; None: an hour, or ten of the trial's longest epochs
    fuse: int | None = None  # trials that a worker brings forward side by side, as one program; None: one

    def or_else(self, other: "ResourceRequest") -> "ResourceRequest":
        """This request; what it leaves open is as in another one."""
        return replace(other, **{name: value for name, value in asdict(self).items() if value is not None})


def read_fuse(asked: int | str | None) -> tuple[int | None, bool]:
    """The number of --fuse, as typed or given, and whether it is to be measured. Raises UsageError."""
    if asked is None or asked == AUTO:
        return None, asked == AUTO
    number = int(asked) if type(asked) is int or (isinstance(asked, str) and asked.isdecimal()) else 0
    if number < 1:
        raise UsageError(f"--fuse {asked}: is no number of trials; write a whole number from 1, or {AUTO}")
    return number, False


@dataclass(frozen=True)
class TrialResources:
    """The workers of a trial, and the CPUs (shares allowed), GPUs and threads of each of them.

    fused: trials that share a worker, and all that it has.
    """

    workers: int
    cpus: float
    gpus: float
    threads: int
    fused: int = 1

    def fit(self, nodes: Sequence[Node]) -> int:
        """How many such trials fit on the nodes."""
        return _places(nodes, self.cpus, self.gpus) // self.workers * self.fused


@dataclass(frozen=True)
class ResourcePlan:
    """What each trial gets, and how many trials run at once.

    learning: of the trials that a sampler chooses by earlier results, no more run at once than that.
    """

    per_trial: TrialResources
    concurrent: int
    learning: int

    def __str__(self) -> str:
        """In one line, for people."""
        trial = self.per_trial
        at_once = "1 trial at a time" if self.concurrent == 1 else f"{self.concurrent} trials at once"
        if self.learning < self.concurrent:
            at_once += f" ({self.learning} once the sampler learns)"
        workers = f"{trial.fused} fused in a worker" if trial.fused > 1 else f"{count(trial.workers, 'worker')} a trial"
        gpus = _amount(trial.gpus, "GPU") if trial.gpus else "no GPU"
        return f"{at_once}, {workers}, {_amount(trial.cpus, 'CPU')} and {gpus} a worker"


def plan_resources(nodes: Sequence[Node], request: ResourceRequest, *, trials: int | None, given: int) -> ResourcePlan:
    """Lay out the trials of a search over the nodes. A pure function, for any nodes: all of them, or what is left.

    trials: of the whole search; None if time ends it. given: how many of them no sampler chooses by earlier results:
    all of a grid's, the queued points of TPE.
    Without `gpus_per_worker`, each worker gets one GPU if there are enough, else an equal share of those there are.
    Without `concurrent`, as many trials run as there are GPUs for, or else CPUs, one per worker; but a sampler that
    learns gets a few rounds to learn from. The CPUs of each worker are the largest equal share that can be placed, in
    steps of 0.01. With `fuse` a worker brings so many trials forward, or as many fewer as make all workers alike.
    Raises UsageError if not even one trial can be placed, or fewer than asked for, with LEAST_CPUS per worker: such a
    trial would wait for ever. Neither `trials` nor `given` changes that.
    """
    workers, concurrent, fused = request.workers or 1, request.concurrent, request.fuse or 1
    if fused > 1 and workers > 1:
        raise UsageError(f"--fuse {fused}: fused trials have one worker each, not {workers}; leave out one of the two")
    asked = workers * ceil((concurrent or 1) / fused)
    gpus = _gpus_per_worker(nodes, request.gpus_per_worker, asked)
    room = _places(nodes, LEAST_CPUS, gpus)
    if room < asked:
        raise UsageError(_refusal(nodes, request, gpus, asked, room))
    fit = fused * max(1, (room if gpus else _places(nodes, 1.0, 0.0)) // workers)
    rounds = fit if trials is None else trials if given >= trials else max(1, trials // TRIALS_PER_SLOT)
    learning, concurrent = concurrent or min(fit, rounds), concurrent or min(fit, max(given, rounds))
    processes = ceil(concurrent / fused)
    fused = ceil(concurrent / processes)  # alike in all of them
    cpus = _largest_share(nodes, workers * processes, gpus)
    return ResourcePlan(TrialResources(workers, cpus, gpus, max(1, floor(cpus)), fused), concurrent, learning)


def lay_anew(
    first: ResourcePlan, nodes: Sequence[Node], request: ResourceRequest, *, trials: int | None, given: int
) -> ResourcePlan:
    """The plan of a running search when nodes have come or gone. Raises UsageError if not one trial fits.

    first: the plan that the search began with. nodes: those that are there now. The rest is as for `plan_resources`.
    Trials keep what each had at first, and as many as fit run at once, unless there is no place for even one of them,
    or the nodes now give each more CPUs. What lies between the first plan and now does not matter: once the nodes are
    those of the first plan, that holds again.
    """
    each = first.per_trial
    room = each.fit(nodes)
    at_once = first
    try:  # all trials of a search on one kind of device, while that is possible
        fresh = plan_resources(nodes, replace(request, gpus_per_worker=each.gpus), trials=trials, given=given)
    except UsageError:
        if not room:
            return plan_resources(nodes, request, trials=trials, given=given)
    else:
        if not room or fresh.per_trial.cpus > each.cpus:
            return fresh
        at_once = fresh
    return ResourcePlan(each, min(room, at_once.concurrent), min(room, at_once.learning))


def describe_lack(free: Sequence[Node], plan: ResourcePlan) -> str:
    """What a trial that cannot be placed waits for, and what is free, in one line."""
    each = plan.per_trial
    with_gpus = each.gpus > 0 or any(node.gpus for node in free)
    shown = sorted(free, key=lambda node: (node.places(LEAST_CPUS, each.gpus), node.cpus, node.gpus), reverse=True)
    have = [f"{_amounts(node.cpus, node.gpus, with_gpus)} on {node.name}" for node in shown[:_LISTED]]
    if hidden := shown[_LISTED:]:
        have.append(f"no more on {count(len(hidden), 'other node')}")
    per_worker = _amounts(each.cpus, each.gpus, each.gpus > 0) + (" each" if each.workers > 1 else "")
    left = f"free are {', '.join(have)}" if have else "there is no node"
    return f"waiting for {count(each.workers, 'worker')} of {per_worker}; {left}"


def _gpus_per_worker(nodes: Sequence[Node], asked: float | None, workers: int) -> float:
    """The GPUs of each worker, in Ray's units; 0 if no node has both a GPU and CPUs for a worker."""
    if asked is None:
        shares = range(1, min(workers, _UNIT) + 1)  # workers on one GPU
        fewest = bisect_left(shares, True, key=lambda n: _places(nodes, LEAST_CPUS, _UNIT // n / _UNIT) >= workers)
        gpus = _UNIT // shares[min(fewest, len(shares) - 1)] / _UNIT
        return gpus if _places(nodes, LEAST_CPUS, gpus) else 0.0
    cure = "write a whole number, or a part of one in steps of 0.0001"
    if not isfinite(asked) or (asked > 1 and asked != int(asked)):
        raise UsageError(f"--gpus-per-worker {asked:g}: Ray takes parts of one GPU only; {cure}")
    if asked and not _units(asked):
        raise UsageError(f"--gpus-per-worker {asked:g}: is less than Ray counts; {cure}")
    return _units(asked) / _UNIT


def _largest_share(nodes: Sequence[Node], workers: int, gpus: float) -> float:
    """The most CPUs, in whole hundredths, with which there are places for so many workers; LEAST_CPUS is possible."""
    shares = range(floor(LEAST_CPUS * _STEPS), floor(max(node.cpus for node in nodes) * _STEPS) + 2)
    too_large = bisect_left(shares, True, key=lambda share: _places(nodes, share / _STEPS, gpus) < workers)
    return shares[too_large - 1] / _STEPS


def _places(nodes: Sequence[Node], cpus: float, gpus: float) -> int:
    return sum(node.places(cpus, gpus) for node in nodes)


def _refusal(nodes: Sequence[Node], request: ResourceRequest, gpus: float, asked: int, room: int) -> str:
    """What was asked for, what there is, and what would fit, in one line."""
    workers, concurrent, fused = request.workers or 1, request.concurrent, request.fuse or 1
    options = (
        ("--workers", workers if workers > 1 else 0),
        ("--fuse", fused if fused > 1 else 0),
        ("--concurrent", concurrent),
        ("--gpus-per-worker", request.gpus_per_worker),
    )
    typed = " ".join(f"{option} {value:g}" for option, value in options if value)
    there = sum(node.gpus for node in nodes)
    have = _amounts(sum(node.cpus for node in nodes), there, there > 0 or gpus > 0)
    where = f" of {len(nodes)} nodes" if len(nodes) > 1 else ""
    share = _amounts(LEAST_CPUS, request.gpus_per_worker or 0.0, bool(request.gpus_per_worker))
    share += " and a share of a GPU" if gpus and request.gpus_per_worker is None else ""
    per_worker = f"at least {share}" + (", on one node" if where else "")
    do = "does" if asked == 1 else "do"
    if concurrent and room >= workers:
        cure = f"--concurrent {room // workers * fused} fits"
    elif fused == 1 and room >= (concurrent or 1):
        cure = f"--workers {room // (concurrent or 1)} fits"
    elif room:
        cure = f"--workers 1 --concurrent {room} fits"
    elif gpus and _places(nodes, LEAST_CPUS, 0.0) >= asked:
        cure = "--gpus-per-worker 0 fits"
    else:
        cure = "start Ray on nodes that have more"
    said = f"{count(asked, 'worker')} {do} not fit on {have}{where}: each takes {per_worker}; {cure}"
    return f"{typed}: {said}" if typed else said


def _units(amount: float) -> int:
    return round(amount * _UNIT)


def _amount(number: float, unit: str) -> str:
    """0 CPUs, 0.5 CPU, 1 CPU, 2 CPUs."""
    return f"{number:g} {unit}" + ("" if 0 < number <= 1 else "s")


def _amounts(cpus: float, gpus: float, with_gpus: bool) -> str:
    return _amount(cpus, "CPU") + (f" and {_amount(gpus, 'GPU')}" if with_gpus else "")
