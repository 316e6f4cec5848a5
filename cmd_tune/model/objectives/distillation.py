"""Cross-modal distillation: the paper's, pair by pair, and by consensus, at a cost linear in the modalities.

M modality, B sample, K bank row, N neighbour.

Why the two belong together. Let p_a be the teachers' and s_b the students' distributions over one common set of rows
(row j of every bank is the same sample), and q_b = Σ_{a≠b} p_a / (M − 1) the mean of b's teachers. Then

    Σ_{a≠b} KL(p_a ‖ s_b) = Σ_{a≠b} Σ_j p_a(j) log p_a(j) − Σ_j Σ_{a≠b} p_a(j) log s_b(j)
                          = (M − 1) · KL(q_b ‖ s_b) + Σ_{a≠b} KL(p_a ‖ q_b),

and the last sum has no student in it. So one term a student, weighed by M − 1, has the gradient of all its pairs,
(M − 1)(s_b − q_b) / τ_s in b's similarities, and λ keeps its meaning. Of all ways to combine teachers the arithmetic
mean alone does so; a geometric mean (of similarities) would ask for rows that all teachers know at once. Every q_b is
the sum of all teachers less b's own: M subtractions. They lose no digit that counts: the rounding is 6e-8 of a whole.

What differs is the rows. Pair by pair, each teacher chooses its own topk, M selections. By consensus there is one for
all: the topk rows of Σ_a p_a with p_a over the whole bank. No other choice of as many rows keeps more of the teachers'
mass, hence none moves them less when they are renormalised on it; and a sharp teacher is not outvoted on the rows it is
sure of, as it is by the mean of the similarities. With topk = K the two distillations have the same gradient.
"""

import torch
from torch import Tensor


def pairwise_distillation(
    student_MBK: Tensor, teacher_MBK: Tensor, topk: int, *, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Sum over ordered pairs a ≠ b of KL(p_a ‖ s_b), in nats, each averaged over the batch.

    student_MBK: similarities of each modality's queries to its own bank. teacher_MBK: of each modality's keys
    to its own bank; no gradient flows through them. p_a is over the topk rows of bank a nearest to the key,
    s_b over the same rows of bank b. The positive is in neither. With topk 1 the sum is 0.
    Mao et al., ECCV 2022.
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


def consensus_distillation(
    student_MBK: Tensor, teacher_MBK: Tensor, topk: int, *, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """(M − 1) Σ_b KL(q_b ‖ s_b), in nats, each averaged over the batch: q_b is the mean of the teachers but b's own.

    Arguments and limits are `pairwise_distillation`'s. All distributions are over the same rows, the topk of Σ_a p_a;
    the derivation is at the top of this file.
    """
    modalities = len(teacher_MBK)
    logit_MBK = teacher_MBK.detach() / teacher_temperature
    # In logarithms, since far rows of a cold teacher would all tie at a probability of 0.
    rows_BN = logit_MBK.log_softmax(2).logsumexp(0).topk(topk, dim=1, sorted=False).indices
    rows_MBN = rows_BN.expand(modalities, -1, -1)
    p_MBN = logit_MBK.gather(2, rows_MBN).softmax(2)
    others_MBN = (p_MBN.sum(0) - p_MBN).clamp(min=0)  # (M − 1) · q
    mean_MBN = others_MBN / max(modalities - 1, 1)
    log_s_MBN = (student_MBK.gather(2, rows_MBN) / student_temperature).log_softmax(2)
    return (torch.xlogy(others_MBN, mean_MBN) - others_MBN * log_s_MBN).sum(2).mean(1).sum()
