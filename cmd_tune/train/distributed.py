"""What the workers of one trial say to each other. Alone, each of these is the identity.

M modality, B sample, D embedding.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of workers)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_workers(x: Tensor) -> Tensor:
    """The sum of every worker's tensor; x itself where there is one worker. No gradient."""
    if world()[1] > 1:
        x = x.contiguous()
        dist.all_reduce(x)
    return x


def gather_batch(x_MBD: Tensor) -> Tensor:
    """Every worker's samples, in global order: rank 0's first."""
    workers = world()[1]
    if workers == 1:
        return x_MBD
    parts = [torch.empty_like(x_MBD) for _ in range(workers)]
    dist.all_gather(parts, x_MBD.contiguous())
    return torch.cat(parts, dim=1)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by the mean over workers: that of the global batch, since all shares are equal."""
    workers = world()[1]
    if workers == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= workers
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
