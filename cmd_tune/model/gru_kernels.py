"""A frame of many GRUs as one Triton kernel, forward and backward: recurrent product, gates and state together.

A program has some samples and some hidden units of one group: it sums their three products over the frame before,
then does for them what gates.cpp does. So a frame is one launch, reads its weights once, and leaves nothing between
product and gates. Frames follow one another as launches, which a CUDA graph makes cheap (recurrence.py).
M modality, T frame, B sample, S side of the pair, H hidden, G group = M·S, K what a product is summed over.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmd_tune.model.gates import Backward, Forward


def forward_frames(way: Forward, weight_hh: Tensor) -> None:
    """All frames of all groups. weight_hh: (G, 3H, H); way.hidden must be there, since frames read it."""
    M, T, B, S, X = way.gates.shape
    H = X // 3
    grid, blocks = _tiles(way.gates.dtype, M * S, B, H)
    kept = way.gates if way.recurrent_n is None else way.recurrent_n  # a pointer, unused where nothing is kept
    for t in range(T):
        _forward_frame[grid](
            *(way.gates, weight_hh, way.bias, way.carried, way.hidden, kept, t, T, B, S, H),
            keep=way.recurrent_n is not None,
            **blocks,
        )


def backward_frames(way: Backward, weight_hh: Tensor) -> None:
    """All frames of all groups, last to first, and the bias gradients. weight_hh: (G, 3H, H)."""
    M, T, B, S, H = way.hidden.shape
    grid, blocks = _tiles(way.gates.dtype, M * S, B, H)
    for t in range(T - 1, -1, -1):
        _backward_frame[grid](
            *(way.gates, way.recurrent_n, weight_hh, way.hidden, way.grad_hidden, way.carried, t, T, B, S, H),
            last_only=way.last_only,
            **blocks,
        )
    fine = way.grad_bias.dtype
    way.grad_bias[:, : 3 * H] = way.gates.sum((1, 2), dtype=fine).flatten(0, 1)
    way.grad_bias[:, 3 * H :] = way.recurrent_n.sum((1, 2), dtype=fine).flatten(0, 1)


def _tiles(dtype: torch.dtype, groups: int, batch: int, width: int) -> tuple[tuple[int, int, int], dict[str, object]]:
    """The grid, and what each program has: a warp group's 64 samples at most, 32 units."""
    samples, units = min(64, max(16, triton.next_power_of_2(batch))), 32
    exact = dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    blocks = {
        "samples": samples,
        "units": units,
        "terms": 64 if dtype == torch.bfloat16 else 32,
        "precision": "ieee" if exact else "tf32",
        "num_warps": 4,
        "num_stages": 4 if dtype == torch.bfloat16 else 3,
    }
    return (triton.cdiv(width, units), triton.cdiv(batch, samples), groups), blocks


@triton.jit
def _exp_minus_1(x):  # type: ignore[no-untyped-def]
    """gates.cpp's: e^x − 1 for |x| ≤ 87, as 2^k·(e^r − 1) + (2^k − 1)."""
    shifted = x * 1.44269504 + 12582912.0
    k = shifted - 12582912.0
    r = x - k * 0.693145752 - k * 1.42860677e-6
    p = r * 1.98412698e-4 + 1.38888889e-3
    p = p * r + 8.33333333e-3
    p = p * r + 4.16666667e-2
    p = p * r + 1.66666667e-1
    p = p * r + 0.5
    p = p * r * r + r
    scale = ((shifted.to(tl.int32, bitcast=True) << 23) + 0x3F800000).to(tl.float32, bitcast=True)
    return scale * p + (scale - 1.0)


@triton.jit
def _bounded(x, bound):  # type: ignore[no-untyped-def]
    """x within ± bound; what is not a number stays so."""
    return tl.where(x < -bound, -bound, tl.where(x > bound, bound, x))


@triton.jit
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return 1.0 / (2.0 + _exp_minus_1(_bounded(-x, 80.0)))


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    e = _exp_minus_1(_bounded(2.0 * x, 20.0))
    return e / (e + 2.0)


@triton.jit(do_not_specialize=["t"])  # type: ignore[untyped-decorator]
def _forward_frame(  # type: ignore[no-untyped-def]
    gates,  # (M, T, B, S, 3H) input products; with keep, the frame's r, z, n afterwards
    weight,  # (G, 3H, H)
    bias,  # (G, 4H) of r and z, of n's input, of n's recurrent part
    carried,  # (G, B, H) h, float32
    hidden,  # (M, T, B, S, H) h of every frame; those before t are there
    recurrent_n,  # (M, T, B, S, H) n's recurrent part, with keep
    t,
    T,
    B,
    S,
    H,
    keep: tl.constexpr,
    samples: tl.constexpr,
    units: tl.constexpr,
    terms: tl.constexpr,
    precision: tl.constexpr,
):
    """Frame t: r, z, n and h of some units of some samples of a group."""
    g = tl.program_id(2)
    unit = tl.program_id(0) * units + tl.arange(0, units)
    sample = tl.program_id(1) * samples + tl.arange(0, samples)
    row = (((g // S).to(tl.int64) * T + t) * B + sample) * S + g % S
    before = row - B * S
    r = tl.zeros((samples, units), tl.float32)
    z = tl.zeros((samples, units), tl.float32)
    from_h = tl.zeros((samples, units), tl.float32)
    if t > 0:
        for first in range(0, H, terms):
            term = first + tl.arange(0, terms)
            h = tl.load(
                hidden + before[:, None] * H + term[None, :],
                mask=(sample[:, None] < B) & (term[None, :] < H),
                other=0.0,
            )
            of_r = weight + (g.to(tl.int64) * 3 * H + unit[None, :]) * H + term[:, None]
            there = (unit[None, :] < H) & (term[:, None] < H)
            r = tl.dot(h, tl.load(of_r, mask=there, other=0.0), r, input_precision=precision)
            z = tl.dot(h, tl.load(of_r + H * H, mask=there, other=0.0), z, input_precision=precision)
            from_h = tl.dot(h, tl.load(of_r + 2 * H * H, mask=there, other=0.0), from_h, input_precision=precision)

    there = (sample[:, None] < B) & (unit[None, :] < H)
    at = row[:, None] * H + unit[None, :]
    gate = gates + row[:, None] * 3 * H + unit[None, :]
    of_unit = bias + g * 4 * H + unit
    held = unit < H
    r += tl.load(of_unit, mask=held, other=0.0)[None, :] + tl.load(gate, mask=there, other=0.0).to(tl.float32)
    z += tl.load(of_unit + H, mask=held, other=0.0)[None, :] + tl.load(gate + H, mask=there, other=0.0).to(tl.float32)
    from_h += tl.load(of_unit + 3 * H, mask=held, other=0.0)[None, :]
    n = tl.load(of_unit + 2 * H, mask=held, other=0.0)[None, :] + tl.load(gate + 2 * H, mask=there, other=0.0).to(
        tl.float32
    )
    r, z = _sigmoid(r), _sigmoid(z)
    n = _tanh(n + r * from_h)
    state = carried + (g.to(tl.int64) * B + sample)[:, None] * H + unit[None, :]
    h = n + z * (tl.load(state, mask=there, other=0.0) - n)
    tl.store(state, h, mask=there)
    tl.store(hidden + at, h.to(hidden.dtype.element_ty), mask=there)
    if keep:
        tl.store(gate, r.to(gates.dtype.element_ty), mask=there)
        tl.store(gate + H, z.to(gates.dtype.element_ty), mask=there)
        tl.store(gate + 2 * H, n.to(gates.dtype.element_ty), mask=there)
        tl.store(recurrent_n + at, from_h.to(gates.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _add_product(  # type: ignore[no-untyped-def]
    product, rows, columns, count, sample, unit, B, H, terms: tl.constexpr, precision: tl.constexpr
):
    """Adds the product of `count` terms: rows (samples, 1) and columns (1, units) point to the first of each."""
    for first in range(0, count, terms):
        term = first + tl.arange(0, terms)
        row = tl.load(rows + term[None, :], mask=(sample[:, None] < B) & (term[None, :] < count), other=0.0)
        column = tl.load(columns + term[:, None] * H, mask=(term[:, None] < count) & (unit[None, :] < H), other=0.0)
        product = tl.dot(row, column, product, input_precision=precision)
    return product


@triton.jit(do_not_specialize=["t"])  # type: ignore[untyped-decorator]
def _backward_frame(  # type: ignore[no-untyped-def]
    gates,  # (M, T, B, S, 3H) r, z, n; of frames after t, and of t afterwards, the gradient of the input products
    recurrent_n,  # (M, T, B, S, H) n's recurrent part; likewise its gradient
    weight,  # (G, 3H, H)
    hidden,  # (M, T, B, S, H)
    grad_hidden,  # (M, T, B, S, H), or (M, B, S, H) of the last frame with last_only
    carried,  # (G, B, H) what the frame after says of h past its product, float32
    t,
    T,
    B,
    S,
    H,
    last_only: tl.constexpr,
    samples: tl.constexpr,
    units: tl.constexpr,
    terms: tl.constexpr,
    precision: tl.constexpr,
):
    """Frame t: gradients of r, z, n and h of some units of some samples of a group."""
    g = tl.program_id(2)
    unit = tl.program_id(0) * units + tl.arange(0, units)
    sample = tl.program_id(1) * samples + tl.arange(0, samples)
    row = (((g // S).to(tl.int64) * T + t) * B + sample) * S + g % S
    there = (sample[:, None] < B) & (unit[None, :] < H)
    state = carried + (g.to(tl.int64) * B + sample)[:, None] * H + unit[None, :]
    grad_h = tl.load(state, mask=there, other=0.0)
    if t < T - 1:
        after = row + B * S
        product = tl.zeros((samples, units), tl.float32)
        of_unit = weight + g.to(tl.int64) * 3 * H * H + unit[None, :]
        of_rz = gates + after[:, None] * 3 * H
        product = _add_product(product, of_rz, of_unit, 2 * H, sample, unit, B, H, terms, precision)
        of_n = recurrent_n + after[:, None] * H
        product = _add_product(product, of_n, of_unit + 2 * H * H, H, sample, unit, B, H, terms, precision)
        grad_h += product

    at = row[:, None] * H + unit[None, :]
    if last_only:
        if t == T - 1:
            pulled = ((g // S).to(tl.int64) * B + sample) * S + g % S
            pull = tl.load(grad_hidden + pulled[:, None] * H + unit[None, :], mask=there, other=0.0)
            grad_h += pull.to(tl.float32)
    else:
        grad_h += tl.load(grad_hidden + at, mask=there, other=0.0).to(tl.float32)
    gate = gates + row[:, None] * 3 * H + unit[None, :]
    r = tl.load(gate, mask=there, other=0.0).to(tl.float32)
    z = tl.load(gate + H, mask=there, other=0.0).to(tl.float32)
    n = tl.load(gate + 2 * H, mask=there, other=0.0).to(tl.float32)
    from_h = tl.load(recurrent_n + at, mask=there, other=0.0).to(tl.float32)
    h_before = tl.zeros((samples, units), tl.float32)
    if t > 0:
        h_before += tl.load(hidden + at - B * S * H, mask=there, other=0.0).to(tl.float32)
    grad_n = grad_h * (1 - z) * (1 - n * n)
    grad_r = grad_n * from_h * r * (1 - r)
    grad_z = grad_h * (h_before - n) * z * (1 - z)
    tl.store(gate, grad_r.to(gates.dtype.element_ty), mask=there)
    tl.store(gate + H, grad_z.to(gates.dtype.element_ty), mask=there)
    tl.store(gate + 2 * H, grad_n.to(gates.dtype.element_ty), mask=there)
    tl.store(recurrent_n + at, (grad_n * r).to(gates.dtype.element_ty), mask=there)
    tl.store(state, grad_h * z, mask=there)
