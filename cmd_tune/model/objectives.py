"""Losses as pure functions of similarities (cosines). Mao et al., ECCV 2022.

M modality, B sample, K bank row, N neighbour.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_logits(positive_MB: Tensor, bank_MBK: Tensor, contrast_temperature: float) -> Tensor:
    """[q·k, q·Qᵀ] / τ_c, (M, B, 1 + K); class 0 is the positive."""
    return torch.cat((positive_MB[..., None], bank_MBK), dim=2) / contrast_temperature


def info_nce(logits_MBK: Tensor) -> Tensor:
    """Cross entropy of class 0 for each modality, in nats, averaged over the batch: (M,). He et al., CVPR 2020."""
    return (logits_MBK.logsumexp(2) - logits_MBK[..., 0]).mean(1)


def cross_modal_distillation(
    student_MBK: Tensor, teacher_MBK: Tensor, topk: int, *, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Sum over ordered pairs a ≠ b of KL(p_a ‖ s_b), in nats, each averaged over the batch.

    student_MBK: similarities of each modality's queries to its own bank. teacher_MBK: of each modality's keys
    to its own bank; no gradient flows through them. p_a is over the topk rows of bank a nearest to the key,
    s_b over the same rows of bank b. The positive is in neither. With topk 1 the sum is 0.
    """
    modalities, batch, _ = student_MBK.shape
    nearest_MBN, neighbours_MBN = teacher_MBK.detach().topk(topk, dim=2, sorted=False)
    log_p_MBN = (nearest_MBN / teacher_temperature).log_softmax(2)
    scaled_MBK = student_MBK / student_temperature
    total = student_MBK.new_zeros(())
    for teacher in range(modalities):
        students = [student for student in range(modalities) if student != teacher]
        rows = neighbours_MBN[teacher].expand(len(students), -1, -1)
        log_s_SBN = scaled_MBK[students].gather(2, rows).log_softmax(2)
        log_p_SBN = log_p_MBN[teacher].expand_as(log_s_SBN)
        total = total + F.kl_div(log_s_SBN, log_p_SBN, reduction="sum", log_target=True) / batch
    return total
