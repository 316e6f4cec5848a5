"""An objective's loss on a batch with its gradient, computed in the forward pass, so that intermediate arrays are freed
before the backward pass.

A batch of 64 against three banks of 16,384 rows is 12.6 MB of similarities, and autograd would keep a dozen arrays of
that size until the backward pass. Here there are two, of the queries and of the keys. The gradient overwrites the
first, and both are freed at the end of the forward pass.
M modality of a bank, A modality that asks it, B sample, K bank row, D embedding, R row of either.
"""

from functools import partial
from math import gcd

import torch
from torch import Tensor

from cmd_tune.compute.native import kernels
from cmd_tune.compute.threads import run_shared
from cmd_tune.model.objectives import one_pass
from cmd_tune.model.objectives.objective import Objective, own

_BLOCK = 3 * 2**18  # similarities of a block at most: 3 MB in float32, a quarter of the paper's batch
_MANY, _PARTS = 4096, 32  # terms of a product from which on a GPU gets it in parts, and their number


class BatchLoss(torch.autograd.Function):
    """(query_MABD, key_MBD, banks_MKD, objective) → the mean loss, and mean figures without gradient.

    [m, a]: the queries with which modality a asks bank m; A is 1 if each modality asks its own bank alone. Figures:
    the cross-modal term, each modality's contrastive term, the share of its positives that beat its whole bank.
    """

    @staticmethod
    def forward(ctx, query_MABD, key_MBD, banks_MKD, objective: Objective):  # type: ignore[no-untyped-def]
        A, B = query_MABD.shape[1:3]
        asked_MRD = query_MABD.flatten(1, 2)
        rows_MRD = torch.cat((asked_MRD, key_MBD), dim=1) if objective.uses_keys else asked_MRD
        similarities_MRK = torch.bmm(rows_MRD, banks_MKD.transpose(1, 2))
        positive_MAB = (query_MABD * key_MBD[:, None]).sum(3)

        results = _losses_in_one_pass(objective, positive_MAB, similarities_MRK)
        loss, figures, grad_positive_MAB = results or _losses_in_blocks(objective, positive_MAB, similarities_MRK)

        grad_MRD = (grad_positive_MAB[..., None] * key_MBD[:, None]).flatten(1, 2)
        ctx.grad_query_MABD = _add_product(grad_MRD, similarities_MRK[:, : A * B], banks_MKD).unflatten(1, (A, B))
        ctx.mark_non_differentiable(figures)
        return loss, figures

    @staticmethod
    def backward(ctx, grad, _):  # type: ignore[no-untyped-def]
        return grad * ctx.grad_query_MABD, None, None, None


def _add_product(start_MRD: Tensor, grad_MRK: Tensor, banks_MKD: Tensor) -> Tensor:
    """start + grad · banks, written over start. A GPU would compute so few sums of so many terms on a few of its
    processors. It gets the terms in parts, and sums the products.
    """
    M, R, K = grad_MRK.shape
    parts = gcd(K, _PARTS) if grad_MRK.is_cuda and K >= _MANY else 1
    if parts == 1:
        return start_MRD.baddbmm_(grad_MRK, banks_MKD)
    product_MPRD = grad_MRK.new_empty(M, parts, R, banks_MKD.shape[2])
    for m in range(M):
        grad_PRK = grad_MRK[m].view(R, parts, -1).transpose(0, 1)
        torch.bmm(grad_PRK, banks_MKD[m].view(parts, K // parts, -1), out=product_MPRD[m])
    return start_MRD.add_(product_MPRD.sum(1))


def _losses_in_one_pass(
    objective: Objective, positive_MAB: Tensor, similarities_MRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """By one_pass.cpp on a CPU, by one_pass_kernels.py on a GPU; None if neither can."""
    if positive_MAB.is_cpu:
        return one_pass.losses(objective, positive_MAB, similarities_MRK)
    for_gpu = kernels("cmd_tune.model.objectives.one_pass_kernels", positive_MAB)
    return for_gpu.losses(objective, positive_MAB, similarities_MRK) if for_gpu else None


def _losses_in_blocks(
    objective: Objective, positive_MAB: Tensor, similarities_MRK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by autograd, a few samples at a time: on a CPU a block's arrays stay in the cache."""
    M, A, B = positive_MAB.shape
    K = similarities_MRK.shape[2]
    student_MABK = similarities_MRK[:, : A * B].unflatten(1, (A, B))
    teacher_MBK = similarities_MRK[:, A * B :]
    grad_positive_MAB = torch.empty_like(positive_MAB)

    blocks = 1 if positive_MAB.is_cuda else min(B, -(-M * A * B * K // _BLOCK))
    results: list[tuple[Tensor, Tensor]] = [(positive_MAB, positive_MAB)] * blocks

    def block(index: int) -> None:
        part = slice(B * index // blocks, B * (index + 1) // blocks)
        share = (part.stop - part.start) / B
        with torch.enable_grad():
            # .data: a write to one block is none to the others, which share its memory's version count
            positive, student = (x.data[:, :, part].requires_grad_() for x in (positive_MAB, student_MABK))
            loss, cross_modal, contrastive_M = objective(positive, student, teacher_MBK.data[:, part])
            gradients = torch.autograd.grad(loss, (positive, student))
        hit_share_M = (own(positive.detach()) > own(student.detach()).amax(2)).to(loss.dtype).mean(1)
        grad_positive_MAB[:, :, part], student_MABK[:, :, part] = (share * gradient for gradient in gradients)
        figures = torch.cat((cross_modal[None], contrastive_M, hit_share_M))
        results[index] = share * loss.detach(), share * figures.detach()

    run_shared([partial(block, index) for index in range(blocks)])
    loss, figures = (torch.stack(parts).sum(0) for parts in zip(*results, strict=True))
    return loss, figures, grad_positive_MAB
