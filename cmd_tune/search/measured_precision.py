"""The precision of a search whose settings say auto: measured once, before its plan is written, for all its trials."""

from collections.abc import Callable
from dataclasses import replace

from cmd_tune.compute.device import device_here, gpu_count
from cmd_tune.errors import UsageError
from cmd_tune.runs.apart import call_apart
from cmd_tune.runs.failures import named_failures
from cmd_tune.search.request import SearchRequest
from cmd_tune.settings import AUTO, Settings
from cmd_tune.train.precision import resolve_precision


def with_precision(
    request: SearchRequest, address: str | None, width: Callable[[], int] | None
) -> tuple[SearchRequest, str]:
    """The request with the fastest precision in place of auto, and a line that says why; empty if one was named.

    width: tells the input channels of the data; None: nothing is measured, and auto stays.
    Raises UsageError if the trials run on a cluster, CmdTuneError if they cannot be measured.
    """
    if request.settings.precision != AUTO:
        return request, ""
    if address:
        raise UsageError(
            f"precision {AUTO}: is measured on this machine, and the cluster at {address} may have other processors; "
            "write float32, tf32 or bfloat16"
        )
    if width is None:
        return request, f"precision {AUTO}: measured at the start"
    settings, said = _resolved(request.settings, width())
    return replace(request, settings=settings), said


def _resolved(settings: Settings, channels: int) -> tuple[Settings, str]:
    """As `resolve_precision`; on a GPU in a process of its own, so that this one takes none of its memory."""
    if not gpu_count():
        return _resolved_here(settings, channels)
    ended = f"precision {AUTO}: the process that measures it was ended; write float32"
    return call_apart(_resolved_here, settings, channels, ended=ended)


@named_failures()
def _resolved_here(settings: Settings, channels: int) -> tuple[Settings, str]:
    return resolve_precision(settings, channels, device_here())
