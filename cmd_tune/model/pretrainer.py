"""M branches (online encoder, momentum twin, memory bank) and the objective: two views of a batch in, losses out.

M modality, A modality that asks a bank, B sample, T frame, X input channel, D embedding, W worker, S statistic, P trial
(one here), G branch of any of them, F figure, N number of the objective.
"""

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmd_tune.compute.device import to_device
from cmd_tune.model.batch_loss import BatchLoss, reads_numbers
from cmd_tune.model.encoders import Encoder, GatherFromWorkers, one_worker
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import Objective
from cmd_tune.model.objectives.terms import NUMBERS, numbers


@dataclass(frozen=True)
class Losses:
    """Means over this worker's samples.

    total: what is minimised. cross_modal: the objective's term between modalities, 0 if it has none. contrastive_M: of
    each modality by itself. hit_share_M: share of the samples whose positive is nearer than the whole bank.
    """

    total: Tensor
    cross_modal: Tensor
    contrastive_M: Tensor
    hit_share_M: Tensor

    def figures(self) -> Tensor:
        """All of them without gradient, (2 + 2M,); the share of hits in percent."""
        parts = (self.total[..., None], self.cross_modal[..., None], self.contrastive_M, 100 * self.hit_share_M)
        return torch.cat([part.detach() for part in parts], dim=-1)


class Pretrainer(nn.Module):
    """The branches of all modalities, stacked in the first dimension of every tensor.

    A step: `losses, keys = pretrainer(query, key)`, backward, optimiser step on `pretrainer.online`, then
    `pretrainer.banks.enqueue(keys of all workers)`. The losses are against the banks as they were.
    """

    numbers_PN: Tensor  # a captured step reads this memory, so it stays where it is

    def __init__(self, online: Encoder, banks: MemoryBanks, objective: Objective, key_momentum: float) -> None:
        """online: the query encoders; the key encoders start as their copy."""
        super().__init__()
        self.online = online
        self.momentum = _frozen_copy(online)
        self.banks = banks
        self.register_buffer("numbers_PN", torch.zeros(1, len(NUMBERS)), persistent=False)
        self.objectives: list[Objective] = []
        self.objective, self.key_momentum = objective, key_momentum
        self.key_stream: torch.cuda.Stream | None = None  # on a GPU: runs the key encoders beside the query encoders

    @property
    def figures_shape(self) -> tuple[int, ...]:
        """The shape of `Losses.figures`."""
        return (2 + 2 * len(self.banks.keys_MKD),)

    @property
    def objective(self) -> Objective:
        """It may change between steps."""
        return self.objectives[0]

    @objective.setter
    def objective(self, objective: Objective) -> None:
        if objective not in self.objectives:
            self.objectives = [objective]
            self.set_numbers(0, objective)

    def set_numbers(self, p: int, objective: Objective) -> None:
        """Have the kernels of a GPU read this objective's numbers as trial p's. The host does not wait."""
        found_PN = numbers((objective,), self.banks.keys_MKD.shape[1])
        if found_PN is not None:
            self.numbers_PN[p : p + 1].copy_(to_device(found_PN, self.numbers_PN.device))

    @property
    def constants(self) -> object:
        """What a captured step does not read from tensors: after a change it must be captured again."""
        if reads_numbers(self.objectives, self.banks.keys_MKD):
            return self.objectives[0].structure
        return tuple(self.objectives)

    @property
    def key_moves(self) -> list[float]:
        """The share of its way to the query encoder that each trial's key encoder goes in a step."""
        return [1 - self.key_momentum]

    @torch.no_grad()
    def update_momentum(self) -> None:
        """k ← m·k + (1 − m)·q, parameters only: the key encoder's norm keeps its own statistics."""
        keys, queries = (tuple(encoders.parameters()) for encoders in (self.momentum, self.online))
        torch._foreach_lerp_(keys, queries, 1 - self.key_momentum)  # in one launch on a GPU

    def forward(
        self, query_MBTX: Tensor, key_MBTX: Tensor, gather: GatherFromWorkers = one_worker
    ) -> tuple[Losses, Tensor]:
        """Losses of two views of the same samples, and the second view's keys (M, B, D), after `update_momentum`."""
        self.update_momentum()
        return self.compare(query_MBTX, key_MBTX, gather)

    def compare(
        self, query_MBTX: Tensor, key_MBTX: Tensor, gather: GatherFromWorkers = one_worker
    ) -> tuple[Losses, Tensor]:
        """The same by key encoders that are up to date."""
        of_query_WS, of_key_WS = self._statistics(query_MBTX, key_MBTX, gather)
        with torch.no_grad(), self._beside():
            key_MBD = self.momentum(key_MBTX, of_key_WS, gather)
        query_MBD = self.online(query_MBTX, of_query_WS, gather)
        if self.key_stream is not None:
            torch.cuda.current_stream().wait_stream(self.key_stream)
        return self.losses(query_MBD, key_MBD), key_MBD

    def _statistics(
        self, query_MBTX: Tensor, key_MBTX: Tensor, gather: GatherFromWorkers
    ) -> tuple[Tensor | None, Tensor | None]:
        """Each worker's statistics of both views, gathered in one exchange; None of either if there is one worker."""
        if gather is one_worker:
            return None, None
        own_S = self.online.statistics(query_MBTX), self.momentum.statistics(key_MBTX)
        if not any(len(x) for x in own_S):
            return None, None
        of_query_WS, of_key_WS = gather(torch.cat(own_S)).split([len(x) for x in own_S], dim=1)
        return of_query_WS, of_key_WS

    def _beside(self) -> AbstractContextManager[object]:
        """The stream on which the key encoders run."""
        if self.key_stream is None:
            return nullcontext()
        self.key_stream.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self.key_stream)

    def losses(self, query_MBD: Tensor, key_MBD: Tensor) -> Losses:
        """Losses of embedded views, against the banks."""
        return Losses(*(of_trials.squeeze(0) for of_trials in self.losses_of_trials(query_MBD, key_MBD)))

    def losses_of_trials(self, query_GBD: Tensor, key_GBD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`Losses` of each of P trials, with P first. G: a trial's M modalities follow each other."""
        P = len(self.objectives)
        M = len(query_GBD) // P
        query_GABD = query_GBD[:, None]
        if self.objective.asks_every_bank:
            query_GABD = query_GBD.unflatten(0, (P, 1, M)).expand(-1, M, -1, -1, -1).flatten(0, 1)
        loss_P, figures_PF = BatchLoss.apply(  # type: ignore[no-untyped-call]
            query_GABD, key_GBD, self.banks.keys_MKD, tuple(self.objectives), self.numbers_PN
        )
        cross_modal_P1, contrastive_PM, hit_share_PM = figures_PF.split((1, M, M), dim=1)
        return loss_P, cross_modal_P1[:, 0], contrastive_PM, hit_share_PM


def _frozen_copy(encoders: Encoder) -> Encoder:
    return copy.deepcopy(encoders).requires_grad_(False)
