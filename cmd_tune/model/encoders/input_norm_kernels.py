"""The input norm of a training step as Triton kernels: statistics of parts of the batch, these joined, the rest.

M modality, B sample, T frame, X input channel, N part of the rows, with statistics of its own.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS_OF_PART, ROWS = 32, 8  # of a program
PARTS, CHANNELS = 32, 32  # that a program joins at a time
ALIGNED = 8  # the output's channels are padded to a multiple of this: other products are three times as slow

Statistics = tuple[Tensor, Tensor, Tensor]  # mean (M, N, X), sum of squares about it (M, N, X), number of values (N,)


def statistics(x_MBTX: Tensor) -> Statistics:
    """Statistics of every channel, over each part of samples and frames."""
    M, B, T, X = x_MBTX.shape
    N = triton.cdiv(B * T, ROWS_OF_PART)
    mean_MNX, square_MNX = x_MBTX.new_empty(2, M, N, X)
    count_N = x_MBTX.new_empty(N)
    _statistics[(N, M)](
        *(x_MBTX.contiguous(), mean_MNX, square_MNX, count_N, B * T, X),
        rows_block=ROWS_OF_PART,
        channels_block=triton.next_power_of_2(X),
    )
    return mean_MNX, square_MNX, count_N


def standardise(
    x_MBTX: Tensor,
    of: Statistics,
    running: tuple[Tensor, Tensor, Tensor],
    *,
    eps: float,
    momentum: float,
    dtype: torch.dtype,
) -> Tensor:
    """(x − mean) / √(variance + eps) as (M, T, B, X′) of that dtype; updates the running statistics.

    X′ is the next multiple of ALIGNED; the channels past X are 0. running: mean and variance (M, X), the latter
    unbiased as PyTorch's, and the number of batches.
    """
    M, B, T, X = x_MBTX.shape
    width = triton.cdiv(X, ALIGNED) * ALIGNED
    shift_MX, scale_MX = x_MBTX.new_empty(2, M, X)
    _join[(triton.cdiv(X, CHANNELS), M)](
        *(*of, *running, shift_MX, scale_MX, X, len(of[2]), eps, momentum),
        channels_block=CHANNELS,
        parts_block=PARTS,
    )
    out_MTBX = torch.empty(M, T, B, width, device=x_MBTX.device, dtype=dtype)
    _standardise[(triton.cdiv(B * T, ROWS), M)](
        *(x_MBTX.contiguous(), shift_MX, scale_MX, out_MTBX, B, T, X, width),
        rows_block=ROWS,
        channels_block=triton.next_power_of_2(width),
    )
    return out_MTBX


@triton.jit  # type: ignore[untyped-decorator]
def _statistics(  # type: ignore[no-untyped-def]
    x,  # (M, B·T, X)
    mean,  # (M, N, X)
    square,  # (M, N, X)
    count,  # (N)
    rows,
    X,
    rows_block: tl.constexpr,
    channels_block: tl.constexpr,
):
    """One part of one modality's rows."""
    part, m, N = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    row = part * rows_block + tl.arange(0, rows_block)
    channel = tl.arange(0, channels_block)
    there = (row < rows)[:, None] & (channel < X)[None, :]
    at = (m.to(tl.int64) * rows + row)[:, None] * X + channel[None, :]
    values = tl.load(x + at, mask=there, other=0.0)
    n = tl.minimum(rows_block, rows - part * rows_block).to(tl.float32)
    of_part = tl.sum(values, 0) / n
    apart = tl.where(there, values - of_part[None, :], 0.0)
    to = (m * N + part) * X + channel
    tl.store(mean + to, of_part, mask=channel < X)
    tl.store(square + to, tl.sum(apart * apart, 0), mask=channel < X)
    tl.store(count + part, n)


@triton.jit(do_not_specialize=["eps", "momentum"])  # type: ignore[untyped-decorator]
def _join(  # type: ignore[no-untyped-def]
    mean,  # (M, N, X)
    square,  # (M, N, X)
    count,  # (N)
    running_mean,  # (M, X)
    running_var,  # (M, X)
    batches,  # () batches that the running statistics have seen
    shift,  # (M, X)
    scale,  # (M, X)
    X,
    N,
    eps,
    momentum,
    channels_block: tl.constexpr,
    parts_block: tl.constexpr,
):
    """Some channels of one modality: all parts' statistics as one, in two passes; the running statistics move on."""
    m = tl.program_id(1)
    channel = tl.program_id(0) * channels_block + tl.arange(0, channels_block)
    held = channel < X
    n = tl.zeros((), tl.float32)
    centre = tl.zeros((channels_block,), tl.float32)
    for first in range(0, N, parts_block):
        part = first + tl.arange(0, parts_block)
        weight = tl.load(count + part, mask=part < N, other=0.0)
        at = (m * N + part)[:, None] * X + channel[None, :]
        centre += tl.sum(weight[:, None] * tl.load(mean + at, mask=(part < N)[:, None] & held[None, :], other=0.0), 0)
        n += tl.sum(weight, 0)
    centre = centre / n
    spread = tl.zeros((channels_block,), tl.float32)
    for first in range(0, N, parts_block):
        part = first + tl.arange(0, parts_block)
        weight = tl.load(count + part, mask=part < N, other=0.0)
        there = (part < N)[:, None] & held[None, :]
        at = (m * N + part)[:, None] * X + channel[None, :]
        off = tl.load(mean + at, mask=there, other=0.0) - centre[None, :]
        spread += tl.sum(tl.load(square + at, mask=there, other=0.0) + weight[:, None] * off * off, 0)

    to = m * X + channel
    tl.store(shift + to, centre, mask=held)
    tl.store(scale + to, 1.0 / tl.sqrt(spread / n + eps), mask=held)
    before = tl.load(running_mean + to, mask=held, other=0.0)
    tl.store(running_mean + to, before + momentum * (centre - before), mask=held)
    before = tl.load(running_var + to, mask=held, other=0.0)
    tl.store(running_var + to, before + momentum * (spread / (n - 1) - before), mask=held)
    if (m == 0) & (tl.program_id(0) == 0):
        tl.store(batches, tl.load(batches) + 1)


@triton.jit  # type: ignore[untyped-decorator]
def _standardise(  # type: ignore[no-untyped-def]
    x,  # (M, B, T, X)
    shift,  # (M, X)
    scale,  # (M, X)
    out,  # (M, T, B, width)
    B,
    T,
    X,
    width,
    rows_block: tl.constexpr,
    channels_block: tl.constexpr,
):
    """Some frames of one modality."""
    m = tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, channels_block)
    held = channel < X
    centre = tl.load(shift + m * X + channel, mask=held, other=0.0)
    spread = tl.load(scale + m * X + channel, mask=held, other=0.0)
    row = tl.program_id(0) * rows_block + tl.arange(0, rows_block)
    in_rows = (row < B * T)[:, None]
    at = (m * B * T + row)[:, None] * X + channel[None, :]
    values = tl.load(x + at, mask=in_rows & held[None, :], other=0.0)
    standard = (values - centre[None, :]) * spread[None, :]
    place = (m * T + row % T) * B + row // T
    to = place[:, None] * width + channel[None, :]
    tl.store(out + to, standard.to(out.dtype.element_ty), mask=in_rows & (channel < width)[None, :])
