"""The input norm of a training step on a GPU: what InputNorm does once the statistics are known, in one kernel.

M modality, B sample, T frame, X input channel.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 8  # of a program


def standardise(
    x_MBTX: Tensor,
    mean_MX: Tensor,
    var_MX: Tensor,
    count: Tensor,
    running: tuple[Tensor, Tensor, Tensor],
    *,
    eps: float,
    momentum: float,
    dtype: torch.dtype,
) -> Tensor:
    """(x − mean) / √(var + eps) as (M, T, B, X) of that dtype; the running mean, variance and count move on.

    count: (1,) values that the statistics are of; the running variance is the unbiased one, as PyTorch's.
    """
    M, B, T, X = x_MBTX.shape
    out_MTBX = torch.empty(M, T, B, X, device=x_MBTX.device, dtype=dtype)
    _standardise[(triton.cdiv(B * T, ROWS), M)](
        *(x_MBTX.contiguous(), mean_MX, var_MX, count, *running, out_MTBX, B, T, X, eps, momentum),
        rows_block=ROWS,
        channels_block=triton.next_power_of_2(X),
    )
    return out_MTBX


@triton.jit(do_not_specialize=["eps", "momentum"])  # type: ignore[untyped-decorator]
def _standardise(  # type: ignore[no-untyped-def]
    x,  # (M, B, T, X)
    mean,  # (M, X)
    var,  # (M, X)
    count,  # (1)
    running_mean,  # (M, X)
    running_var,  # (M, X)
    batches,  # () batches that the running statistics have seen
    out,  # (M, T, B, X)
    B,
    T,
    X,
    eps,
    momentum,
    rows_block: tl.constexpr,
    channels_block: tl.constexpr,
):
    """Some frames of one modality; the first program of each moves its running statistics on."""
    m = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * rows_block + tl.arange(0, rows_block)
    channel = tl.arange(0, channels_block)
    held = channel < X
    of_channel = m * X + channel
    shift = tl.load(mean + of_channel, mask=held, other=0.0)
    spread = tl.load(var + of_channel, mask=held, other=1.0)
    scale = 1.0 / tl.sqrt(spread + eps)

    there = (row < B * T)[:, None] & held[None, :]
    values = tl.load(x + (m * B * T + row)[:, None] * X + channel[None, :], mask=there, other=0.0)
    place = (m * T + row % T) * B + row // T
    standard = (values - shift[None, :]) * scale[None, :]
    tl.store(out + place[:, None] * X + channel[None, :], standard.to(out.dtype.element_ty), mask=there)

    if tl.program_id(0) == 0:
        n = tl.load(count)
        before = tl.load(running_mean + of_channel, mask=held, other=0.0)
        tl.store(running_mean + of_channel, before + momentum * (shift - before), mask=held)
        before = tl.load(running_var + of_channel, mask=held, other=0.0)
        tl.store(running_var + of_channel, before + momentum * (spread * (n / (n - 1)) - before), mask=held)
        if m == 0:
            tl.store(batches, tl.load(batches) + 1)
