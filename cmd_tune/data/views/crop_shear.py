"""Two views of every clip of a batch at once: temporal crop, then shear or joint corruption.

Numbers are drawn on the CPU, so that they are the same for every device. Mao et al., ECCV 2022, and its code.
B sample, T frame, V joint, C coordinate, P body, F stored frame, X = V·C·P.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from cmd_tune.compute.device import to_device
from cmd_tune.compute.native import bind, kernels
from cmd_tune.compute.threads import run_shared, shares
from cmd_tune.data.views.base import View


class Draws(NamedTuple):
    """One view's random choices for a batch; every field's first dimension is the sample."""

    start_B: Tensor  # first frame of the crop
    length_B: Tensor  # frames of the crop
    matrix_BCC: Tensor  # 3×3, by which coordinates are multiplied; of two, by its first two rows and columns
    kept_BV: Tensor  # 1 for a joint that stays as it is, else 0
    mixed_BV: Tensor  # 1 for a joint that is multiplied by the matrix, else 0; a joint that is neither is zeroed


@dataclass(frozen=True)
class CropShear(View):
    """The paper's views: a temporal crop, then a shear, or corrupted joints."""

    crop_min_frames: int  # shortest crop
    crop_min_share: float  # shortest crop, as a share of the clip
    shear_range: float  # largest entry of a shear or corruption matrix
    corrupted_share: float  # of the joints

    name = "crop_shear"

    def numbers(self, clips: int, joints: int, generator: torch.Generator) -> Tensor:
        return torch.rand(clips, 4 + 9 + 9 + joints, generator=generator)

    def choose(self, uniform_BN: Tensor, frames_B: Tensor) -> Draws:
        """Crop: length clip(⌊n·u⌋, crop_min_frames, n), u ~ U[crop_min_share, 1], start uniform. Then, with probability
        ½ each, shear (ones on the diagonal, U(−r, r) elsewhere) or corruption of the same joints in all frames
        and bodies: zeroed, or multiplied by one matrix of U(−r, r), probability ½ each. Matrices are 3×3 for joints in
        2-D, too, which use the part that is theirs.
        """
        joints = uniform_BN.shape[1] - 22
        crop_B, place_B, kind_B, loss_B = uniform_BN[:, :4].unbind(1)
        matrix_BN = self.shear_range * (2 * uniform_BN[:, 4:22] - 1)
        shear_BCC, joint_matrix_BCC = matrix_BN.view(-1, 2, 3, 3).unbind(1)
        share_B = self.crop_min_share + (1 - self.crop_min_share) * crop_B
        length_B = (frames_B * share_B).long().clamp(min=self.crop_min_frames).minimum(frames_B)
        room_B = frames_B - length_B + 1
        start_B = (place_B * room_B).long().minimum(room_B - 1)

        shears_B1, zeroes_B1 = (kind_B < 0.5)[:, None], (loss_B < 0.5)[:, None]
        shear_BCC.diagonal(dim1=1, dim2=2).fill_(1.0)
        chosen_BV = uniform_BN[:, 22:].argsort(dim=1) < round(self.corrupted_share * joints)
        return Draws(
            start_B=start_B,
            length_B=length_B,
            matrix_BCC=torch.where(shears_B1[..., None], shear_BCC, joint_matrix_BCC),
            kept_BV=(shears_B1 | chosen_BV).logical_not().float(),
            mixed_BV=(shears_B1 | (chosen_BV & ~zeroes_B1)).float(),
        )

    def make(
        self,
        rows_FX: Tensor,
        start_B: Tensor,
        draws: tuple[Tensor, ...],
        frames: int,
        frame_shape: tuple[int, int, int],
    ) -> Tensor:
        """One pass by crop_shear.cpp or crop_shear_kernels.py if one of them can run, else crop_resize and distort."""
        draws = Draws(*draws)
        V, C, P = frame_shape
        start_B = start_B + draws.start_B
        inputs = [draws.length_B, draws.matrix_BCC[:, :C, :C], draws.kept_BV, draws.mixed_BV]
        inputs = [to_device(x, rows_FX.device).contiguous() for x in (start_B, *inputs)]
        if for_gpu := kernels("cmd_tune.data.views.crop_shear_kernels", rows_FX):
            return for_gpu.draw_view(rows_FX, *inputs, frames, P).view(-1, frames, V, C, P)
        if not rows_FX.is_cuda:
            view_BTVCP = torch.empty(len(start_B), frames, V, C, P)
            if draw := bind("draw_view", rows_FX.dtype, (frames, V, C, P), (rows_FX, *inputs, view_BTVCP)):
                run_shared([partial(draw, *share) for share in shares(len(start_B))])
                return view_BTVCP
        x_BTX = crop_resize(rows_FX, start_B, draws.length_B, frames)
        return distort(x_BTX.unflatten(2, frame_shape), draws)


def crop_resize(rows_FX: Tensor, start_B: Tensor, length_B: Tensor, frames: int) -> Tensor:
    """Frames start … start + length of each clip, resized linearly (half-pixel centres) to `frames`: (B, T, X).

    rows_FX: stored frames of all clips; start_B counts from its first row.
    """
    device = rows_FX.device
    start_B, length_B = to_device(start_B, device), to_device(length_B, device)
    step_B = length_B.float() / frames
    position_BT = ((torch.arange(frames, device=device) + 0.5) * step_B[:, None] - 0.5).clamp(min=0)
    below_BT = position_BT.long().minimum(length_B[:, None] - 1)
    above_BT = (below_BT + 1).minimum(length_B[:, None] - 1)
    weight_BT1 = (position_BT - below_BT)[..., None]

    def rows(index_BT: Tensor) -> Tensor:
        return rows_FX.index_select(0, (start_B[:, None] + index_BT).flatten()).view(*index_BT.shape, -1)

    return torch.lerp(rows(below_BT).float(), rows(above_BT).float(), weight_BT1)


def distort(x_BTVCP: Tensor, draws: Draws) -> Tensor:
    """Shear and joint corruption: x′ = A·x for the joints that are mixed, 0 for those neither mixed nor kept.

    As crop_shear.cpp does it: products with frames moved by up to C − 1 coordinates, D ways. No matrix product, which a
    GPU may be allowed to round.
    """
    B, T, V, C, P = x_BTVCP.shape
    D, X = 2 * C - 1, V * C * P
    matrix_BCC, kept_BV, mixed_BV = (
        to_device(x, x_BTVCP.device) for x in (draws.matrix_BCC[:, :C, :C], draws.kept_BV, draws.mixed_BV)
    )
    band_BDC = x_BTVCP.new_zeros(B, D, C)
    for c in range(C):
        band_BDC[:, C - 1 - c : D - c, c] = matrix_BCC[:, c]
    weight_BDVC = mixed_BV[:, None, :, None] * band_BDC[:, :, None]
    weight_BDVC[:, C - 1] += kept_BV[..., None]
    weight_BDX = weight_BDVC.flatten(2).repeat_interleave(P, dim=2)
    padded_BTX = pad(x_BTVCP.reshape(B, T, X), (P * (C - 1), P * (C - 1)))
    out_BTX = x_BTVCP.new_zeros(B, T, X)
    for d in range(D):
        out_BTX.addcmul_(weight_BDX[:, d, None], padded_BTX[..., P * d : P * d + X])
    return out_BTX.view_as(x_BTVCP)


def centre_crop(frames_B: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """First frame and length of the evaluation crop: ⌊(1 − share)/2·n⌋ frames left out at each end."""
    margin_B = (frames_B * ((1 - share) / 2)).long()
    return margin_B, frames_B - 2 * margin_B
