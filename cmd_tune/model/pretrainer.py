"""M branches (online encoder, momentum twin, memory bank) and the objective: two views of a batch in, losses out.

M modality, B sample, T frame, X input channel, D embedding, K bank row.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmd_tune.model.encoder import Encoders, SumOverWorkers, here_alone
from cmd_tune.model.memory_bank import MemoryBanks
from cmd_tune.model.objectives import contrastive_logits, cross_modal_distillation, info_nce


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
    contrastive_M: Tensor
    distillation: Tensor
    hit_share_M: Tensor
    logits_MBK: Tensor


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
            key.mul_(self.key_momentum).add_(query, alpha=1 - self.key_momentum)

    def forward(
        self, query_MBTX: Tensor, key_MBTX: Tensor, sum_over_workers: SumOverWorkers = here_alone
    ) -> tuple[Losses, Tensor]:
        """Losses of two views of the same samples, and the second view's keys (M, B, D)."""
        query_MBD = self.online(query_MBTX, sum_over_workers)
        with torch.no_grad():
            self.update_momentum()
            key_MBD = self.momentum(key_MBTX, sum_over_workers)
            teacher_MBK = key_MBD @ self.banks.keys_MKD.transpose(1, 2)
        student_MBK = query_MBD @ self.banks.keys_MKD.transpose(1, 2)

        o = self.objective
        logits_MBK = contrastive_logits((query_MBD * key_MBD).sum(2), student_MBK, o.contrast_temperature)
        contrastive_M = info_nce(logits_MBK)
        distillation = cross_modal_distillation(
            student_MBK,
            teacher_MBK,
            o.topk,
            student_temperature=o.student_temperature,
            teacher_temperature=o.teacher_temperature,
        )
        with torch.no_grad():
            hit_share_M = (logits_MBK[..., 0] > logits_MBK[..., 1:].amax(2)).float().mean(1)
        total = contrastive_M.sum() + o.distill_weight * distillation
        return Losses(total, contrastive_M, distillation, hit_share_M, logits_MBK), key_MBD


def _frozen_copy(encoders: Encoders) -> Encoders:
    return copy.deepcopy(encoders).requires_grad_(False)
