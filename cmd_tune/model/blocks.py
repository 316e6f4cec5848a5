"""An objective a few samples at a time, its gradient taken at once: what lies between never leaves the cache.

A batch of 64 against three banks of 16,384 rows is 12.6 MB of similarities, and autograd would keep a dozen arrays of
that size until the backward pass. Here there are two, of the queries and of the keys: the gradient is written over the
latter, and both are gone when the forward pass is.
M modality, B sample, K bank row, D embedding.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cmd_tune.threads import run_shared

# (positive_MB, student_MBK, teacher_MBK) of some samples → their mean loss, and mean figures to report beside it:
# similarities of each query to its own key, and of queries and keys to their own bank. No gradient for the keys.
Terms = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

_BLOCK = 3 * 2**18  # similarities of a block at most: 3 MB in float32, a quarter of the paper's batch


class MeanInBlocks(torch.autograd.Function):
    """(query_MBD, key_MBD, banks_MKD, terms) → the batch's mean loss, and its mean figures, which have no gradient."""

    @staticmethod
    def forward(ctx, query_MBD, key_MBD, banks_MKD, terms: Terms):  # type: ignore[no-untyped-def]
        M, B, _ = query_MBD.shape
        K = banks_MKD.shape[1]
        both_MBK = torch.bmm(torch.cat((query_MBD, key_MBD), dim=1), banks_MKD.transpose(1, 2))
        student_MBK, teacher_MBK = both_MBK[:, :B], both_MBK[:, B:]
        positive_MB = (query_MBD * key_MBD).sum(2)
        grad_positive_MB = torch.empty_like(positive_MB)

        blocks = 1 if query_MBD.is_cuda else min(B, -(-M * B * K // _BLOCK))
        results: list[tuple[Tensor, Tensor]] = [(positive_MB, positive_MB)] * blocks

        def block(index: int) -> None:
            part = slice(B * index // blocks, B * (index + 1) // blocks)
            share = (part.stop - part.start) / B
            with torch.enable_grad():
                # .data: a write to one block is none to the others, which share its memory's version count
                positive, student, teacher = (x.data[:, part] for x in (positive_MB, student_MBK, teacher_MBK))
                loss, figures = terms(positive.requires_grad_(), student.requires_grad_(), teacher)
                gradients = torch.autograd.grad(loss, (positive, student))
            grad_positive_MB[:, part], teacher_MBK[:, part] = (share * gradient for gradient in gradients)
            results[index] = share * loss.detach(), share * figures.detach()

        run_shared([partial(block, index) for index in range(blocks)])
        ctx.grad_query_MBD = torch.baddbmm(grad_positive_MB[..., None] * key_MBD, teacher_MBK, banks_MKD)
        loss, figures = (torch.stack(parts).sum(0) for parts in zip(*results, strict=True))
        ctx.mark_non_differentiable(figures)
        return loss, figures

    @staticmethod
    def backward(ctx, grad, _):  # type: ignore[no-untyped-def]
        return grad * ctx.grad_query_MBD, None, None, None
