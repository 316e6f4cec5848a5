"""One frame of many GRUs as Triton kernels, forward and backward: what gru_gates.cpp does on a CPU.

The recurrent product of all groups is one batched product of cuBLAS, which reads the weights as fast as the card can;
then one kernel does the rest of the frame. Every frame is a few launches, which a CUDA graph makes cheap
(train/step.py, gru_dispatch.py).
M modality, T frame, B sample, S side of the pair, H hidden, G group = M·S.
"""

import triton
import triton.language as tl

from cmd_tune.model.encoders.gru_gates import Backward, Forward, Step

FORWARD_BLOCK, BACKWARD_BLOCK = 512, 256  # values per program; the best of 256 to 2048 on an H200


def forward_step(way: Forward) -> Step:
    """Forward.step by a kernel."""
    M, T, B, S, X = way.gates.shape
    H = X // 3
    # A kernel needs some pointer even if nothing is kept; it does not use it then.
    kept = way.gates if way.recurrent_n is None else way.recurrent_n
    hidden = way.gates if way.hidden is None else way.hidden

    def step(t: int) -> None:
        _forward_frame[(triton.cdiv(B * H, FORWARD_BLOCK), M * S)](
            *(way.gates, way.recurrent, way.bias, way.carried, way.state, hidden, kept, t, T, B, S, H),
            keep=way.recurrent_n is not None,
            keep_hidden=way.hidden is not None,
            block=FORWARD_BLOCK,
        )

    return step


def backward_step(way: Backward) -> Step:
    """Backward.step by a kernel, but for the bias gradients, which `sum_bias_gradients` takes of all frames at once."""
    M, T, B, S, H = way.hidden.shape

    def step(t: int) -> None:
        _backward_frame[(triton.cdiv(B * H, BACKWARD_BLOCK), M * S)](
            *(way.gates, way.recurrent_n, way.hidden, way.grad_hidden, way.grad_state, way.carried),
            *(way.grad_recurrent, t, T, B, S, H),
            last_only=way.last_only,
            block=BACKWARD_BLOCK,
        )

    return step


def sum_bias_gradients(way: Backward) -> None:
    """Sums over frames and samples of what the backward steps wrote."""
    H, fine = way.hidden.shape[-1], way.grad_bias.dtype
    way.grad_bias[:, : 3 * H] = way.gates.sum((1, 2), dtype=fine).flatten(0, 1)
    way.grad_bias[:, 3 * H :] = way.recurrent_n.sum((1, 2), dtype=fine).flatten(0, 1)


@triton.jit
def _exp_minus_1(x):  # type: ignore[no-untyped-def]
    """gru_gates.cpp's: e^x − 1 for |x| ≤ 87, as 2^k·(e^r − 1) + (2^k − 1)."""
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
    recurrent,  # (G, B, 3H) the frame before's h, times the recurrent weights; not read in frame 0
    bias,  # (G, 4H) of r and z, of n's input, of n's recurrent part
    carried,  # (G, B, H) h, float32
    state,  # (G, B, H) h as the next product's operand
    hidden,  # (M, T, B, S, H) h of every frame, with keep_hidden
    recurrent_n,  # (M, T, B, S, H) n's recurrent part, with keep
    t,
    T,
    B,
    S,
    H,
    keep: tl.constexpr,
    keep_hidden: tl.constexpr,
    block: tl.constexpr,
):
    """Frame t: r, z, n and h of a block of a group's samples and units."""
    g = tl.program_id(1)
    i = tl.program_id(0) * block + tl.arange(0, block)
    sample, unit = i // H, i % H
    there = sample < B
    row = (((g // S).to(tl.int64) * T + t) * B + sample) * S + g % S
    gate = gates + row * 3 * H + unit
    of_unit = bias + g * 4 * H + unit
    r = tl.load(gate, mask=there, other=0.0).to(tl.float32) + tl.load(of_unit, mask=there, other=0.0)
    z = tl.load(gate + H, mask=there, other=0.0).to(tl.float32) + tl.load(of_unit + H, mask=there, other=0.0)
    n = tl.load(gate + 2 * H, mask=there, other=0.0).to(tl.float32) + tl.load(of_unit + 2 * H, mask=there, other=0.0)
    from_h = tl.load(of_unit + 3 * H, mask=there, other=0.0)
    if t > 0:
        product = recurrent + (g.to(tl.int64) * B + sample) * 3 * H + unit
        r += tl.load(product, mask=there, other=0.0).to(tl.float32)
        z += tl.load(product + H, mask=there, other=0.0).to(tl.float32)
        from_h += tl.load(product + 2 * H, mask=there, other=0.0).to(tl.float32)
    r, z = _sigmoid(r), _sigmoid(z)
    n = _tanh(n + r * from_h)
    at = (g.to(tl.int64) * B + sample) * H + unit
    h = n + z * (tl.load(carried + at, mask=there, other=0.0) - n)
    tl.store(carried + at, h, mask=there)
    tl.store(state + at, h.to(state.dtype.element_ty), mask=there)
    if keep_hidden:
        tl.store(hidden + row * H + unit, h.to(hidden.dtype.element_ty), mask=there)
    if keep:
        tl.store(gate, r.to(gates.dtype.element_ty), mask=there)
        tl.store(gate + H, z.to(gates.dtype.element_ty), mask=there)
        tl.store(gate + 2 * H, n.to(gates.dtype.element_ty), mask=there)
        tl.store(recurrent_n + row * H + unit, from_h.to(gates.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["t"])  # type: ignore[untyped-decorator]
def _backward_frame(  # type: ignore[no-untyped-def]
    gates,  # (M, T, B, S, 3H) r, z, n; afterwards the gradient of the input products
    recurrent_n,  # (M, T, B, S, H) n's recurrent part; afterwards its gradient
    hidden,  # (M, T, B, S, H)
    grad_hidden,  # (M, T, B, S, H), or (M, B, S, H) of the last frame with last_only
    grad_state,  # (G, B, H) grad_recurrent of the frame after, times the recurrent weights; not read in the last frame
    carried,  # (G, B, H) what the frame after says of h past its product, float32
    grad_recurrent,  # (G, B, 3H) of this frame's recurrent products
    t,
    T,
    B,
    S,
    H,
    last_only: tl.constexpr,
    block: tl.constexpr,
):
    """Frame t: gradients of r, z, n and h of a block of a group's samples and units."""
    g = tl.program_id(1)
    i = tl.program_id(0) * block + tl.arange(0, block)
    sample, unit = i // H, i % H
    there = sample < B
    row = (((g // S).to(tl.int64) * T + t) * B + sample) * S + g % S
    at = (g.to(tl.int64) * B + sample) * H + unit
    to = row * H + unit
    grad_h = tl.load(carried + at, mask=there, other=0.0)
    if t < T - 1:
        grad_h += tl.load(grad_state + at, mask=there, other=0.0).to(tl.float32)
    if last_only:
        if t == T - 1:
            pulled = ((g // S).to(tl.int64) * B + sample) * S + g % S
            grad_h += tl.load(grad_hidden + pulled * H + unit, mask=there, other=0.0).to(tl.float32)
    else:
        grad_h += tl.load(grad_hidden + to, mask=there, other=0.0).to(tl.float32)
    gate = gates + row * 3 * H + unit
    r = tl.load(gate, mask=there, other=0.0).to(tl.float32)
    z = tl.load(gate + H, mask=there, other=0.0).to(tl.float32)
    n = tl.load(gate + 2 * H, mask=there, other=0.0).to(tl.float32)
    from_h = tl.load(recurrent_n + to, mask=there, other=0.0).to(tl.float32)
    h_before = tl.zeros((block,), tl.float32)
    if t > 0:
        h_before += tl.load(hidden + to - B * S * H, mask=there, other=0.0).to(tl.float32)
    grad_n = grad_h * (1 - z) * (1 - n * n)
    grad_r = grad_n * from_h * r * (1 - r)
    grad_z = grad_h * (h_before - n) * z * (1 - z)
    grad_from_h = grad_n * r
    kind = gates.dtype.element_ty
    tl.store(gate, grad_r.to(kind), mask=there)
    tl.store(gate + H, grad_z.to(kind), mask=there)
    tl.store(gate + 2 * H, grad_n.to(kind), mask=there)
    tl.store(recurrent_n + to, grad_from_h.to(kind), mask=there)
    product = grad_recurrent + (g.to(tl.int64) * B + sample) * 3 * H + unit
    tl.store(product, grad_r.to(kind), mask=there)
    tl.store(product + H, grad_z.to(kind), mask=there)
    tl.store(product + 2 * H, grad_from_h.to(kind), mask=there)
    tl.store(carried + at, grad_h * z, mask=there)
