"""Collective operations among the workers of one trial. With one worker, each of these is the identity.

M modality, B sample, D embedding, W worker.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

Exchange = Callable[[], object]  # one collective operation, in which every worker takes part


def _at_once(exchange: Exchange) -> None:
    exchange()


_take_place: ContextVar[Callable[[Exchange], None]] = ContextVar("_take_place", default=_at_once)


@contextmanager
def exchanges_by(take_place: Callable[[Exchange], None]) -> Iterator[None]:
    """In this context, pass each exchange to `take_place`, in order, instead of making it at once."""
    token = _take_place.set(take_place)
    try:
        yield
    finally:
        _take_place.reset(token)


def world() -> tuple[int, int]:
    """(rank, number of workers)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_workers(x: Tensor) -> Tensor:
    """The sum of every worker's tensor; x itself if there is one worker. No gradient."""
    if world()[1] > 1:
        x = x.contiguous()
        _take_place.get()(lambda: dist.all_reduce(x))
    return x


def gather_from_workers(x: Tensor) -> Tensor:
    """Every worker's tensor, (W, …) in order of ranks. No gradient."""
    given = x.contiguous()
    all_W = given.new_empty(world()[1], *given.shape)
    if len(all_W) == 1:
        return all_W.copy_(given)
    parts = list(all_W)
    _take_place.get()(lambda: dist.all_gather(parts, given))
    return all_W


def exchange_gradients(parameters: Iterable[torch.nn.Parameter], key_MBD: Tensor) -> Tensor:
    """Replace each gradient by the mean over workers: that of the global batch, since all shares are equal.

    Returns every worker's keys, in global order: rank 0's first. They travel behind the gradients in one exchange, as
    a sum to which only one worker adds anything but 0.
    """
    rank, workers = world()
    if workers == 1:
        return key_MBD
    M, B, D = key_MBD.shape
    keys_MWBD = key_MBD.new_zeros(M, workers, B, D)
    keys_MWBD[:, rank] = key_MBD
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    given = [*gradients, keys_MWBD]
    flat = sum_over_workers(torch.cat([x.flatten() for x in given]))
    *sums, keys = flat.split([x.numel() for x in given])
    for gradient, part in zip(gradients, sums, strict=True):
        torch.div(part.view_as(gradient), workers, out=gradient)
    return keys.view(M, workers * B, D)
