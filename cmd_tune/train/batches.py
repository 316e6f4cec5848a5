"""Makes the two views of each batch from the packed store, on the device: this worker's samples.

An epoch's random choices are made and moved to the device at once; each step makes its views there.
S step (in `fused_views`: side of the two views), B sample of both views, N random number, T frame, X = V·C·P,
M modality, P trial.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.compute.device import to_device
from cmd_tune.compute.random_keys import keyed_generator
from cmd_tune.data.store import Store
from cmd_tune.data.views import View
from cmd_tune.data.views.modalities import stack_modalities
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
        view: View,
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
        self.batch_size, self.frames, self.view = batch_size, frames, view
        self.modalities, self.seed, self.device = tuple(modalities), seed, device
        self._ahead: dict[int, list[Tensor]] = {}  # an epoch's draws, made before it begins

    def __len__(self) -> int:
        """Steps of an epoch; an incomplete last batch is dropped."""
        return len(self.clips_N) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's batches, each as two views (M, B, T, X) of this worker's samples."""
        return (self.views(*prepared) for prepared in self.prepare(epoch))

    def prepare(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """The arguments of `views` for each batch: tensors on the device, of the same shapes in every step.

        They are the clips' first rows and their draws; or, if the store's frames are not on the device, finished views.
        """
        chosen = self._ahead.pop(epoch, None) or self._chosen(epoch)
        for of_step in zip(*chosen, strict=True):
            yield of_step if self._views_on_device else tuple(x.contiguous() for x in self._make_views(*of_step))

    def look_ahead(self, epoch: int) -> None:
        """Make an epoch's draws before it begins: while a GPU is at the steps that have been launched."""
        if self._views_on_device and self.device.type == "cuda":
            self._ahead = {epoch: self._chosen(epoch)}

    def views(self, *prepared: Tensor) -> tuple[Tensor, Tensor]:
        """A batch's two views (M, B, T, X) of this worker's samples. The host does not wait; nothing is drawn."""
        query_MBTX, key_MBTX = self._make_views(*prepared) if self._views_on_device else prepared
        return query_MBTX, key_MBTX

    def fused_views(self, *prepared_P: Tensor) -> tuple[Tensor, Tensor]:
        """As `views`, of P trials on the same clips: (P·M, B, T, X). Each argument has a further first dimension, P."""
        flat = [x.flatten(0, 1) for x in prepared_P]
        if not self._views_on_device:
            query_MBTX, key_MBTX = flat
            return query_MBTX, key_MBTX
        x_MPSBTX = self._branches(*flat).unflatten(1, (len(prepared_P[0]), 2, -1))
        query_MBTX, key_MBTX = x_MPSBTX.transpose(0, 1).flatten(0, 1).unbind(1)
        return query_MBTX, key_MBTX

    @property
    def _views_on_device(self) -> bool:
        return self.store.rows_FX.device.type == self.device.type

    def _chosen(self, epoch: int) -> list[Tensor]:
        """`_choices`, step by step, moved to the device if the views are made there."""
        start_SB, draws = self._choices(epoch)
        chosen = [start_SB, *(x.unflatten(0, start_SB.shape) for x in draws)]
        return [to_device(x, self.device) for x in chosen] if self._views_on_device else chosen

    def _choices(self, epoch: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The first rows (S, B) of this worker's samples of both views, queries first; and the draws of all steps, in
        one dimension. The numbers are those of the global batches, each from a generator of its own.
        """
        steps, joints = len(self), self.store.frame_shape()[0]
        order_N = torch.randperm(len(self.clips_N), generator=keyed_generator(self.seed, "order", epoch))
        clips_SB = self.clips_N[order_N[: steps * self.batch_size]].view(steps, self.batch_size).repeat(1, 2)
        uniform_SBN = torch.stack(
            [
                self.view.numbers(2 * self.batch_size, joints, keyed_generator(self.seed, "views", epoch, step))
                for step in range(steps)
            ]
        )
        rank, workers = world()
        mine_B = torch.arange(2 * self.batch_size).view(2, workers, -1)[:, rank].flatten()
        clips_SB, uniform_SBN = clips_SB[:, mine_B], uniform_SBN[:, mine_B]
        draws = self.view.choose(uniform_SBN.flatten(0, 1), self.store.length_N[clips_SB].flatten())
        return self.store.start_N[clips_SB], draws

    def _make_views(self, start_B: Tensor, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        query_MBTX, key_MBTX = self._branches(start_B, *drawn).chunk(2, dim=1)
        return query_MBTX, key_MBTX

    def _branches(self, start_B: Tensor, *drawn: Tensor) -> Tensor:
        """The inputs of all branches, (M, B, T, X), of any number of views."""
        x_BTVCP = self.view.make(self.store.rows_FX, start_B, drawn, self.frames, self.store.frame_shape())
        return stack_modalities(to_device(x_BTVCP, self.device), self.modalities, self.store.layout)
