"""From the packed store to the two views of a batch, on the device, this worker's slice of each.

B sample, T frame, X = V·C·P, M modality.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.data.augment import Strength, draw_view, keyed_generator, make_view
from cmd_tune.data.modalities import stack_modalities
from cmd_tune.data.store import Store
from cmd_tune.data.transfer import onto
from cmd_tune.errors import UsageError
from cmd_tune.train.distributed import world


class Batches:
    """Augmented pairs of views of `clips_N`. Draws are of the global batch, whatever the number of workers."""

    def __init__(
        self,
        store: Store,
        clips_N: NDArray[np.int64],
        *,
        batch_size: int,
        frames: int,
        strength: Strength,
        modalities: Sequence[str],
        seed: int,
        device: torch.device,
    ) -> None:
        if len(clips_N) < batch_size:
            raise UsageError(
                f"batch_size {batch_size}: there are only {len(clips_N)} clips to pretrain on; make it smaller"
            )
        workers = world()[1]
        if batch_size % workers:
            raise UsageError(f"batch_size {batch_size}: not a multiple of the {workers} workers; make it one")
        self.store, self.clips_N = store, torch.from_numpy(clips_N)
        self.batch_size, self.frames, self.strength = batch_size, frames, strength
        self.modalities, self.seed, self.device = tuple(modalities), seed, device

    def __len__(self) -> int:
        """Steps of an epoch; an incomplete last batch is dropped."""
        return len(self.clips_N) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's batches, each as two views (M, B, T, X) of this worker's samples."""
        order_N = torch.randperm(len(self.clips_N), generator=keyed_generator(self.seed, "order", epoch))
        rank, workers = world()
        share = self.batch_size // workers
        shape = self.store.frame_shape()
        for step in range(len(self)):
            clips_B = self.clips_N[order_N[step * self.batch_size : (step + 1) * self.batch_size]]
            # Both views of the whole batch are drawn at once, then this worker's samples of each are made.
            both_VB = clips_B.expand(2, -1)
            draws = draw_view(
                self.store.length_N[both_VB.flatten()],
                shape[0],
                self.strength,
                keyed_generator(self.seed, "views", epoch, step),
            )
            mine = torch.arange(2 * self.batch_size).view(2, workers, share)[:, rank].flatten()
            start_B = self.store.start_N[both_VB.flatten()[mine]]
            x_BTVCP = make_view(self.store.rows_FX, start_B, draws.part(mine), self.frames, shape)
            x_BTVCP = onto(x_BTVCP, self.device)
            query_MBTX, key_MBTX = stack_modalities(x_BTVCP, self.modalities, self.store.layout).chunk(2, dim=1)
            yield query_MBTX, key_MBTX
