"""One view of each clip as a Triton kernel: what crop_shear.cpp does on a CPU.

B sample, T frame, V joint, C coordinate (2 or 3), P body, F stored frame, X = V·C·P.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

FRAMES = 4  # per program


def draw_view(
    rows_FX: Tensor,
    start_B: Tensor,
    length_B: Tensor,
    matrix_BCC: Tensor,
    kept_BV: Tensor,
    mixed_BV: Tensor,
    frames: int,
    bodies: int,
) -> Tensor:
    """The view (B, T, X), float32, of crops that begin at rows start_B. All tensors are contiguous, on one GPU."""
    B, X = len(start_B), rows_FX.shape[1]
    view_BTX = torch.empty(B, frames, X, device=rows_FX.device)
    _draw_view[(B, triton.cdiv(frames, FRAMES))](
        *(rows_FX, start_B, length_B, matrix_BCC, kept_BV, mixed_BV, view_BTX),
        *(frames, X, bodies),
        C=matrix_BCC.shape[1],
        frames_block=FRAMES,
        numbers_block=triton.next_power_of_2(X),
    )
    return view_BTX


@triton.jit  # type: ignore[untyped-decorator]
def _draw_view(  # type: ignore[no-untyped-def]
    rows,  # (F, X) stored frames
    start,  # (B) first row of the crop
    length,  # (B) rows of the crop
    matrix,  # (B, C, C)
    kept,  # (B, V) 1 if the joint stays
    mixed,  # (B, V) 1 if it is multiplied by the matrix
    view,  # (B, T, X)
    T,
    X,
    P,
    C: tl.constexpr,
    frames_block: tl.constexpr,
    numbers_block: tl.constexpr,
):
    """Some frames of one clip."""
    b = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * frames_block + tl.arange(0, frames_block)
    i = tl.arange(0, numbers_block)
    joint, c = i // (C * P), (i // P) % C
    in_frame = i < X
    rows_of_clip = tl.load(length + b)
    position = tl.maximum((t + 0.5) * (rows_of_clip.to(tl.float32) / T) - 0.5, 0.0)
    last = rows_of_clip.to(tl.int32) - 1
    below = tl.minimum(position.to(tl.int32), last)
    above = tl.minimum(below + 1, last)
    share = (position - below.to(tl.float32))[:, None]
    first = tl.load(start + b)
    low, high = rows + (first + below)[:, None] * X, rows + (first + above)[:, None] * X
    of_joint = b * (X // (C * P)) + joint
    stays = tl.load(kept + of_joint, mask=in_frame, other=0.0)
    turns = tl.load(mixed + of_joint, mask=in_frame, other=0.0)

    out = tl.zeros((frames_block, numbers_block), tl.float32)
    for other in tl.static_range(C):
        source = (i + (other - c) * P)[None, :]
        here = tl.load(low + source, mask=in_frame[None, :], other=0.0).to(tl.float32)
        there = tl.load(high + source, mask=in_frame[None, :], other=0.0).to(tl.float32)
        weight = turns * tl.load(matrix + b * (C * C) + c * C + other) + tl.where(c == other, stays, 0.0)
        out += weight[None, :] * (here + share * (there - here))
    tl.store(view + (b * T + t)[:, None] * X + i[None, :], out, mask=(t < T)[:, None] & in_frame[None, :])
