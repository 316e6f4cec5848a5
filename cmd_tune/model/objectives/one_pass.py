"""The objectives' losses and gradients in one pass by one_pass.cpp: all but CrosSCLR's, in float32, on a CPU.

M modality, A modality that asks a bank, B sample, K bank row, R row of similarities.
"""

from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.native import bind
from cmd_tune.compute.threads import run_shared, shares
from cmd_tune.model.objectives.objective import Objective, own

_DISTILLATIONS = {None: 0, "pairwise": 1, "consensus": 2}


def losses(
    objective: Objective, positive_MAB: Tensor, similarities_MRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """(mean loss, figures, the loss's gradient in the positives); None if one_pass.cpp cannot be used.

    similarities_MRK: of each bank to the A·B queries that ask it, which the gradient in them overwrites; after them, if
    the objective uses keys, to its B keys. Figures: the cross-modal term, each modality's contrastive term, the share
    of its positives that beat its whole bank. Raises ValueError if topk exceeds the rows.
    """
    M, A, B = positive_MAB.shape
    K = similarities_MRK.shape[2]
    of = objective.terms(K)
    if of is None:
        return None
    temperatures = (of.contrast_temperature, of.student_temperature, of.teacher_temperature)
    weights = (of.itself, of.others, of.distill_weight)
    contrast_MAB, grad_positive_MAB = (torch.empty_like(positive_MAB) for _ in range(2))
    distilled_B, hit_MB = torch.zeros_like(positive_MAB[0, 0]), torch.empty_like(positive_MAB[:, 0])
    numbers = (positive_MAB.new_tensor(x) for x in (temperatures, weights))
    tensors = (*numbers, positive_MAB, similarities_MRK, grad_positive_MAB, contrast_MAB, distilled_B, hit_MB)
    sizes = (M, A, B, K, of.topk, _DISTILLATIONS[of.distillation])
    compute = bind("losses", positive_MAB.dtype, sizes, tensors)
    if compute is None:
        return None
    run_shared([partial(compute, *share) for share in shares(B)])

    contrast_MA = contrast_MAB.mean(2)
    contrastive_M = own(contrast_MA)
    mutual, distilled = contrast_MA.sum() - contrastive_M.sum(), distilled_B.mean()
    loss = of.itself * contrastive_M.sum() + of.others * mutual + of.distill_weight * distilled
    figures = torch.cat((of.others * mutual[None] + distilled, contrastive_M, hit_MB.mean(1)))
    return loss, figures, grad_positive_MAB
