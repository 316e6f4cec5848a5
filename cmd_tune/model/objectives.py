"""Losses as pure functions of similarities (cosines). Mao et al., ECCV 2022.

M modality, B sample, K bank row, N neighbour.
"""

import torch
from torch import Tensor


def info_nce(positive_MB: Tensor, bank_MBK: Tensor, contrast_temperature: float) -> Tensor:
    """−log softmax of the positive among [q·k, q·Qᵀ] / τ_c, in nats, averaged over the batch: (M,).

    He et al., CVPR 2020.
    """
    positive_MB = positive_MB / contrast_temperature
    bank_MB = (bank_MBK / contrast_temperature).logsumexp(2)
    return (torch.logaddexp(bank_MB, positive_MB) - positive_MB).mean(1)


def cross_modal_distillation(
    student_MBK: Tensor, teacher_MBK: Tensor, topk: int, *, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Sum over ordered pairs a ≠ b of KL(p_a ‖ s_b), in nats, each averaged over the batch.

    student_MBK: similarities of each modality's queries to its own bank. teacher_MBK: of each modality's keys
    to its own bank; no gradient flows through them. p_a is over the topk rows of bank a nearest to the key,
    s_b over the same rows of bank b. The positive is in neither. With topk 1 the sum is 0.
    """
    nearest_MBN, neighbours_MBN = teacher_MBK.detach().topk(topk, dim=2, sorted=False)
    log_p_MBN = (nearest_MBN / teacher_temperature).log_softmax(2)
    total = student_MBK.new_zeros(())
    for teacher, (log_p_BN, rows_BN) in enumerate(zip(log_p_MBN, neighbours_MBN, strict=True)):
        p_BN = log_p_BN.exp()
        for student, similarity_BK in enumerate(student_MBK):
            if student != teacher:
                log_s_BN = (similarity_BK.gather(1, rows_BN) / student_temperature).log_softmax(1)
                total = total + (p_BN * (log_p_BN - log_s_BN)).sum(1).mean()
    return total
