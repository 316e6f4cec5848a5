"""CrosSCLR's cross-view objective: rows that another modality finds near are positives, too. Li et al., CVPR 2021.

M modality, B sample, K bank row, N neighbour.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from cmd_tune.model.objectives.contrast import info_nce
from cmd_tune.model.objectives.objective import Objective, Outcome


def cross_view_contrast(
    positive_MB: Tensor, bank_MBK: Tensor, topk: int, *, context: bool, contrast_temperature: float
) -> Tensor:
    """Loss of each modality, in nats, averaged over the batch and over the other modalities: (M,).

    For u ← v, the logits are [q_u·k_u, q_u·Q_uᵀ, (q_u·Q_uᵀ)∘(q_v·Q_vᵀ)] / τ_c, the third part only with `context`.
    Positives are the first logit, and those of the topk rows nearest to q_v in its own bank, in the second part and in
    the third. The loss is −mean over the positives of log softmax. Gradients flow through both factors of the context,
    as in the authors' code; the choice of the nearest rows has none.

    positive_MB: similarities of queries to their own keys. bank_MBK: of queries to their own bank; row j of every bank
    is the same sample.
    """
    modalities = len(bank_MBK)
    nearest_MBN = bank_MBK.detach().topk(topk, dim=2, sorted=False).indices
    positive_MB, logit_MBK = positive_MB / contrast_temperature, bank_MBK / contrast_temperature
    within_MB = logit_MBK.logsumexp(2).logaddexp(positive_MB)
    losses: list[list[Tensor]] = [[] for _ in range(modalities)]
    for one, other in combinations(range(modalities), 2):
        if context:
            context_BK = bank_MBK[one] * logit_MBK[other]
            context_B = context_BK.logsumexp(1)
        for u, v in ((one, other), (other, one)):
            positives = [positive_MB[u, :, None], logit_MBK[u].gather(1, nearest_MBN[v])]
            all_B = within_MB[u]
            if context:
                positives.append(context_BK.gather(1, nearest_MBN[v]))
                all_B = all_B.logaddexp(context_B)
            losses[u].append((all_B - torch.cat(positives, dim=1).mean(1)).mean())
    return torch.stack([torch.stack(of_one).mean() for of_one in losses])


@dataclass(frozen=True)
class CrosSCLR(Objective):
    """The cross-view objective, which takes the place of Base."""

    crossclr_topk: int
    crossclr_context: Literal["with", "without"]

    name = "crossclr"

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        positive_MB, student_MBK = positive_MAB.squeeze(1), student_MABK.squeeze(1)
        loss = cross_view_contrast(
            positive_MB,
            student_MBK,
            self.crossclr_topk,
            context=self.crossclr_context == "with",
            contrast_temperature=self.contrast_temperature,
        ).sum()
        return loss, loss, info_nce(positive_MB.detach(), student_MBK.detach(), self.contrast_temperature)
