"""The objectives' losses and gradients in one pass by compiled.cpp: all but CrosSCLR's, in float32, on a CPU.

M modality, A modality that asks a bank, B sample, K bank row, R row of similarities.
"""

from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.native import bind
from cmd_tune.compute.threads import run_shared, shares
from cmd_tune.model.objectives.methods import CMD, MCL, Base, Objective, own

_DISTILLATIONS = {"pairwise": 1, "consensus": 2}


def losses(
    objective: Objective, positive_MAB: Tensor, similarities_MRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """(mean loss, figures, the loss's gradient in the positives); None where compiled.cpp cannot be used.

    similarities_MRK: of each bank to the A·B queries that ask it, which become the loss's gradient in them; and behind
    them, where the objective uses keys, to its B keys. Figures: the cross-modal term, each modality's contrastive
    term, the share of its positives that beat its whole bank. Raises ValueError where topk exceeds the rows.
    """
    if not positive_MAB.is_cpu:
        return None
    M, A, B = positive_MAB.shape
    K = similarities_MRK.shape[2]
    itself, others, distill_weight, topk, distillation = 1.0, 0.0, 0.0, 0, 0
    temperatures = [objective.contrast_temperature]
    match objective:
        case Base():
            pass
        case MCL():
            itself, others = float(objective.form == "added"), 1.0
        case CMD():
            distill_weight, topk = objective.distill_weight, objective.topk
            distillation = _DISTILLATIONS[objective.distillation]
            temperatures += [objective.student_temperature, objective.teacher_temperature]
            if topk > K:
                raise ValueError(f"topk {topk} exceeds the {K} rows of a bank")
        case _:
            return None
    contrast_MAB, grad_positive_MAB = (torch.empty_like(positive_MAB) for _ in range(2))
    distilled_B, hit_MB = torch.zeros_like(positive_MAB[0, 0]), torch.empty_like(positive_MAB[:, 0])
    numbers = (positive_MAB.new_tensor(x) for x in (temperatures, (itself, others, distill_weight)))
    tensors = (*numbers, positive_MAB, similarities_MRK, grad_positive_MAB, contrast_MAB, distilled_B, hit_MB)
    compute = bind("losses", positive_MAB.dtype, (M, A, B, K, topk, distillation), tensors)
    if compute is None:
        return None
    run_shared([partial(compute, *share) for share in shares(B)])

    contrast_MA = contrast_MAB.mean(2)
    contrastive_M = own(contrast_MA)
    mutual, distilled = contrast_MA.sum() - contrastive_M.sum(), distilled_B.mean()
    loss = itself * contrastive_M.sum() + others * mutual + distill_weight * distilled
    figures = torch.cat((others * mutual[None] + distilled, contrastive_M, hit_MB.mean(1)))
    return loss, figures, grad_positive_MAB
