"""The queues of past keys: one bank per modality, one pointer for all, since row j of every bank is the same sample.

P trial, M modality of all trials, B sample, K bank row, D embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MemoryBanks(nn.Module):
    """Ring buffers of unit vectors: the oldest keys are overwritten first. A batch need not divide the bank.

    The banks of several trials, which are trial by trial, have a pointer for each trial: (P,) in place of ().
    """

    keys_MKD: Tensor
    pointer: Tensor

    def __init__(
        self,
        modalities: int,
        size: int,
        dim: int,
        generator: torch.Generator | None = None,
        *,
        trials: int | None = None,
    ) -> None:
        """modalities: of all trials. trials: P; None: one trial."""
        super().__init__()
        self.register_buffer("keys_MKD", F.normalize(torch.randn(modalities, size, dim, generator=generator), dim=2))
        self.register_buffer("pointer", torch.zeros(() if trials is None else (trials,), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys_MBD: Tensor) -> None:
        """Write a global batch of keys, in global order. If it exceeds the bank, its last K remain."""
        M, size, dim = self.keys_MKD.shape
        batch = keys_MBD.shape[1]
        order_B = torch.arange(max(0, batch - size), batch, device=keys_MBD.device)
        rows_PB = (self.pointer.view(-1, 1) + order_B) % size
        rows_MB = rows_PB[:, None].expand(-1, M // len(rows_PB), -1).flatten(0, 1)
        self.keys_MKD.scatter_(1, rows_MB[..., None].expand(-1, -1, dim), keys_MBD[:, order_B])
        self.pointer.add_(batch).remainder_(size)
