"""How many trials each worker of a search brings forward side by side, where `--fuse auto` leaves that open."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil

import torch

from cmd_tune.compute.cpus import usable_cpus
from cmd_tune.compute.device import gpu_count
from cmd_tune.errors import UsageError
from cmd_tune.formatting import count, format_value
from cmd_tune.runs.apart import call_apart
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.fused_probe import Timed, time_fused
from cmd_tune.search.execution import ResourceRequest
from cmd_tune.search.execution.resources import AUTO, LEAST_CPUS, Node, plan_resources
from cmd_tune.search.request import SearchRequest, given_count
from cmd_tune.search.spaces.space import Space
from cmd_tune.settings import Settings
from cmd_tune.train.fused import shape_settings

_ALL = 1_000_000  # more trials than any search has


def with_fuse(
    request: SearchRequest, address: str | None, source: Callable[[], DataSource] | None
) -> tuple[SearchRequest, str]:
    """The request with a number of fused trials in place of auto, and a line that says why; empty if it had a number.

    source: opens the data to measure on; None: nothing is measured, and what needs that stays auto.
    Raises UsageError if the trials run on a cluster, CmdTuneError if they cannot be measured.
    """
    if not request.fuse_auto:
        return request, ""
    if address:
        raise UsageError(
            f"--fuse {AUTO}: is measured on this machine, and the cluster at {address} may have other cards; "
            "write a number"
        )
    here = this_machine(request.resources)
    if why := why_one(request, here):
        trials, text = 1, f"1, since {why}"
    elif source:
        trials, text = _measured(request, here, source())
    else:
        return request, f"fuse {AUTO}: measured at the start"
    chosen = replace(request, fuse_auto=False, resources=replace(request.resources, fuse=trials))
    return chosen, f"fuse {AUTO}: {text}"


def this_machine(resources: ResourceRequest) -> Node:
    """What a search of this machine may use."""
    return Node(resources.cpus or usable_cpus(), gpu_count())


def why_one(request: SearchRequest, here: Node) -> str:
    """Why each worker has one trial, whatever would be measured; empty if that is not known."""
    workers = request.resources.workers or 1
    if workers > 1:
        return f"trials have {workers} workers each"
    if not here.gpus:
        return "there is no GPU"
    if request.resources.gpus_per_worker == 0:
        return "trials use no GPU"
    if names := varied_in_shape(request.space, request.settings):
        return f"trials differ in {', '.join(names)}"
    return "" if most_fused(request, here) > 1 else "a GPU has one trial at a time"


def varied_in_shape(space: Space, settings: Settings) -> list[str]:
    """The settings in which trials of a space differ, and those of one program may not."""

    def differs(name: str) -> bool:
        own = {name: getattr(settings, name)}
        found = {format_value({**own, **values}[name]) for values in space.variants(settings.model_dump(), (name,))}
        return len(found) > 1 or not (space.comparison or space.parameters[name].choices)

    return [name for name in shape_settings(settings) if name in space.parameters and differs(name)]


def most_fused(request: SearchRequest, here: Node) -> int:
    """As many trials a worker as there are at once, if each GPU, or share of one that was asked for, has a worker."""
    workers = here.places(LEAST_CPUS, request.resources.gpus_per_worker or 1.0)
    if not workers:
        return 1  # it is refused by whoever lays it out
    given = given_count(request.space, request.trials)
    fused = replace(request.resources, fuse=_ALL)
    return ceil(plan_resources([here], fused, trials=request.trials, given=given).concurrent / workers)


def _measured(request: SearchRequest, here: Node, source: DataSource) -> tuple[int, str]:
    """The number of trials that is worth it, and what it gains, in words."""
    share = min(1.0, request.resources.gpus_per_worker or 1.0)
    one, best = timed_apart(request.settings, source, most_fused(request, here), share)
    if best.trials == 1:
        return 1, "1, since more trials side by side have no room on the GPU, or gain nothing"
    return best.trials, f"{best.trials} trials a worker, {one.each / best.each:.1f} times as fast as one by one"


def timed_apart(
    settings: Settings, source: DataSource, most: int, share: float, device: torch.device | None = None
) -> tuple[Timed, Timed]:
    """As `time_fused`, in a process of its own: a card's memory is free again after it."""
    what = f"the process that timed up to {count(most, 'trial')} was ended; is there too little memory?"
    return call_apart(time_fused, settings, source, most, share, device, ended=f"--fuse {AUTO}: {what} Write a number")
