"""The losses of trials on a batch with their gradient, computed in the forward pass, so that intermediate arrays are
freed before the backward pass.

A batch of 64 against three banks of 16,384 rows is 12.6 MB of similarities, and autograd would keep a dozen arrays of
that size until the backward pass. Here there are two, of the queries and of the keys. The gradient overwrites the
first, and both are freed at the end of the forward pass.
P trial, M modality of a bank, G of all trials' modalities (a trial's M follow each other), A modality that asks a bank,
B sample, K bank row, D embedding, R row of either, F figure, N number, S share of a bank.
"""

from collections.abc import Sequence
from functools import partial
from math import gcd

import torch
from torch import Tensor

from cmd_tune.compute.native import kernels
from cmd_tune.compute.threads import run_shared
from cmd_tune.model.objectives import one_pass
from cmd_tune.model.objectives.objective import Objective, own

_BLOCK = 3 * 2**18  # similarities of a block at most: 3 MB in float32, a quarter of the paper's batch
_MANY, _SHARES = 4096, 32  # terms of a product from which on a GPU gets it in shares, and their number


class BatchLoss(torch.autograd.Function):
    """(query_GABD, key_GBD, banks_GKD, objectives, numbers_PN) → the trials' mean losses (P,) and mean figures (P, F).

    [g, a]: the queries with which its trial's modality a asks bank g; A is 1 if each modality asks its own bank alone.
    objectives: of the P trials, of one class and distillation. numbers_PN: `terms.numbers` of them on the device. A GPU
    reads the objectives' numbers there alone, so that a captured graph follows what is copied into that memory; a CPU,
    and PyTorch's operations for objectives without terms, read the objectives. Figures, which have no gradient: the
    cross-modal term, each modality's contrastive term, the share of its positives that beat its whole bank. No trial's
    numbers depend on another's.
    """

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, query_GABD, key_GBD, banks_GKD, objectives: Sequence[Objective], numbers_PN: Tensor | None
    ):
        A, B = query_GABD.shape[1:3]
        asked_GRD = query_GABD.flatten(1, 2)
        rows_GRD = torch.cat((asked_GRD, key_GBD), dim=1) if objectives[0].uses_keys else asked_GRD
        similarities_GRK = torch.bmm(rows_GRD, banks_GKD.transpose(1, 2))
        positive_GAB = (query_GABD * key_GBD[:, None]).sum(3)

        results = _losses_in_one_pass(objectives, numbers_PN, positive_GAB, similarities_GRK)
        loss_P, figures_PF, grad_positive_GAB = results or _losses_by_pytorch(
            objectives, positive_GAB, similarities_GRK
        )

        grad_GRD = (grad_positive_GAB[..., None] * key_GBD[:, None]).flatten(1, 2)
        ctx.grad_query_GABD = _add_product(grad_GRD, similarities_GRK[:, : A * B], banks_GKD).unflatten(1, (A, B))
        ctx.mark_non_differentiable(figures_PF)
        return loss_P, figures_PF

    @staticmethod
    def backward(ctx, grad_P, _):  # type: ignore[no-untyped-def]
        query_GABD = ctx.grad_query_GABD
        grad_query_GABD = (grad_P.view(-1, 1) * query_GABD.reshape(len(grad_P), -1)).view(query_GABD.shape)
        return grad_query_GABD, None, None, None, None


def _add_product(start_GRD: Tensor, grad_GRK: Tensor, banks_GKD: Tensor) -> Tensor:
    """start + grad · banks, written over start. A GPU would compute so few sums of so many terms on a few of its
    processors. It gets the terms in shares, and sums the products.
    """
    G, R, K = grad_GRK.shape
    shares = gcd(K, _SHARES) if grad_GRK.is_cuda and K >= _MANY else 1
    if shares == 1:
        return start_GRD.baddbmm_(grad_GRK, banks_GKD)
    product_GSRD = grad_GRK.new_empty(G, shares, R, banks_GKD.shape[2])
    for g in range(G):
        grad_SRK = grad_GRK[g].view(R, shares, -1).transpose(0, 1)
        torch.bmm(grad_SRK, banks_GKD[g].view(shares, K // shares, -1), out=product_GSRD[g])
    return start_GRD.add_(product_GSRD.sum(1))


def _losses_in_one_pass(
    objectives: Sequence[Objective], numbers_PN: Tensor | None, positive_GAB: Tensor, similarities_GRK: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """By one_pass.cpp on a CPU, by one_pass_kernels.py on a GPU; None if neither can."""
    if positive_GAB.is_cpu:
        return one_pass.losses(objectives, positive_GAB, similarities_GRK)
    for_gpu = kernels("cmd_tune.model.objectives.one_pass_launch", positive_GAB)
    if for_gpu is None or numbers_PN is None:
        return None
    return for_gpu.losses(objectives, numbers_PN, positive_GAB, similarities_GRK)


def reads_numbers(objectives: Sequence[Objective], banks_GKD: Tensor) -> bool:
    """Whether what these objectives are as numbers is read from `numbers_PN` alone."""
    for_gpu = kernels("cmd_tune.model.objectives.one_pass_launch", banks_GKD)
    return for_gpu is not None and for_gpu.terms_of(objectives, banks_GKD.dtype, banks_GKD.shape[1]) is not None


def _losses_by_pytorch(
    objectives: Sequence[Objective], positive_GAB: Tensor, similarities_GRK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same by autograd, trial by trial."""
    trials = zip(objectives, *(x.chunk(len(objectives)) for x in (positive_GAB, similarities_GRK)), strict=True)
    loss_P, figures_PF, grad_positive_PMAB = (
        torch.stack(x) for x in zip(*(_losses_in_blocks(*trial) for trial in trials), strict=True)
    )
    return loss_P, figures_PF, grad_positive_PMAB.flatten(0, 1)


def _losses_in_blocks(
    objective: Objective, positive_MAB: Tensor, similarities_MRK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A trial's, a few samples at a time: on a CPU a block's arrays stay in the cache."""
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
