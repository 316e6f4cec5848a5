"""One layer of all modalities' GRU pairs over whole sequences: one batched product per frame, backward by hand.

The authors call a bidirectional GRU one frame at a time with its state carried on, so in every layer both sides run
forward in time. Autograd would record a dozen operations per frame; here it records one per layer. Input products are
computed for all frames and both sides at once, weight gradients as large products after the loop. On a CPU threads
share the groups and wait for each other once per layer; a small layer is one call per thread (gru_whole_layer.py). On a
GPU one kernel computes a frame, or all frames.
M modality, T frame, B sample, I input, H hidden, S side of the pair, G group = M·S.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from cmd_tune.compute.native import kernels
from cmd_tune.compute.threads import run_shared, shares
from cmd_tune.model.encoders import gru_whole_layer
from cmd_tune.model.encoders.gru_gates import Backward, Forward, Step

Rounded = tuple[Tensor | None, Tensor | None]  # copies of weight_ih and weight_hh in the dtype of x, where there are
# (x_MTBI, weight_ih_MS3HI, weight_hh_MS3HH, bias_ih_MS3H, bias_hh_MS3H, last_only, Rounded) → a layer's output, as
# GRUPairs says
LayerFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, bool, Rounded], Tensor]


class GRUPairs(torch.autograd.Function):
    """(x_MTBI, weight_ih_MS3HI, weight_hh_MS3HH, bias_ih_MS3H, bias_hh_MS3H, last_only, rounded) → (M, T, B, S·H).

    The hidden state starts at 0. Products and what is kept for the backward pass are in x's dtype; state, biases and
    sums are float32 at least. last_only: the last frame's output alone, (M, B, S·H), in that finer dtype. rounded:
    copies of both matrices in x's dtype, which are read in place of them; a None is made here.
    """

    @staticmethod
    def forward(ctx, x_MTBI, weight_ih, weight_hh, bias_ih, bias_hh, last_only, rounded=(None, None)):  # type: ignore[no-untyped-def]
        M, T, B, I = x_MTBI.shape
        S, H = weight_hh.shape[1], weight_hh.shape[3]
        keep = any(ctx.needs_input_grad)
        fine = torch.promote_types(x_MTBI.dtype, torch.float32)
        matrices = zip((weight_ih, weight_hh), rounded, strict=True)
        weight_ih, weight_hh = (x.to(x_MTBI.dtype) if copy is None else copy for x, copy in matrices)
        weight_ih, weight_hh = weight_ih.flatten(1, 2), weight_hh.flatten(0, 1)

        biases = (bias_ih[..., : 2 * H] + bias_hh[..., : 2 * H], bias_ih[..., 2 * H :], bias_hh[..., 2 * H :])
        bias = torch.cat(biases, dim=-1).to(fine).flatten(0, 1)
        x_MTBI = x_MTBI.contiguous()
        ctx.last_only, ctx.spent = last_only, False
        if done := gru_whole_layer.forward(x_MTBI, weight_ih, weight_hh, bias, hidden=not last_only, keep=keep):
            if keep:
                ctx.save_for_backward(x_MTBI, weight_ih, weight_hh, done.gates, done.recurrent_n, done.hidden)
            output = done.last if last_only or done.hidden is None else done.hidden
            return output.flatten(-2)

        gates = _product(x_MTBI.reshape(M, T * B, I), weight_ih.transpose(1, 2))
        way = Forward(
            gates=gates.view(M, T, B, S, 3 * H),
            recurrent=x_MTBI.new_empty(M * S, B, 3 * H),
            bias=bias,
            carried=x_MTBI.new_empty(M * S, B, H, dtype=fine),
            state=x_MTBI.new_empty(M * S, B, H),
            hidden=None if last_only and not keep else x_MTBI.new_empty(M, T, B, S, H),
            recurrent_n=x_MTBI.new_empty(M, T, B, S, H) if keep else None,
        )
        _run_forward(way, weight_hh)
        if keep:
            ctx.save_for_backward(x_MTBI, weight_ih, weight_hh, way.gates, way.recurrent_n, way.hidden)
        if last_only or way.hidden is None:
            return way.carried.view(M, S, B, H).transpose(1, 2).reshape(M, B, S * H)
        return way.hidden.view(M, T, B, S * H)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        if ctx.spent:
            raise RuntimeError("the gradients of a GRU layer were written over its states; run the forward pass again")
        ctx.spent = True
        x_MTBI, weight_ih, weight_hh, gates, recurrent_n, hidden = ctx.saved_tensors
        M, T, B, S, H = hidden.shape
        fine = torch.promote_types(x_MTBI.dtype, torch.float32)
        grad_hidden = grad.to(hidden.dtype).contiguous().view((M, B, S, H) if ctx.last_only else hidden.shape)
        to_input = ctx.needs_input_grad[0]
        done = gru_whole_layer.backward(x_MTBI, weight_hh, gates, recurrent_n, hidden, grad_hidden, to_input=to_input)
        if done is None:
            way = Backward(
                gates=gates,
                recurrent_n=recurrent_n,
                hidden=hidden,
                grad_hidden=grad_hidden,
                grad_state=x_MTBI.new_empty(M * S, B, H),
                carried=x_MTBI.new_empty(M * S, B, H, dtype=fine),
                grad_recurrent=x_MTBI.new_empty(M * S, B, 3 * H),
                grad_bias=x_MTBI.new_zeros(M * S, 4 * H, dtype=fine),
            )
            grad_weight_hh = _run_backward(way, weight_hh)
            grad_gates_MJR = gates.view(M, T * B, S * 3 * H).transpose(1, 2)
            grad_weight_ih = _fine_product(grad_gates_MJR, x_MTBI.reshape(M, T * B, -1))
            done = grad_weight_ih, grad_weight_hh, way.grad_bias
        grad_weight_ih, grad_weight_hh, grad_bias_G4H = done
        grad_gates = gates.view(M, T * B, S * 3 * H)
        grad_x = _product(grad_gates, weight_ih).view(x_MTBI.shape) if to_input else None
        grad_bias = grad_bias_G4H.view(M, S, 4 * H)
        return (
            grad_x,
            grad_weight_ih.view(M, S, 3 * H, -1),
            grad_weight_hh.view(M, S, 3 * H, H),
            grad_bias[..., : 3 * H],
            torch.cat((grad_bias[..., : 2 * H], grad_bias[..., 3 * H :]), dim=-1),
            *(None, None),
        )


def gru_pairs(
    x_MTBI: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    last_only: bool,
    rounded: Rounded = (None, None),
) -> Tensor:
    """GRUPairs, which keeps nothing for a backward pass if grad mode is off."""
    tensors = [x_MTBI, weight_ih, weight_hh, bias_ih, bias_hh]
    if not torch.is_grad_enabled():  # a Function is told what its inputs require all the same
        tensors = [x.detach() for x in tensors]
    return GRUPairs.apply(*tensors, last_only, rounded)  # type: ignore[no-untyped-call]


def gru_pairs_by_torch(
    x_MTBI: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    last_only: bool,
    _rounded: Rounded = (None, None),
) -> Tensor:
    """The same as GRUPairs, by one call of torch.gru per group, which is cuDNN on a GPU, with copies of its own."""
    M, _, B, _ = x_MTBI.shape
    S, H = weight_hh.shape[1], weight_hh.shape[3]
    start_1BH = x_MTBI.new_zeros(1, B, H)
    sides: list[list[Tensor]] = [[] for _ in range(S)]
    for g in range(M * S):
        of_group = [parameter[g // S, g % S] for parameter in (weight_ih, weight_hh, bias_ih, bias_hh)]
        # In one piece and in this order, as cuDNN wants them; else it copies them itself, and PyTorch warns.
        packed = torch.cat([parameter.flatten() for parameter in of_group]).to(x_MTBI.dtype)
        parts = packed.split([parameter.numel() for parameter in of_group])
        weights = [part.view(parameter.shape) for part, parameter in zip(parts, of_group, strict=True)]
        hidden_TBH, _ = torch.gru(
            x_MTBI[g // S], start_1BH, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False
        )
        sides[g % S].append(hidden_TBH[-1].float() if last_only else hidden_TBH)
    return torch.cat([torch.stack(side) for side in sides], dim=-1)


def _frame_kernels(x: Tensor) -> ModuleType | None:
    """gru_frame_kernels.py, if Triton can run on x."""
    return None if x.dtype == torch.float64 else kernels("cmd_tune.model.encoders.gru_frame_kernels", x)


def _sequence_kernels(gates: Tensor) -> ModuleType | None:
    """gru_sequence_kernels.py, if Triton can run on the gates and a group's weights fit one multiprocessor."""
    if _frame_kernels(gates) is None:
        return None
    sequence = import_module("cmd_tune.model.encoders.gru_sequence_kernels")
    return sequence if sequence.has_room(gates) else None


def _product(a_MIJ: Tensor, b_MJK: Tensor) -> Tensor:
    """a·b. On a CPU in float32 each thread has rows of its own, which is faster than threads that share a product."""
    if a_MIJ.is_cuda or a_MIJ.dtype != torch.float32:
        return torch.bmm(a_MIJ, b_MJK)
    product_MIK = a_MIJ.new_empty(*a_MIJ.shape[:2], b_MJK.shape[2])

    @torch.no_grad()
    def rows(first: int, last: int) -> None:
        torch.bmm(a_MIJ[:, first:last], b_MJK, out=product_MIK[:, first:last])

    run_shared([partial(rows, *share) for share in shares(a_MIJ.shape[1])])
    return product_MIK


def _fine_product(a_MIJ: Tensor, b_MJK: Tensor, out: Tensor | None = None) -> Tensor:
    """a·b in float32 or finer; a GPU also sums in it."""
    fine = torch.promote_types(a_MIJ.dtype, torch.float32)
    if not a_MIJ.is_cuda:
        product = _product(a_MIJ, b_MJK)
        return product.to(fine) if out is None else out.copy_(product)
    return torch.bmm(a_MIJ, b_MJK, out=out) if a_MIJ.dtype == fine else torch.bmm(a_MIJ, b_MJK, fine, out=out)


def _run_forward(way: Forward, weight_hh: Tensor) -> None:
    """All frames of all groups, from a state of 0."""
    G, T = weight_hh.shape[0], way.gates.shape[1]
    weight_hh_t = weight_hh.transpose(1, 2)
    if not weight_hh.is_cuda:
        weight_hh_t = weight_hh_t.contiguous()

    def frames(groups: slice, step: Step) -> None:
        state, weight, recurrent = way.state[groups], weight_hh_t[groups], way.recurrent[groups]
        recurrent.zero_()
        way.carried[groups].zero_()
        for t in range(T):
            if t:
                torch.bmm(state, weight, out=recurrent)
            step(t)

    if sequence := _sequence_kernels(way.gates):
        sequence.forward(way, weight_hh)
    elif by_frame := _frame_kernels(way.gates):
        frames(slice(0, G), by_frame.forward_step(way))
    else:
        _over_groups(way, G, frames)


def _run_backward(way: Backward, weight_hh: Tensor) -> Tensor:
    """All frames of all groups, the last one first → the gradient of weight_hh, (M, S, 3H, H), in float32 at least."""
    M, T, B, S, H = way.hidden.shape
    grad_weight = torch.empty_like(weight_hh)

    def frames(groups: slice, step: Step) -> None:
        grad, weight, grad_state = way.grad_recurrent[groups], weight_hh[groups], way.grad_state[groups]
        grad_state.zero_()
        way.carried[groups].zero_()
        for t in range(T - 1, -1, -1):
            step(t)
            if t:
                torch.bmm(grad, weight, out=grad_state)

    def frames_and_weights(groups: slice, step: Step) -> None:
        frames(groups, step)
        for g in range(*groups.indices(M * S)):
            parts = (way.hidden, way.gates, way.recurrent_n)
            before, grad_rzn, grad_n = (x[g // S, :, :, g % S].flatten(0, 1) for x in parts)
            torch.mm(grad_rzn[B:, : 2 * H].t(), before[:-B], out=grad_weight[g, : 2 * H])
            torch.mm(grad_n[B:].t(), before[:-B], out=grad_weight[g, 2 * H :])

    if not (by_frame := _frame_kernels(way.gates)):
        _over_groups(way, M * S, frames_and_weights)
        return grad_weight.view(M, S, 3 * H, H).to(way.carried.dtype)
    if sequence := _sequence_kernels(way.gates):
        sequence.backward(way, weight_hh)
    else:
        frames(slice(0, M * S), by_frame.backward_step(way))
        by_frame.sum_bias_gradients(way)
    return _grad_weight_hh(way)


def _grad_weight_hh(way: Backward) -> Tensor:
    """The gradient of weight_hh from those of all frames, two products for all modalities' groups of a side."""
    M, _, B, S, H = way.hidden.shape
    grad_MS3HH = way.carried.new_empty(M, S, 3 * H, H)
    for s in range(S):
        before, grad_rzn, grad_n = (x[:, :, :, s].flatten(1, 2) for x in (way.hidden, way.gates, way.recurrent_n))
        _fine_product(grad_rzn[:, B:, : 2 * H].mT, before[:, :-B], out=grad_MS3HH[:, s, : 2 * H])
        _fine_product(grad_n[:, B:].mT, before[:, :-B], out=grad_MS3HH[:, s, 2 * H :])
    return grad_MS3HH


def _over_groups(way: Forward | Backward, groups: int, frames: Callable[[slice, Step], None]) -> None:
    """Run `frames` for all groups: by gru_gates.cpp, a share of the groups a thread, otherwise in one piece."""
    work = [(slice(*share), step) for share in shares(groups) if (step := way.native_step(*share))]
    if work:
        run_shared([partial(torch.no_grad()(frames), *share) for share in work])
    else:
        frames(slice(0, groups), way.step)
