"""Cross-modal distillation: the paper's, pair by pair, and by consensus, at a cost linear in the modalities.

M modality, B sample, K bank row, N neighbour.

How the two are related. Let p_a be the teachers' and s_b the students' distributions over one common set of rows
(row j of every bank is the same sample), and q_b = Σ_{a≠b} p_a / (M − 1) the mean of b's teachers. Then

    Σ_{a≠b} KL(p_a ‖ s_b) = Σ_{a≠b} Σ_j p_a(j) log p_a(j) − Σ_j Σ_{a≠b} p_a(j) log s_b(j)
                          = (M − 1) · KL(q_b ‖ s_b) + Σ_{a≠b} KL(p_a ‖ q_b),

and the last sum has no student in it. So one term a student, weighed by M − 1, has the gradient of all its pairs,
(M − 1)(s_b − q_b) / τ_s in b's similarities, and λ keeps its meaning. Of all ways to combine teachers the arithmetic
mean alone does so; a geometric mean (of similarities) would prefer rows that are near to all teachers at once. The sums
of all teachers but one's own cost 4 M additions, from both ends. Subtracting one's own from the sum of all would leave
rounding errors if one's own share is large, and topk would choose among these.

The two differ in the rows. Pair by pair, each teacher chooses its own topk. By consensus each student has its own
choice: the topk rows of q_b. No other choice of as many rows keeps more of the teachers' mass, so none changes them
less when they are renormalised on it. One choice for all students, the topk of Σ_a p_a, would save M − 1 selections,
but would give student b rows that only its own teacher is near to, and push it away from them. With two modalities, or
with topk = K, the two distillations have the same gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cmd_tune.model.objectives.contrast import info_nce
from cmd_tune.model.objectives.objective import Objective, Outcome
from cmd_tune.model.objectives.terms import DISTILLED, Terms

_TINY = 1e-37  # about the smallest float32 that is not denormal


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

    Arguments and limits are `pairwise_distillation`'s, for two modalities or more. Both distributions are over the topk
    rows of q_b; the derivation is at the top of this file.
    """
    teacher_MBK = teacher_MBK.detach()
    # Far rows of a cold teacher would all tie at a probability of 0; the added term puts nearer ones first.
    p_MBK = (teacher_MBK / teacher_temperature).softmax(2).add_(_TINY * (1 + teacher_MBK))
    others_MBN, rows_MBN = _sum_of_others(p_MBK).topk(topk, dim=2, sorted=False)
    mean_MBN = others_MBN / others_MBN.sum(2, keepdim=True)
    log_s_MBN = (student_MBK.gather(2, rows_MBN) / student_temperature).log_softmax(2)
    pairs = len(teacher_MBK) - 1
    return pairs * (torch.xlogy(mean_MBN, mean_MBN) - mean_MBN * log_s_MBN).sum(2).mean(1).sum()


def _sum_of_others(x_MBK: Tensor) -> Tensor:
    """Σ_{a≠b} x_a for each b: the sum of those before it, and of those after it."""
    others_MBK = torch.zeros_like(x_MBK)
    for order in (range(len(x_MBK)), reversed(range(len(x_MBK)))):
        so_far_BK = torch.zeros_like(x_MBK[0])
        for b in order:
            others_MBK[b] += so_far_BK
            so_far_BK += x_MBK[b]
    return others_MBK


DISTILLATIONS = {"pairwise": pairwise_distillation, "consensus": consensus_distillation}


@dataclass(frozen=True)
class CMD(Objective):
    """Base, and λ times the distillation of each modality's neighbours into the others: τ_c, τ_t, τ_s, k_top, λ."""

    teacher_temperature: float
    student_temperature: float
    topk: int
    distill_weight: float
    distillation: str = "pairwise"  # a name in DISTILLATIONS

    name = "cmd"
    uses_keys = True

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        student_MBK = student_MABK.squeeze(1)
        contrastive_M = info_nce(positive_MAB.squeeze(1), student_MBK, self.contrast_temperature)
        distillation = DISTILLATIONS[self.distillation](
            student_MBK,
            teacher_MBK,
            self.topk,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        return contrastive_M.sum() + self.distill_weight * distillation, distillation, contrastive_M

    def terms(self, rows: int) -> Terms | None:
        if self.topk > rows:
            raise ValueError(f"topk {self.topk} exceeds the {rows} rows of a bank")
        if self.distillation not in DISTILLED:
            return None
        return Terms(
            self.contrast_temperature,
            distill_weight=self.distill_weight,
            distillation=self.distillation,
            topk=self.topk,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
