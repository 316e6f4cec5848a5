"""The objectives' losses and gradients in one pass by one_pass.cpp: all but CrosSCLR's, in float32, on a CPU.

P trial, M modality, G of all trials' modalities, A modality that asks a bank, B sample, K bank row, R row of
similarities, F figure.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.native import bind
from cmd_tune.compute.threads import run_shared, shares
from cmd_tune.model.objectives.objective import Objective, own
from cmd_tune.model.objectives.terms import Terms

_DISTILLATIONS = {None: 0, "pairwise": 1, "consensus": 2}


def losses(
    objectives: Sequence[Objective], positive_GAB: Tensor, similarities_GRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """(mean losses (P,), figures (P, F), the losses' gradient in the positives); None if one_pass.cpp cannot be used.

    A trial's M modalities follow each other in G. similarities_GRK: of each bank to the A·B queries that ask it, which
    the gradient in them overwrites; after them, if the objectives use keys, to its B keys. Figures: the cross-modal
    term, each modality's contrastive term, the share of its positives that beat its whole bank. Raises ValueError if
    topk exceeds the rows.
    """
    P, (G, A, B), K = len(objectives), positive_GAB.shape, similarities_GRK.shape[2]
    terms = [of for objective in objectives if (of := objective.terms(K)) is not None]
    if len(terms) < P:
        return None
    temperatures = [(of.contrast_temperature, of.student_temperature, of.teacher_temperature) for of in terms]
    weights = [(of.itself, of.others, of.distill_weight) for of in terms]
    numbers = (positive_GAB.new_tensor(x) for x in (temperatures, weights))
    contrast_GAB, grad_positive_GAB = (torch.empty_like(positive_GAB) for _ in range(2))
    distilled_PB, hit_GB = positive_GAB.new_zeros(P, B), torch.empty_like(positive_GAB[:, 0])
    of_banks = (positive_GAB, similarities_GRK, grad_positive_GAB, contrast_GAB)
    stacked = (*numbers, *(x.unflatten(0, (P, -1)) for x in of_banks), distilled_PB, hit_GB.unflatten(0, (P, -1)))

    tasks = []
    for of, *tensors in zip(terms, *stacked, strict=True):
        sizes = (G // P, A, B, K, of.topk, _DISTILLATIONS[of.distillation])
        compute = bind("losses", positive_GAB.dtype, sizes, tensors)
        if compute is None:
            return None
        tasks += [partial(compute, *share) for share in shares(B)]
    run_shared(tasks)

    means = [_means(of, *tensors) for of, *tensors in zip(terms, *stacked[-3:], strict=True)]
    loss_P, figures_PF = (torch.stack(x) for x in zip(*means, strict=True))
    return loss_P, figures_PF, grad_positive_GAB


def _means(of: Terms, contrast_MAB: Tensor, distilled_B: Tensor, hit_MB: Tensor) -> tuple[Tensor, Tensor]:
    """A trial's loss and figures, of each sample's."""
    contrast_MA = contrast_MAB.mean(2)
    contrastive_M = own(contrast_MA)
    mutual, distilled = contrast_MA.sum() - contrastive_M.sum(), distilled_B.mean()
    loss = of.itself * contrastive_M.sum() + of.others * mutual + of.distill_weight * distilled
    return loss, torch.cat((of.others * mutual[None] + distilled, contrastive_M, hit_MB.mean(1)))
