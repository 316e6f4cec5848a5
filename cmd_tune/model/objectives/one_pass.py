"""The objectives' losses and gradients in one pass by one_pass.cpp: all but CrosSCLR's, in float32, on a CPU.

P trial, M modality, G of all trials' modalities, A modality that asks a bank, B sample, K bank row, R row of
similarities, F figure, N number.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.native import bind
from cmd_tune.compute.threads import run_shared, shares
from cmd_tune.model.objectives.objective import Objective
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
    if len(terms) < P or similarities_GRK.shape[1] != (A + (terms[0].distillation is not None)) * B:
        return None
    numbers_PN = positive_GAB.new_tensor([_numbers(of) for of in terms])
    contrast_GAB, grad_positive_GAB = (torch.empty_like(positive_GAB) for _ in range(2))
    distilled_PB, hit_GB = positive_GAB.new_zeros(P, B), torch.empty_like(positive_GAB[:, 0])
    tensors = (numbers_PN, positive_GAB, similarities_GRK, grad_positive_GAB, contrast_GAB, distilled_PB, hit_GB)
    sizes = (G // P, A, B, K, _DISTILLATIONS[terms[0].distillation])
    compute = bind("losses", positive_GAB.dtype, sizes, tensors)
    if compute is None:
        return None
    run_shared([partial(compute, trial, *share) for trial in range(P) for share in shares(B)])

    contrast_PMA, hit_PM = contrast_GAB.mean(2).view(P, -1, A), hit_GB.mean(1).view(P, -1)
    contrastive_PM = contrast_PMA[..., 0] if A == 1 else contrast_PMA.diagonal(dim1=1, dim2=2)
    itself_P, others_P, distill_weight_P = numbers_PN[:, 3:6].unbind(1)
    own_P, distilled_P = contrastive_PM.sum(1), distilled_PB.mean(1)
    between_P = others_P * (contrast_PMA.sum((1, 2)) - own_P)
    loss_P = itself_P * own_P + between_P + distill_weight_P * distilled_P
    figures_PF = torch.cat(((between_P + distilled_P)[:, None], contrastive_PM, hit_PM), dim=1)
    return loss_P, figures_PF, grad_positive_GAB


def _numbers(of: Terms) -> tuple[float, ...]:
    """What one_pass.cpp reads of a trial, in its order."""
    temperatures = (of.contrast_temperature, of.student_temperature, of.teacher_temperature)
    return (*temperatures, of.itself, of.others, of.distill_weight, of.topk)
