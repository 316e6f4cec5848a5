"""The terms of a loss as numbers: what one_pass.py and one_pass_kernels.py need to know of an objective."""

from dataclasses import dataclass

DISTILLED = ("pairwise", "consensus")  # the distillations that the kernels compute


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
