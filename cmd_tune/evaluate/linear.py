"""Linear probe on features extracted once: multinomial logistic regression, solved rather than stepped.

S stream (see similarity.py), M modality, G gallery (its training clip), Q query, F feature, L label.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from cmd_tune.compute.optimizers import LBFGS
from cmd_tune.compute.threads import run_shared, steadily

_ROWS = 1024  # of the gallery, that a thread of a CPU takes at a time
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


@steadily
def linear_probabilities(
    gallery_MGF: Tensor, query_MQF: Tensor, label_G: Tensor, *, penalty: float = 1e-3, iterations: int = 100
) -> Tensor:
    """Class probabilities of each query, (M, Q, L), by one probe per modality.

    Minimises mean cross entropy + penalty/2·‖W‖² over features standardised by the gallery, by L-BFGS from 0. The
    problem is convex, so there is nothing to seed; the M probes share no parameter, so solving all solves each. The
    last step depends on rounding, so sums are taken in the same pieces for any number of threads.
    """
    modalities, gallery, width = gallery_MGF.shape
    mean_M1F, std_M1F = _moments(gallery_MGF)
    gallery_MGF, query_MQF = (gallery_MGF - mean_M1F) / std_M1F, (query_MQF - mean_M1F) / std_M1F
    target_GL = F.one_hot(label_G).to(gallery_MGF.dtype)
    weight_MFL = gallery_MGF.new_zeros(modalities, width, target_GL.shape[1])
    bias_M1L = gallery_MGF.new_zeros(modalities, 1, target_GL.shape[1])
    solver = LBFGS([weight_MFL, bias_M1L], max_iter=iterations, history_size=_HISTORY, line_search_fn="strong_wolfe")

    def of_rows(rows: slice) -> Sequence[Tensor]:
        """The summed log probability of these rows' labels, and the rows' part of the gradients."""
        x_MRF, target_RL = gallery_MGF[:, rows], target_GL[rows]
        log_p_MRL = torch.baddbmm(bias_M1L, x_MRF, weight_MFL).log_softmax(2)
        likelihood = (log_p_MRL * target_RL).sum()
        grad_MRL = log_p_MRL.exp_().sub_(target_RL).div_(gallery)
        return likelihood, torch.bmm(x_MRF.transpose(1, 2), grad_MRL), grad_MRL.sum(1, keepdim=True)

    @torch.no_grad()
    def objective() -> Tensor:
        likelihood, grad_MFL, bias_M1L.grad = _sum_over_rows(of_rows, gallery_MGF)
        weight_MFL.grad = grad_MFL.add_(weight_MFL, alpha=penalty)
        loss: Tensor = penalty / 2 * weight_MFL.square().sum() - likelihood / gallery
        return loss

    solver.step(objective)
    return torch.baddbmm(bias_M1L, query_MQF, weight_MFL).softmax(2)


def _moments(x_MGF: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the gallery, (M, 1, F) each."""
    count = x_MGF.shape[1]
    (total_M1F,) = _sum_over_rows(lambda rows: [x_MGF[:, rows].sum(1, keepdim=True)], x_MGF)
    mean_M1F = total_M1F / count
    (squares_M1F,) = _sum_over_rows(lambda rows: [(x_MGF[:, rows] - mean_M1F).square().sum(1, keepdim=True)], x_MGF)
    return mean_M1F, (squares_M1F / (count - 1)).sqrt().clamp(min=1e-6)


def _sum_over_rows(part: Callable[[slice], Sequence[Tensor]], x_MGF: Tensor) -> list[Tensor]:
    """Sums over G of the tensors that `part` computes of some rows; on a CPU, threads share the pieces."""
    step = len(x_MGF[0]) if x_MGF.is_cuda else _ROWS
    pieces = [slice(first, first + step) for first in range(0, len(x_MGF[0]), step)]
    found: list[Sequence[Tensor]] = [()] * len(pieces)

    @torch.no_grad()
    def find(index: int) -> None:
        found[index] = part(pieces[index])

    run_shared([partial(find, index) for index in range(len(pieces))])
    return [torch.stack(parts).sum(0) for parts in zip(*found, strict=True)]
