"""M branches (online encoder, momentum twin, memory bank) and the objective: two views of a batch in, losses out.

M modality, B sample, T frame, X input channel, D embedding, K bank row.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmd_tune.model.blocks import MeanInBlocks
from cmd_tune.model.encoder import Encoders, SumOverWorkers, here_alone
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import cross_modal_distillation, info_nce


@dataclass(frozen=True)
class Objective:
    """CMD's own numbers, REFERENCE names: τ_c, τ_t, τ_s, k_top, λ."""

    contrast_temperature: float
    teacher_temperature: float
    student_temperature: float
    topk: int
    distill_weight: float


@dataclass(frozen=True)
class Losses:
    """Of the samples at hand. total = Σ contrastive + λ·distillation; hits: the positive beats the whole bank."""

    total: Tensor
    distillation: Tensor
    contrastive_M: Tensor
    hit_share_M: Tensor


class Pretrainer(nn.Module):
    """Branches of all modalities, stacked: there is no code a modality.

    A step: `losses, keys = pretrainer(query, key)`, backward, optimiser step on `pretrainer.online`, then
    `pretrainer.banks.enqueue(keys of all workers)`. The losses are against the banks as they were.
    """

    def __init__(self, online: Encoders, banks: MemoryBanks, objective: Objective, key_momentum: float) -> None:
        """online: the query encoders; the key encoders start as their copy."""
        super().__init__()
        self.online = online
        self.momentum = _frozen_copy(online)
        self.banks = banks
        self.objective, self.key_momentum = objective, key_momentum

    @torch.no_grad()
    def update_momentum(self) -> None:
        """k ← m·k + (1 − m)·q, parameters only: the key encoder's norm keeps its own statistics."""
        for key, query in zip(self.momentum.parameters(), self.online.parameters(), strict=True):
            key.lerp_(query, 1 - self.key_momentum)

    def forward(
        self, query_MBTX: Tensor, key_MBTX: Tensor, sum_over_workers: SumOverWorkers = here_alone
    ) -> tuple[Losses, Tensor]:
        """Losses of two views of the same samples, and the second view's keys (M, B, D)."""
        query_MBD = self.online(query_MBTX, sum_over_workers)
        with torch.no_grad():
            self.update_momentum()
            key_MBD = self.momentum(key_MBTX, sum_over_workers)
        loss, figures = MeanInBlocks.apply(query_MBD, key_MBD, self.banks.keys_MKD, self.terms)  # type: ignore[no-untyped-call]
        modalities = len(key_MBD)
        return Losses(loss, figures[0], figures[1 : 1 + modalities], figures[1 + modalities :]), key_MBD

    def terms(self, positive_MB: Tensor, student_MBK: Tensor, teacher_MBK: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of some samples, and [distillation, contrastive_M, hit_share_M]."""
        o = self.objective
        contrastive_M = info_nce(positive_MB, student_MBK, o.contrast_temperature)
        distillation = cross_modal_distillation(
            student_MBK,
            teacher_MBK,
            o.topk,
            student_temperature=o.student_temperature,
            teacher_temperature=o.teacher_temperature,
        )
        hit_share_M = (positive_MB > student_MBK.amax(2)).float().mean(1)
        total = contrastive_M.sum() + o.distill_weight * distillation
        return total, torch.cat((distillation[None], contrastive_M, hit_share_M))


def _frozen_copy(encoders: Encoders) -> Encoders:
    return copy.deepcopy(encoders).requires_grad_(False)
