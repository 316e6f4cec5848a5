"""A whole layer of GRU pairs of few hidden numbers on a CPU in float32: products, gates, all frames in one C++ call.

A product of 64 samples by 64 × 192 weights takes a tenth of a millisecond, of which a library's call, and the thread
that waits for Python's lock, are a good part; and what a frame writes stays in the cache for what the frame reads next.
M modality, T frame, B sample, I input, H hidden, S side of the pair, G group = M·S.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cmd_tune.compute.native import bind
from cmd_tune.compute.threads import run_shared, shares

_MOST_BYTES = 2**20  # of a group's weights: more do not stay in a core's cache beside what they are multiplied with


@dataclass(frozen=True)
class Forwarded:
    """What the forward pass of a layer gives; the last three are None if nothing is kept for a backward pass."""

    last: Tensor  # (M, B, S, H) h of the last frame
    hidden: Tensor | None  # (M, T, B, S, H) h of every frame; kept, or wanted
    gates: Tensor | None  # (M, T, B, S, 3H) r, z, n
    recurrent_n: Tensor | None  # (M, T, B, S, H) n's recurrent part


def forward(
    x_MTBI: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_G4H: Tensor, *, hidden: bool, keep: bool
) -> Forwarded | None:
    """All frames from a state of 0; None if gru_whole_layer.cpp cannot be used, or the weights are too large for it.

    weight_ih: (M, S·3H, I). weight_hh: (G, 3H, H). bias_G4H: as in gru_gates.Forward. All contiguous.
    """
    M, T, B, I = x_MTBI.shape
    G, H = weight_hh.shape[0], weight_hh.shape[2]
    if not _fits(x_MTBI, H):
        return None
    S = G // M
    result = Forwarded(
        last=x_MTBI.new_empty(M, B, S, H),
        hidden=x_MTBI.new_empty(M, T, B, S, H) if hidden or keep else None,
        gates=x_MTBI.new_empty(M, T, B, S, 3 * H) if keep else None,
        recurrent_n=x_MTBI.new_empty(M, T, B, S, H) if keep else None,
    )
    tensors = (x_MTBI, weight_ih, weight_hh, bias_G4H, result.last, result.hidden, result.gates, result.recurrent_n)
    return result if _run("layer_forward", (T, B, I, H), tensors, G) else None


def backward(
    x_MTBI: Tensor,
    weight_hh: Tensor,
    gates: Tensor,
    recurrent_n: Tensor,
    hidden: Tensor,
    grad_hidden: Tensor,
    *,
    to_input: bool,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Gradients of weight_ih, (G, 3H, I), of weight_hh and of bias_G4H.

    to_input: the gradient of the input products overwrites the gates; otherwise it is not kept.
    grad_hidden: (M, T, B, S, H), or (M, B, S, H) of the last frame, if nothing else was used. None: see `forward`.
    """
    T, B, I = x_MTBI.shape[1:]
    G, H = weight_hh.shape[0], weight_hh.shape[2]
    if not _fits(x_MTBI, H):
        return None
    grad_weight_ih, grad_weight_hh = x_MTBI.new_empty(G, 3 * H, I), torch.empty_like(weight_hh)
    grad_bias = x_MTBI.new_empty(G, 4 * H)
    tensors = (x_MTBI, weight_hh, hidden, recurrent_n, grad_hidden, gates, grad_weight_ih, grad_weight_hh, grad_bias)
    ran = _run("layer_backward", (T, B, I, H, grad_hidden.ndim == 4, to_input), tensors, G)
    return (grad_weight_ih, grad_weight_hh, grad_bias) if ran else None


def _fits(x_MTBI: Tensor, hidden: int) -> bool:
    of_float32_on_a_cpu = x_MTBI.is_cpu and x_MTBI.dtype == torch.float32
    return of_float32_on_a_cpu and 4 * 3 * hidden * (x_MTBI.shape[3] + hidden) <= _MOST_BYTES


def _run(function: str, sizes: tuple[int, ...], tensors: tuple[Tensor | None, ...], groups: int) -> bool:
    """Whether the function could be called; every thread has some of the groups."""
    assert tensors[0] is not None
    call = bind(function, tensors[0].dtype, sizes, tensors)
    if call is None:
        return False
    run_shared([partial(call, *share) for share in shares(groups)])
    return True
