"""The input norm of a training step as two Triton kernels: statistics of parts of the batch, then all the rest.

M modality, B sample, T frame, X input channel, N part of the rows, with statistics of its own.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS_OF_PART, ROWS = 32, 8  # of a program
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
    out_MTBX = torch.empty(M, T, B, width, device=x_MBTX.device, dtype=dtype)
    _standardise[(triton.cdiv(B * T, ROWS), M)](
        *(x_MBTX.contiguous(), *of, *running, out_MTBX, B, T, X, width, len(of[2]), eps, momentum),
        rows_block=ROWS,
        channels_block=triton.next_power_of_2(width),
        parts_block=16,
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
def _standardise(  # type: ignore[no-untyped-def]
    x,  # (M, B, T, X)
    mean,  # (M, N, X)
    square,  # (M, N, X)
    count,  # (N)
    running_mean,  # (M, X)
    running_var,  # (M, X)
    batches,  # () batches that the running statistics have seen
    out,  # (M, T, B, width)
    B,
    T,
    X,
    width,
    N,
    eps,
    momentum,
    rows_block: tl.constexpr,
    channels_block: tl.constexpr,
    parts_block: tl.constexpr,
):
    """Some frames of one modality; the first program of each moves its running statistics on."""
    m = tl.program_id(1)
    channel = tl.arange(0, channels_block)
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

    row = tl.program_id(0) * rows_block + tl.arange(0, rows_block)
    at = (m.to(tl.int64) * B * T + row)[:, None] * X + channel[None, :]
    in_rows = (row < B * T)[:, None]
    values = tl.load(x + at, mask=in_rows & held[None, :], other=0.0)
    scale = 1.0 / tl.sqrt(spread / n + eps)
    standard = tl.where(held[None, :], (values - centre[None, :]) * scale[None, :], 0.0)
    place = (m.to(tl.int64) * T + row % T) * B + row // T
    to = place[:, None] * width + channel[None, :]
    tl.store(out + to, standard.to(out.dtype.element_ty), mask=in_rows & (channel < width)[None, :])

    if tl.program_id(0) == 0:
        of_channel = m * X + channel
        before = tl.load(running_mean + of_channel, mask=held, other=0.0)
        tl.store(running_mean + of_channel, before + momentum * (centre - before), mask=held)
        before = tl.load(running_var + of_channel, mask=held, other=0.0)
        tl.store(running_var + of_channel, before + momentum * (spread / (n - 1) - before), mask=held)
        if m == 0:
            tl.store(batches, tl.load(batches) + 1)
