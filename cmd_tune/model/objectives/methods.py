"""The methods that CMD's paper compares: which similarities each asks for, and what it makes of them.

M modality, A modality that asks, B sample, K bank row. A call takes the similarities of some samples:
positive_MAB, of queries to the bank's own modality's keys; student_MABK, of queries to the bank; teacher_MBK, of the
keys to their own bank, without rows where a method has no use for it. It returns the loss, the cross-modal term
(0 where there is none) and each modality's contrastive term, (M,), which is reported whether it is in the loss or not.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from cmd_tune.model.objectives.contrast import info_nce, mutual_contrast
from cmd_tune.model.objectives.crossclr import cross_view_contrast
from cmd_tune.model.objectives.distillation import consensus_distillation, pairwise_distillation

Outcome = tuple[Tensor, Tensor, Tensor]

DISTILLATIONS = {"pairwise": pairwise_distillation, "consensus": consensus_distillation}


@dataclass(frozen=True)
class Base:
    """Contrastive learning of each modality by itself."""

    contrast_temperature: float

    cross_modal: ClassVar[str | None] = None  # name of the cross-modal term
    asks_every_bank: ClassVar[bool] = False  # queries against all banks (A = M), or against their own (A = 1)
    uses_keys: ClassVar[bool] = False  # needs the keys' similarities

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        contrastive_M = info_nce(positive_MAB.squeeze(1), student_MABK.squeeze(1), self.contrast_temperature)
        return contrastive_M.sum(), contrastive_M.new_zeros(()), contrastive_M


@dataclass(frozen=True)
class MCL:
    """Mutual contrastive learning: every modality contrasted with every other, added to Base or instead of it."""

    contrast_temperature: float
    form: Literal["added", "instead"]

    cross_modal: ClassVar[str | None] = "mcl"
    asks_every_bank: ClassVar[bool] = True
    uses_keys: ClassVar[bool] = False

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        mutual, contrastive_M = mutual_contrast(positive_MAB, student_MABK, self.contrast_temperature)
        return (mutual + contrastive_M.sum() if self.form == "added" else mutual), mutual, contrastive_M


@dataclass(frozen=True)
class CrosSCLR:
    """CrosSCLR's cross-view objective, which takes the place of Base."""

    contrast_temperature: float
    topk: int
    context: Literal["with", "without"]

    cross_modal: ClassVar[str | None] = "crossclr"
    asks_every_bank: ClassVar[bool] = False
    uses_keys: ClassVar[bool] = False

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        positive_MB, student_MBK = positive_MAB.squeeze(1), student_MABK.squeeze(1)
        loss = cross_view_contrast(
            positive_MB,
            student_MBK,
            self.topk,
            context=self.context == "with",
            contrast_temperature=self.contrast_temperature,
        ).sum()
        return loss, loss, info_nce(positive_MB.detach(), student_MBK.detach(), self.contrast_temperature)


@dataclass(frozen=True)
class CMD:
    """Base, and λ times the distillation of each modality's neighbours into the others: τ_c, τ_t, τ_s, k_top, λ."""

    contrast_temperature: float
    teacher_temperature: float
    student_temperature: float
    topk: int
    distill_weight: float
    distillation: Literal["pairwise", "consensus"] = "pairwise"

    cross_modal: ClassVar[str | None] = "cmd"
    asks_every_bank: ClassVar[bool] = False
    uses_keys: ClassVar[bool] = True

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


Objective = Base | MCL | CrosSCLR | CMD


def own(x_MA: Tensor) -> Tensor:
    """What each modality asks its own bank, (M, …), of what is asked of all banks or of its own alone, (M, A, …)."""
    return x_MA.squeeze(1) if x_MA.shape[1] == 1 else x_MA.diagonal().movedim(-1, 0)
