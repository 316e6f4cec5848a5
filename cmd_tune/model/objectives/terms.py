"""The terms of a loss as numbers: what one_pass.py and one_pass_kernels.py need to know of an objective.

P trial, N number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from cmd_tune.model.objectives.objective import Objective

DISTILLED = ("pairwise", "consensus")  # the distillations that the kernels compute
# What `numbers` has of a trial, in this order. Colder is 1 / a temperature.
NUMBERS = ("contrast_colder", "student_colder", "teacher_colder", "itself", "others", "distill_weight", "topk")


@dataclass(frozen=True)
class Terms:
    """itself, others, distill_weight: weights of a modality's contrast with itself, with the other modalities, and of
    the distillation. The rest is what these terms read.
    """

    contrast_temperature: float
    itself: float = 1.0
    others: float = 0.0
    distill_weight: float = 0.0
    distillation: str | None = None  # one of DISTILLED
    topk: int = 0
    student_temperature: float = 1.0
    teacher_temperature: float = 1.0

    def numbers(self) -> list[float]:
        """In the order of NUMBERS."""
        temperatures = (self.contrast_temperature, self.student_temperature, self.teacher_temperature)
        return [*(1 / x for x in temperatures), self.itself, self.others, self.distill_weight, self.topk]


def numbers(objectives: Sequence[Objective], rows: int) -> Tensor | None:
    """What one_pass_kernels.py reads of P trials' objectives: (P, N) float32, on the CPU; None if they have no terms.

    rows: of a bank. In float32 a topk below 2**24 is exact. Raises ValueError if a topk exceeds the rows, or if the
    objectives differ in more than numbers: in their class or their distillation.
    """
    terms = [objective.terms(rows) for objective in objectives]
    if len({(type(o), of and of.distillation) for o, of in zip(objectives, terms, strict=True)}) > 1:
        raise ValueError("trials that are computed together differ in more than the numbers of their objectives")
    return torch.tensor([of.numbers() for of in terms if of]) if all(terms) else None
