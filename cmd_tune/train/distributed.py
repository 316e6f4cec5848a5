"""Collective operations among the workers of one trial. With one worker, each of these is the identity.

M modality, B sample, D embedding.
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


def gather_batch(x_MBD: Tensor) -> Tensor:
    """Every worker's samples, in global order: rank 0's first."""
    workers = world()[1]
    if workers == 1:
        return x_MBD
    given_MBD = x_MBD.contiguous()
    parts = [torch.empty_like(given_MBD) for _ in range(workers)]
    _take_place.get()(lambda: dist.all_gather(parts, given_MBD))
    return torch.cat(parts, dim=1)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by the mean over workers: that of the global batch, since all shares are equal."""
    workers = world()[1]
    if workers == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = sum_over_workers(torch.cat([gradient.flatten() for gradient in gradients]))
    flat /= workers
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
