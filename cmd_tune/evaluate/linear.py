"""Linear probe on features extracted once: multinomial logistic regression, solved rather than stepped.

S stream (see similarity.py), M modality, G gallery (its training clip), Q query, F feature, L label.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_HISTORY = 10  # steps that L-BFGS remembers; a hundred cost twice the time and gain as much as ten iterations do


def linear_predictions(gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor) -> Tensor:
    """Labels of the queries, (M + 1, Q): by a probe on each modality, and last by their mean probabilities."""
    probability_MQL = linear_probabilities(gallery_MGF, query_MQF, label_G)
    return torch.cat((probability_MQL.argmax(2), probability_MQL.mean(0).argmax(1)[None]))


def linear_stream_predictions(gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor) -> Tensor:
    """The same with a probe on the modalities' features end to end as the last stream, (S, Q)."""
    gallery_1GF, query_1QF = (x_MNF.transpose(0, 1).flatten(1)[None] for x_MNF in (gallery_MGF, query_MQF))
    concatenated_1QL = linear_probabilities(gallery_1GF, query_1QF, label_G)
    return torch.cat((linear_predictions(gallery_MGF, query_MQF, label_G), concatenated_1QL.argmax(2)))


def linear_probabilities(
    gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, *, penalty: float = 1e-3, iterations: int = 100
) -> Tensor:
    """Class probabilities of each query, (M, Q, L), by one probe a modality.

    Minimises mean cross entropy + penalty/2·‖W‖² over features standardised by the gallery, by L-BFGS from 0. The
    problem is convex, so there is nothing to seed; the M probes share no parameter, so solving all solves each.
    """
    mean_M1F, std_M1F = gallery_MGF.mean(1, keepdim=True), gallery_MGF.std(1, keepdim=True).clamp(min=1e-6)
    gallery_MGF, query_MQF = (gallery_MGF - mean_M1F) / std_M1F, (query_MQF - mean_M1F) / std_M1F
    modalities, gallery, width = gallery_MGF.shape
    target_GL = F.one_hot(label_G).to(gallery_MGF.dtype)
    weight_MFL = gallery_MGF.new_zeros(modalities, width, target_GL.shape[1])
    bias_M1L = gallery_MGF.new_zeros(modalities, 1, target_GL.shape[1])
    solver = torch.optim.LBFGS(
        [weight_MFL, bias_M1L], max_iter=iterations, history_size=_HISTORY, line_search_fn="strong_wolfe"
    )

    @torch.no_grad()
    def objective() -> Tensor:
        log_p_MGL = torch.baddbmm(bias_M1L, gallery_MGF, weight_MFL).log_softmax(2)
        loss: Tensor = penalty / 2 * weight_MFL.square().sum() - (log_p_MGL * target_GL).sum() / gallery
        grad_MGL = log_p_MGL.exp_().sub_(target_GL).div_(gallery)
        weight_MFL.grad = torch.baddbmm(weight_MFL, gallery_MGF.transpose(1, 2), grad_MGL, beta=penalty)
        bias_M1L.grad = grad_MGL.sum(1, keepdim=True)
        return loss

    solver.step(objective)
    return torch.baddbmm(bias_M1L, query_MQF, weight_MFL).softmax(2)
