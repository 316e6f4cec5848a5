"""An objective a few samples at a time, its gradient taken at once: what lies between never leaves the cache.

A batch of 64 against three banks of 16,384 rows is 12.6 MB of similarities, and autograd would keep a dozen arrays of
that size until the backward pass. Here there are two, of the queries and of the keys: the gradient is written over the
former, and both are gone when the forward pass is.
M modality of a bank, A modality that asks it, B sample, K bank row, D embedding, R row of either.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cmd_tune.threads import run_shared

# (positive_MAB, student_MABK, teacher_MBK) of some samples → their mean loss, and mean figures to report beside it:
# similarities of each query to the bank's modality's key and to the bank, and of keys to their own bank. No gradient
# for the keys.
Terms = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

_BLOCK = 3 * 2**18  # similarities of a block at most: 3 MB in float32, a quarter of the paper's batch


class MeanInBlocks(torch.autograd.Function):
    """(query_MABD, key_MBD, banks_MKD, terms, with_keys) → the mean loss, and the mean figures, without gradient.

    At [m, a] stand the queries that a asks bank m with; A is 1 where each modality asks its own bank alone. Without
    keys, the terms get a teacher_MBK of no rows.
    """

    @staticmethod
    def forward(ctx, query_MABD, key_MBD, banks_MKD, terms: Terms, with_keys: bool):  # type: ignore[no-untyped-def]
        M, A, B, _ = query_MABD.shape
        K = banks_MKD.shape[1]
        asked_MRD = query_MABD.flatten(1, 2)
        rows_MRD = torch.cat((asked_MRD, key_MBD), dim=1) if with_keys else asked_MRD
        both_MRK = torch.bmm(rows_MRD, banks_MKD.transpose(1, 2))
        asked_MRK, teacher_MBK = both_MRK[:, : A * B], both_MRK[:, A * B :]
        student_MABK = asked_MRK.unflatten(1, (A, B))
        positive_MAB = (query_MABD * key_MBD[:, None]).sum(3)
        grad_positive_MAB = torch.empty_like(positive_MAB)

        blocks = 1 if query_MABD.is_cuda else min(B, -(-M * A * B * K // _BLOCK))
        results: list[tuple[Tensor, Tensor]] = [(positive_MAB, positive_MAB)] * blocks

        def block(index: int) -> None:
            part = slice(B * index // blocks, B * (index + 1) // blocks)
            share = (part.stop - part.start) / B
            with torch.enable_grad():
                # .data: a write to one block is none to the others, which share its memory's version count
                positive, student = (x.data[:, :, part].requires_grad_() for x in (positive_MAB, student_MABK))
                loss, figures = terms(positive, student, teacher_MBK.data[:, part])
                gradients = torch.autograd.grad(loss, (positive, student))
            grad_positive_MAB[:, :, part], student_MABK[:, :, part] = (share * gradient for gradient in gradients)
            results[index] = share * loss.detach(), share * figures.detach()

        run_shared([partial(block, index) for index in range(blocks)])
        grad_MRD = (grad_positive_MAB[..., None] * key_MBD[:, None]).flatten(1, 2)
        ctx.grad_query_MABD = torch.baddbmm(grad_MRD, asked_MRK, banks_MKD).unflatten(1, (A, B))
        loss, figures = (torch.stack(parts).sum(0) for parts in zip(*results, strict=True))
        ctx.mark_non_differentiable(figures)
        return loss, figures

    @staticmethod
    def backward(ctx, grad, _):  # type: ignore[no-untyped-def]
        return grad * ctx.grad_query_MABD, None, None, None, None
