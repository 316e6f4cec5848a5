"""All frames of many small GRUs as one Triton kernel, forward and backward; gru_frame_kernels.py does one frame.

A sample's states depend on no other sample. If a group's recurrent weights fit one multiprocessor, one program takes a
block of a group's samples through all frames, with weights and state in its memory, and no frame waits for a launch.
The next frame's values are loaded while a frame is computed.
M modality, T frame, B sample, S side of the pair, H hidden, G group = M·S, N sample of a block, U unit of a tile: H or
more, what is past H being 0.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from cmd_tune.model.encoders.gru_frame_kernels import _sigmoid, _tanh
from cmd_tune.model.encoders.gru_gates import Backward, Forward

BLOCK = 16  # samples per program: the fewest rows that a tensor core multiplies
SIZES = {torch.bfloat16: 128, torch.float32: 64}  # the largest H: past it, kernels spill registers or lack memory


def has_room(gates: Tensor) -> bool:
    """Whether layers with such gates, (…, 3H), fit one multiprocessor."""
    H = gates.shape[-1] // 3
    if SIZES.get(gates.dtype, 0) < H:
        return False
    return not gates.is_cuda or shared_bytes(H, gates.dtype) <= _shared_memory(gates.get_device())


def shared_bytes(H: int, dtype: torch.dtype) -> int:
    """The most shared memory that a program needs: the weights, and room to pass tiles from thread to thread."""
    return 3 * _units(H) ** 2 * dtype.itemsize + 3 * BLOCK * _units(H) * 4


def forward(way: Forward, weight_hh_G3HH: Tensor) -> None:
    """All frames of Forward.step and of the products between them. `recurrent` and `state` are not used."""
    M, T, B, S, X = way.gates.shape
    H = X // 3
    weight_G_H3H = weight_hh_G3HH.transpose(1, 2)
    if way.gates.dtype == torch.float32:  # products without tensor cores are four times as fast along the rows
        weight_G_H3H = weight_G_H3H.contiguous()
    # A kernel needs some pointer even if nothing is kept; it does not use it then.
    kept = way.gates if way.recurrent_n is None else way.recurrent_n
    hidden = way.gates if way.hidden is None else way.hidden
    _forward[(triton.cdiv(B, BLOCK), M * S)](
        *(way.gates, weight_G_H3H, way.bias, way.carried, hidden, kept, T, B, S, *weight_G_H3H.stride()),
        H=H,
        keep=way.recurrent_n is not None,
        keep_hidden=way.hidden is not None,
        **_constants(H, way.gates.dtype),
    )


def backward(way: Backward, weight_hh_G3HH: Tensor) -> None:
    """All frames of Backward.step and the products between them.

    `grad_state`, `carried` and `grad_recurrent` are not used.
    """
    M, T, B, S, H = way.hidden.shape
    blocks = triton.cdiv(B, BLOCK)
    grad_bias = way.grad_bias.new_empty(blocks, M * S, 4 * H)
    _backward[(blocks, M * S)](
        *(way.gates, weight_hh_G3HH, way.recurrent_n, way.hidden, way.grad_hidden, grad_bias, T, B, S),
        H=H,
        last_only=way.last_only,
        **_constants(H, way.gates.dtype),
    )
    torch.sum(grad_bias, 0, out=way.grad_bias)


@cache
def _shared_memory(device: int) -> int:
    """The most that a program may have on a GPU, in bytes."""
    properties = triton.runtime.driver.active.utils.get_device_properties(device)
    return int(properties["max_shared_mem"])


def _units(H: int) -> int:
    return max(16, triton.next_power_of_2(H))


def _constants(H: int, dtype: torch.dtype) -> dict[str, int | str]:
    """Tiles, products and threads of a kernel: a thread has 4 values of a tile."""
    exact = dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    units = _units(H)
    return {
        "block": BLOCK,
        "units": units,
        "precision": "ieee" if exact else "tf32",
        "num_warps": BLOCK * units // (4 * 32),
        "num_stages": 1,
    }


@triton.jit(do_not_specialize=["T"])  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    gates,  # (M, T, B, S, 3H) input products; with keep, r, z, n afterwards
    weight,  # (G, H, 3H) recurrent weights, transposed
    bias,  # (G, 4H) of r and z, of n's input, of n's recurrent part
    carried,  # (G, B, H) the last frame's h afterwards, float32
    hidden,  # (M, T, B, S, H) h of every frame, with keep_hidden
    recurrent_n,  # (M, T, B, S, H) n's recurrent part, with keep
    T,
    B,
    S,
    of_group_stride,  # of the weights
    of_h_stride,
    of_gate_stride,
    H: tl.constexpr,
    keep: tl.constexpr,
    keep_hidden: tl.constexpr,
    block: tl.constexpr,
    units: tl.constexpr,
    precision: tl.constexpr,
):
    """All frames of a block of a group's samples."""
    kind = gates.dtype.element_ty
    g = tl.program_id(1)
    sample_N = tl.program_id(0) * block + tl.arange(0, block)
    unit_U = tl.arange(0, units)
    of_group = unit_U < H
    there = (sample_N < B)[:, None] & of_group[None, :]
    row = ((g // S).to(tl.int64) * T * B) * S + g % S  # of frame 0 and sample 0
    gate = gates + row * 3 * H
    to = row * H
    gate_NU = (sample_N * S * 3 * H)[:, None] + unit_U[None, :]
    to_NU = (sample_N * S * H)[:, None] + unit_U[None, :]

    of_unit = bias + g * 4 * H + unit_U
    bias_r_U = tl.load(of_unit, mask=of_group, other=0.0)[None, :]
    bias_z_U = tl.load(of_unit + H, mask=of_group, other=0.0)[None, :]
    bias_n_U = tl.load(of_unit + 2 * H, mask=of_group, other=0.0)[None, :]
    bias_from_h_U = tl.load(of_unit + 3 * H, mask=of_group, other=0.0)[None, :]
    square = of_group[:, None] & of_group[None, :]
    weight_UU = weight + g * of_group_stride + (unit_U * of_h_stride)[:, None] + (unit_U * of_gate_stride)[None, :]
    weight_r_UU = tl.load(weight_UU, mask=square, other=0.0)
    weight_z_UU = tl.load(weight_UU + H * of_gate_stride, mask=square, other=0.0)
    weight_n_UU = tl.load(weight_UU + 2 * H * of_gate_stride, mask=square, other=0.0)

    h_NU = tl.zeros((block, units), tl.float32)
    next_r_NU = tl.load(gate + gate_NU, mask=there, other=0.0)
    next_z_NU = tl.load(gate + H + gate_NU, mask=there, other=0.0)
    next_n_NU = tl.load(gate + 2 * H + gate_NU, mask=there, other=0.0)
    for t in range(T):
        input_r_NU, input_z_NU, input_n_NU = next_r_NU, next_z_NU, next_n_NU
        ahead = gate + B * S * 3 * H
        more = there & (t + 1 < T)
        next_r_NU = tl.load(ahead + gate_NU, mask=more, other=0.0)
        next_z_NU = tl.load(ahead + H + gate_NU, mask=more, other=0.0)
        next_n_NU = tl.load(ahead + 2 * H + gate_NU, mask=more, other=0.0)

        state_NU = h_NU.to(kind)
        r_NU = tl.dot(state_NU, weight_r_UU, input_precision=precision)
        z_NU = tl.dot(state_NU, weight_z_UU, input_precision=precision)
        from_h_NU = tl.dot(state_NU, weight_n_UU, input_precision=precision) + bias_from_h_U
        r_NU = _sigmoid(r_NU + (input_r_NU.to(tl.float32) + bias_r_U))
        z_NU = _sigmoid(z_NU + (input_z_NU.to(tl.float32) + bias_z_U))
        n_NU = _tanh((input_n_NU.to(tl.float32) + bias_n_U) + r_NU * from_h_NU)
        h_NU = n_NU + z_NU * (h_NU - n_NU)
        if keep_hidden:
            tl.store(hidden + to + to_NU, h_NU.to(kind), mask=there)
        if keep:
            tl.store(gate + gate_NU, r_NU.to(kind), mask=there)
            tl.store(gate + H + gate_NU, z_NU.to(kind), mask=there)
            tl.store(gate + 2 * H + gate_NU, n_NU.to(kind), mask=there)
            tl.store(recurrent_n + to + to_NU, from_h_NU.to(kind), mask=there)
        gate = ahead
        to += B * S * H
    at_NU = (g.to(tl.int64) * B + sample_N)[:, None] * H + unit_U[None, :]
    tl.store(carried + at_NU, h_NU, mask=there)


@triton.jit(do_not_specialize=["T"])  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    gates,  # (M, T, B, S, 3H) r, z, n; afterwards the gradient of the input products
    weight,  # (G, 3H, H) recurrent weights
    recurrent_n,  # (M, T, B, S, H) n's recurrent part; afterwards its gradient
    hidden,  # (M, T, B, S, H)
    grad_hidden,  # (M, T, B, S, H), or (M, B, S, H) of the last frame with last_only
    grad_bias,  # (blocks of samples, G, 4H) of r, z, n's input, n's recurrent part
    T,
    B,
    S,
    H: tl.constexpr,
    last_only: tl.constexpr,
    block: tl.constexpr,
    units: tl.constexpr,
    precision: tl.constexpr,
):
    """All frames of a block of a group's samples, the last one first."""
    kind = gates.dtype.element_ty
    g = tl.program_id(1)
    sample_N = tl.program_id(0) * block + tl.arange(0, block)
    unit_U = tl.arange(0, units)
    of_group = unit_U < H
    there = (sample_N < B)[:, None] & of_group[None, :]
    row = ((g // S).to(tl.int64) * T + T - 1) * B * S + g % S  # of the last frame and sample 0
    gate = gates + row * 3 * H
    to = row * H
    gate_NU = (sample_N * S * 3 * H)[:, None] + unit_U[None, :]
    to_NU = (sample_N * S * H)[:, None] + unit_U[None, :]

    square = of_group[:, None] & of_group[None, :]
    weight_UU = weight + g * 3 * H * H + (unit_U * H)[:, None] + unit_U[None, :]
    weight_r_UU = tl.load(weight_UU, mask=square, other=0.0)
    weight_z_UU = tl.load(weight_UU + H * H, mask=square, other=0.0)
    weight_n_UU = tl.load(weight_UU + 2 * H * H, mask=square, other=0.0)

    if last_only:
        pulled = ((g // S).to(tl.int64) * B * S + g % S) * H
        grad_h_NU = tl.load(grad_hidden + pulled + to_NU, mask=there, other=0.0).to(tl.float32)
    else:
        grad_h_NU = tl.zeros((block, units), tl.float32)
        next_pull_NU = tl.load(grad_hidden + to + to_NU, mask=there, other=0.0)
    next_r_NU = tl.load(gate + gate_NU, mask=there, other=0.0)
    next_z_NU = tl.load(gate + H + gate_NU, mask=there, other=0.0)
    next_n_NU = tl.load(gate + 2 * H + gate_NU, mask=there, other=0.0)
    next_from_h_NU = tl.load(recurrent_n + to + to_NU, mask=there, other=0.0)
    next_h_NU = tl.load(hidden + to - B * S * H + to_NU, mask=there & (T > 1), other=0.0)
    sum_r_NU = tl.zeros((block, units), tl.float32)
    sum_z_NU = tl.zeros((block, units), tl.float32)
    sum_n_NU = tl.zeros((block, units), tl.float32)
    sum_from_h_NU = tl.zeros((block, units), tl.float32)
    for i in range(T):
        r_NU, z_NU, n_NU = next_r_NU.to(tl.float32), next_z_NU.to(tl.float32), next_n_NU.to(tl.float32)
        from_h_NU, h_before_NU = next_from_h_NU.to(tl.float32), next_h_NU.to(tl.float32)
        gate_ahead = gate - B * S * 3 * H
        ahead = to - B * S * H
        more = there & (i + 1 < T)
        if not last_only:
            grad_h_NU += next_pull_NU.to(tl.float32)
            next_pull_NU = tl.load(grad_hidden + ahead + to_NU, mask=more, other=0.0)
        next_r_NU = tl.load(gate_ahead + gate_NU, mask=more, other=0.0)
        next_z_NU = tl.load(gate_ahead + H + gate_NU, mask=more, other=0.0)
        next_n_NU = tl.load(gate_ahead + 2 * H + gate_NU, mask=more, other=0.0)
        next_from_h_NU = tl.load(recurrent_n + ahead + to_NU, mask=more, other=0.0)
        next_h_NU = tl.load(hidden + ahead - B * S * H + to_NU, mask=there & (i + 2 < T), other=0.0)

        grad_n_NU = grad_h_NU * (1 - z_NU) * (1 - n_NU * n_NU)
        grad_r_NU = grad_n_NU * from_h_NU * r_NU * (1 - r_NU)
        grad_z_NU = grad_h_NU * (h_before_NU - n_NU) * z_NU * (1 - z_NU)
        grad_from_h_NU = grad_n_NU * r_NU
        sum_r_NU += grad_r_NU
        sum_z_NU += grad_z_NU
        sum_n_NU += grad_n_NU
        sum_from_h_NU += grad_from_h_NU
        stored_r_NU, stored_z_NU, stored_from_h_NU = grad_r_NU.to(kind), grad_z_NU.to(kind), grad_from_h_NU.to(kind)
        grad_h_NU = tl.dot(stored_r_NU, weight_r_UU, grad_h_NU * z_NU, input_precision=precision)
        grad_h_NU = tl.dot(stored_z_NU, weight_z_UU, grad_h_NU, input_precision=precision)
        grad_h_NU = tl.dot(stored_from_h_NU, weight_n_UU, grad_h_NU, input_precision=precision)
        tl.store(gate + gate_NU, stored_r_NU, mask=there)
        tl.store(gate + H + gate_NU, stored_z_NU, mask=there)
        tl.store(gate + 2 * H + gate_NU, grad_n_NU.to(kind), mask=there)
        tl.store(recurrent_n + to + to_NU, stored_from_h_NU, mask=there)
        gate = gate_ahead
        to = ahead
    of_unit = grad_bias + (tl.program_id(0) * tl.num_programs(1) + g) * 4 * H + unit_U
    tl.store(of_unit, tl.sum(sum_r_NU, 0), mask=of_group)
    tl.store(of_unit + H, tl.sum(sum_z_NU, 0), mask=of_group)
    tl.store(of_unit + 2 * H, tl.sum(sum_n_NU, 0), mask=of_group)
    tl.store(of_unit + 3 * H, tl.sum(sum_from_h_NU, 0), mask=of_group)
