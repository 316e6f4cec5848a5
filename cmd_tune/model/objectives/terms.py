"""What one_pass.py and one_pass_kernels.py need to know of an objective: the terms of its loss, as numbers."""

from dataclasses import dataclass
from typing import Literal

from cmd_tune.model.objectives.methods import CMD, MCL, Base, Objective


@dataclass(frozen=True)
class Terms:
    """Weights of a modality's contrast with itself, with the others, of the distillation; and what these ask for."""

    contrast_temperature: float
    itself: float = 1.0
    others: float = 0.0
    distill_weight: float = 0.0
    distillation: Literal["pairwise", "consensus"] | None = None
    topk: int = 0
    student_temperature: float = 1.0
    teacher_temperature: float = 1.0


def terms(objective: Objective, rows: int) -> Terms | None:
    """None for CrosSCLR, which has other terms. Raises ValueError where topk exceeds a bank's rows."""
    match objective:
        case Base():
            return Terms(objective.contrast_temperature)
        case MCL():
            return Terms(objective.contrast_temperature, itself=float(objective.form == "added"), others=1.0)
        case CMD():
            if objective.topk > rows:
                raise ValueError(f"topk {objective.topk} exceeds the {rows} rows of a bank")
            return Terms(
                objective.contrast_temperature,
                distill_weight=objective.distill_weight,
                distillation=objective.distillation,
                topk=objective.topk,
                student_temperature=objective.student_temperature,
                teacher_temperature=objective.teacher_temperature,
            )
        case _:
            return None
