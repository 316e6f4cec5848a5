"""How many trials run at once, and the CPUs, GPUs and threads of each of their workers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, floor

from cmd_tune.errors import UsageError

DRIVER_CPU = 0.01  # of a trial that only starts workers; Ray Tune refuses 0
MOST_PER_CPU = 20  # processes; more would take minutes to start
TRIALS_PER_SLOT = 4  # a sampler learns little if most of its trials run at once


@dataclass(frozen=True)
class Node:
    cpus: float
    gpus: float


@dataclass(frozen=True)
class ResourceRequest:
    """What a person asks for. None leaves the choice to `plan_resources`; for workers it means one."""

    concurrent: int | None = None  # trials at once
    workers: int | None = None  # of each trial
    gpus_per_worker: float | None = None  # shares of one GPU allowed

    def or_else(self, other: "ResourceRequest") -> "ResourceRequest":
        """This request; what it leaves open is as in another one."""
        return replace(other, **{name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True)
class TrialResources:
    """The workers of a trial, and the CPUs (shares allowed), GPUs and threads of each of them."""

    workers: int
    cpus: float
    gpus: float
    threads: int


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
        workers = "1 worker" if trial.workers == 1 else f"{trial.workers} workers"
        gpus = f"{trial.gpus:g} {'GPU' if trial.gpus <= 1 else 'GPUs'}" if trial.gpus else "no GPU"
        cpus = f"{trial.cpus:g} {'CPU' if trial.cpus <= 1 else 'CPUs'}"
        return f"{at_once}, {workers} a trial, {cpus} and {gpus} a worker"


def plan_resources(nodes: Sequence[Node], request: ResourceRequest, *, trials: int | None, given: int) -> ResourcePlan:
    """Lay out the trials of a search over the nodes.

    trials: of the whole search; None if time ends it. given: how many of them no sampler chooses by earlier results:
    all of a grid's, the queued points of TPE.
    Without `gpus_per_worker`, each worker gets one GPU if there are enough for a trial, else an equal share of those
    there are. Without `concurrent`, as many trials run as fit with a CPU per worker, but a sampler that learns gets a
    few rounds to learn from. Every CPU is then used. Raises UsageError if not even one trial fits, or fewer than asked
    for: such a trial would wait for ever.
    """
    workers, gpus, concurrent = request.workers or 1, request.gpus_per_worker, request.concurrent
    if gpus is None:
        whole = sum(int(node.gpus) for node in nodes)
        gpus = floor(10_000 / ceil(workers / whole)) / 10_000 if whole else 0.0  # Ray counts in ten thousandths
    if gpus > 1 and gpus != int(gpus):
        raise UsageError(
            f"--gpus-per-worker {gpus:g}: Ray takes parts of one GPU only; write a whole number, or less than 1"
        )
    slots = sum(_gpu_slots(node.gpus, gpus) if gpus else _whole(node.cpus, 1.0) for node in nodes)
    if gpus and slots < workers * (concurrent or 1):
        have = sum(node.gpus for node in nodes)
        what = f"{workers * (concurrent or 1)} workers with {gpus:g} GPU each"
        raise UsageError(
            f"--gpus-per-worker {gpus:g}: {what} do not fit on {have:g} GPUs; lower it, or --workers or --concurrent"
        )
    cpus = sum(node.cpus for node in nodes)
    most = floor(MOST_PER_CPU * cpus) // workers
    if most < (concurrent or 1):
        asked = f"--workers {workers}" + (f" --concurrent {concurrent}" if concurrent else "")
        raise UsageError(
            f"{asked}: {workers * (concurrent or 1)} processes for {cpus:g} CPUs; at most {MOST_PER_CPU} a CPU"
        )
    fit = max(1, min(slots // workers, most))
    rounds = fit if trials is None else trials if given >= trials else max(1, trials // TRIALS_PER_SLOT)
    learning, concurrent = concurrent or min(fit, rounds), concurrent or min(fit, max(given, rounds))
    share = _largest_share([node.cpus for node in nodes], workers * concurrent)
    if workers > 1:
        share = share - DRIVER_CPU
    per_trial = TrialResources(workers, floor(share * 100) / 100, gpus, max(1, floor(share + DRIVER_CPU)))
    return ResourcePlan(per_trial, concurrent, learning)


def _largest_share(cpus: Sequence[float], count: int) -> float:
    """The most CPUs that each of `count` workers can have, if none may span two nodes."""
    candidates = sorted((cpu / parts for cpu in cpus if cpu for parts in range(1, count + 1)), reverse=True)
    return next(share for share in candidates if sum(_whole(cpu, share) for cpu in cpus) >= count)


def _gpu_slots(there: float, share: float) -> int:
    """How many workers fit on a node's GPUs: a share must come from one GPU."""
    return int(there) * _whole(1.0, share) if share < 1 else _whole(there, share)


def _whole(amount: float, share: float) -> int:
    return floor(amount / share + 1e-9)
