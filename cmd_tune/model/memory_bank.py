"""The queues of past keys: one bank per modality, one pointer for all, since row j of every bank is the same sample.

M modality, B sample, K bank row, D embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MemoryBanks(nn.Module):
    """Ring buffers of unit vectors: the oldest keys are overwritten first. A batch need not divide the bank."""

    keys_MKD: Tensor
    pointer: Tensor

    def __init__(self, modalities: int, size: int, dim: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.register_buffer("keys_MKD", F.normalize(torch.randn(modalities, size, dim, generator=generator), dim=2))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, keys_MBD: Tensor) -> None:
        """Write a global batch of keys, in global order. If it exceeds the bank, its last K remain."""
        size, batch = self.keys_MKD.shape[1], keys_MBD.shape[1]
        order_B = torch.arange(max(0, batch - size), batch, device=keys_MBD.device)
        self.keys_MKD[:, (self.pointer + order_B) % size] = keys_MBD[:, order_B]
        self.pointer.add_(batch).remainder_(size)
