"""Linear probe on features extracted once: multinomial logistic regression, solved rather than stepped.

M modality, G gallery (its training clip), Q query, F feature, L label.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def linear_predictions(gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor) -> Tensor:
    """Labels of the queries, (M + 1, Q): by a probe on each modality, and last by their mean probabilities."""
    probability_MQL = linear_probabilities(gallery_MGF, query_MQF, label_G)
    return torch.cat((probability_MQL.argmax(2), probability_MQL.mean(0).argmax(1)[None]))


def linear_probabilities(
    gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, *, penalty: float = 1e-3, iterations: int = 100
) -> Tensor:
    """Class probabilities of each query, (M, Q, L), by one probe a modality.

    Minimises mean cross entropy + penalty/2·‖W‖² over features standardised by the gallery, by L-BFGS from 0. The
    problem is convex, so there is nothing to seed; the M probes share no parameter, so solving all solves each.
    """
    mean_M1F, std_M1F = gallery_MGF.mean(1, keepdim=True), gallery_MGF.std(1, keepdim=True).clamp(min=1e-6)
    gallery_MGF, query_MQF = (gallery_MGF - mean_M1F) / std_M1F, (query_MQF - mean_M1F) / std_M1F
    modalities, _, width = gallery_MGF.shape
    classes = int(label_G.max()) + 1
    weight_MFL = torch.zeros(modalities, width, classes, device=gallery_MGF.device, requires_grad=True)
    bias_M1L = torch.zeros(modalities, 1, classes, device=gallery_MGF.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight_MFL, bias_M1L], max_iter=iterations, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        solver.zero_grad()
        logits_MGL = torch.baddbmm(bias_M1L, gallery_MGF, weight_MFL)
        losses = F.cross_entropy(logits_MGL.flatten(0, 1), label_G.repeat(modalities)) * modalities
        loss: Tensor = losses + penalty / 2 * weight_MFL.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(objective)
    return torch.baddbmm(bias_M1L, query_MQF, weight_MFL).detach().softmax(2)
