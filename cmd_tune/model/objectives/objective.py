"""What a training step asks of an objective: the base class of every method in this folder.

M modality, A modality that asks a bank, B sample, K bank row.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cmd_tune.model.objectives.terms import Terms

Outcome = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Objective(ABC):
    """A loss on the similarities of a batch to the memory banks.

    A variant is a frozen dataclass without state: equal fields make equal objectives, and one may replace another
    between steps. **Its fields are the settings of the same names**, so no other place lists what a method reads.

    What must hold (tests/model/objectives/test_contract.py runs it for every variant):

    - The loss is a mean over the samples: of a batch, it is the mean over its parts of equal size.
    - It does not depend on the order of the samples, nor on that of the banks' rows if all banks change alike.
    - It is differentiable in positives and student similarities; none flows into the teacher's.
    """

    contrast_temperature: float  # τ_c of the contrastive term

    name: ClassVar[str]  # the user's word; the term between modalities is logged as loss/name
    cross_modal: ClassVar[bool] = True  # has a term between modalities, and so needs two or more
    asks_every_bank: ClassVar[bool] = False  # queries against all banks (A = M), or against their own (A = 1)
    uses_keys: ClassVar[bool] = False  # reads teacher_MBK

    @property
    def structure(self) -> tuple[object, ...]:
        """What objectives that are computed as one program have in common: the method and its choices by name."""
        return type(self), *(value for value in vars(self).values() if isinstance(value, str))

    @abstractmethod
    def __call__(self, positive_MAB: Tensor, student_MABK: Tensor, teacher_MBK: Tensor) -> Outcome:
        """The loss, its term between modalities (0 if there is none), and each modality's contrastive term, (M,).

        positive_MAB: similarities of queries to keys of the bank's modality. student_MABK: of queries to the bank.
        teacher_MBK: of keys to their own bank; without rows if `uses_keys` is False. Row j of every bank is the same
        sample. The contrastive term is reported whether it is in the loss or not.
        """

    def terms(self, rows: int) -> Terms | None:
        """The loss as weights of the terms that the one-pass kernels compute; None if it has others, as by default.

        They have a distillation if, and only if, `uses_keys`.
        Raises ValueError if a number of neighbours exceeds the rows of a bank.
        """
        return None


def own(x_MA: Tensor) -> Tensor:
    """What each modality asks its own bank, (M, …), of what is asked of all banks or of its own alone, (M, A, …)."""
    return x_MA.squeeze(1) if x_MA.shape[1] == 1 else x_MA.diagonal().movedim(-1, 0)
