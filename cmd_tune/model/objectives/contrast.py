"""Contrast: InfoNCE of a modality with itself (Base), and of every modality with every other (MCL).

M modality, A modality that asks, B sample, K bank row.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cmd_tune.model.objectives.objective import Objective, Outcome
from cmd_tune.model.objectives.terms import Terms


def info_nce(positive_MB: Tensor, bank_MBK: Tensor, contrast_temperature: float) -> Tensor:
    """−log softmax of the positive among [q·k, q·Qᵀ] / τ_c, in nats, averaged over the batch: (M,).

    Further dimensions may stand before B in both. He et al., CVPR 2020.
    """
    positive_MB = positive_MB / contrast_temperature
    bank_MB = (bank_MBK / contrast_temperature).logsumexp(-1)
    return (bank_MB.logaddexp(positive_MB) - positive_MB).mean(-1)


def mutual_contrast(positive_MAB: Tensor, bank_MABK: Tensor, contrast_temperature: float) -> tuple[Tensor, Tensor]:
    """Sum over ordered pairs a ≠ b of InfoNCE with query q_a, positive k_b and negatives Q_b; and a = b's own, (M,).

    positive_MAB: at [b, a], similarities of a's queries to b's keys. bank_MABK: of a's queries to b's bank. The first
    result is MCL's term, the second Base's, both in nats. CMD's paper compares with MCL without printing its form; this
    one is common to public implementations.
    """
    loss_MA = info_nce(positive_MAB, bank_MABK, contrast_temperature)
    own_M = loss_MA.diagonal()
    return loss_MA.sum() - own_M.sum(), own_M


@dataclass(frozen=True)
class Base(Objective):
    """Contrastive learning of each modality by itself."""

    name = "base"
    cross_modal = False

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        contrastive_M = info_nce(positive_MAB.squeeze(1), student_MABK.squeeze(1), self.contrast_temperature)
        return contrastive_M.sum(), contrastive_M.new_zeros(()), contrastive_M

    def terms(self, rows: int) -> Terms:
        return Terms(self.contrast_temperature)


@dataclass(frozen=True)
class MCL(Objective):
    """Mutual contrastive learning: every modality contrasted with every other, added to Base or instead of it."""

    mcl_form: Literal["added", "instead"]

    name = "mcl"
    asks_every_bank = True

    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        mutual, contrastive_M = mutual_contrast(positive_MAB, student_MABK, self.contrast_temperature)
        return (mutual + contrastive_M.sum() if self.mcl_form == "added" else mutual), mutual, contrastive_M

    def terms(self, rows: int) -> Terms:
        return Terms(self.contrast_temperature, itself=float(self.mcl_form == "added"), others=1.0)
