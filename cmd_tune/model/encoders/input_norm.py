"""Batch norm of the input of all modalities; on a CPU by input_norm.cpp, on a GPU by input_norm_kernels.py.

M modality, B sample, T frame, X input channel, W worker, S = 2·M·X + 1.
"""

from functools import partial

import torch
from torch import Tensor, nn

from cmd_tune.compute.native import bind, kernels
from cmd_tune.compute.threads import run_shared, shares

Moments = tuple[Tensor, Tensor, Tensor]  # means, sums of squares about them, numbers of values


class InputNorm(nn.Module):
    """Batch norm of every input channel over samples and frames, with statistics of the global batch.

    The input carries no gradient, so none flows through the statistics. PyTorch's BatchNorm1d in both modes.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, modalities: int, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(modalities, channels))
        self.bias = nn.Parameter(torch.zeros(modalities, channels))
        self.register_buffer("running_mean", torch.zeros(modalities, channels))
        self.register_buffer("running_var", torch.ones(modalities, channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def forward(self, x_MBTX: Tensor, statistics_WS: Tensor | None = None) -> Tensor:
        standard_MBTX = self.standardise(x_MBTX, statistics_WS)
        return torch.addcmul(self.bias[:, None, None], standard_MBTX, self.weight[:, None, None])

    @torch.no_grad()
    def statistics(self, x_MBTX: Tensor) -> Tensor:
        """Of these samples' frames, (S,): each channel's mean and sum of squares about it, then the number of frames.

        Those of several workers are joined by `standardise` and `frames_first`.
        """
        mean_MX, square_MX, count = _moments(x_MBTX)
        return torch.cat((mean_MX.flatten(), square_MX.flatten(), count))

    def standardise(self, x_MBTX: Tensor, statistics_WS: Tensor | None = None) -> Tensor:
        """The input with mean 0 and variance 1, before weight and bias; it carries no gradient.

        statistics_WS: of every worker, in train mode; None: the input is the whole batch.
        """
        return _standard(x_MBTX, *self._mean_and_scale(x_MBTX, statistics_WS))

    def _mean_and_scale(self, x_MBTX: Tensor, statistics_WS: Tensor | None) -> tuple[Tensor, Tensor]:
        """(M, X) each; in train mode of the batch, which the running statistics follow."""
        if self.training:
            with torch.no_grad():
                of_batch = _moments(x_MBTX) if statistics_WS is None else _joined(*self.parts(statistics_WS))
                mean_MX, square_MX, count = of_batch
                var_MX = square_MX / count
                self.running_mean.lerp_(mean_MX, self.momentum)
                self.running_var.lerp_(var_MX * (count / (count - 1)), self.momentum)
                self.num_batches_tracked += 1
        else:
            mean_MX, var_MX = self.running_mean, self.running_var
        return mean_MX, torch.rsqrt(var_MX + self.eps)

    def frames_first(self, x_MBTX: Tensor, dtype: torch.dtype, statistics_WS: Tensor | None = None) -> Tensor:
        """`standardise`, as recurrences take it: (M, T, B, X) of their dtype, with channels of 0 behind X on a GPU."""
        for_gpu = kernels("cmd_tune.model.encoders.input_norm_kernels", x_MBTX) if self.training else None
        if for_gpu is None:
            return _standard_frames_first(x_MBTX, *self._mean_and_scale(x_MBTX, statistics_WS)).to(dtype)
        x_MBTX = x_MBTX.detach()
        parts = for_gpu.statistics(x_MBTX) if statistics_WS is None else self.parts(statistics_WS)
        running = (self.running_mean, self.running_var, self.num_batches_tracked)
        return for_gpu.standardise(x_MBTX, parts, running, eps=self.eps, momentum=self.momentum, dtype=dtype)

    def parts(self, statistics_WS: Tensor) -> Moments:
        """`statistics` of every worker as mean and sum of squares, (M, W, X), and number of frames, (W,)."""
        of_channels = statistics_WS[:, :-1].unflatten(1, (2, *self.weight.shape)).permute(1, 2, 0, 3).contiguous()
        return of_channels[0], of_channels[1], statistics_WS[:, -1].contiguous()


def _moments(x_MBTX: Tensor) -> Moments:
    """Mean and sum of squares about it, (M, X), over the frames; their number, (1,).

    Two passes: one would lose digits of a large mean.
    """
    M, B, T, X = x_MBTX.shape
    if x_MBTX.is_cpu:
        x_MBTX, mean_MBX, square_MBX = x_MBTX.contiguous(), x_MBTX.new_empty(M, B, X), x_MBTX.new_empty(M, B, X)
        if of_samples := bind("moments", x_MBTX.dtype, (T, X), (x_MBTX, mean_MBX, square_MBX)):
            run_shared([partial(of_samples, *share) for share in shares(M * B)])
            return _joined(mean_MBX, square_MBX, x_MBTX.new_full((B,), T))
    count = x_MBTX.new_full((1,), B * T)
    mean_MX = x_MBTX.sum((1, 2)) / count
    return mean_MX, (x_MBTX - mean_MX[:, None, None]).square().sum((1, 2)), count


def _standard(x_MBTX: Tensor, mean_MX: Tensor, scale_MX: Tensor) -> Tensor:
    return torch.addcmul((-mean_MX * scale_MX)[:, None, None], x_MBTX, scale_MX[:, None, None])


def _standard_frames_first(x_MBTX: Tensor, mean_MX: Tensor, scale_MX: Tensor) -> Tensor:
    """`_standard` as (M, T, B, X). The C++ knows no gradient in the input, which evaluation may ask for."""
    if x_MBTX.is_cpu and not (x_MBTX.requires_grad and torch.is_grad_enabled()):
        M, B, T, X = x_MBTX.shape
        x_MBTX, standard_MTBX = x_MBTX.contiguous(), x_MBTX.new_empty(M, T, B, X)
        if standardise := bind("standardise", x_MBTX.dtype, (B, T, X), (x_MBTX, mean_MX, scale_MX, standard_MTBX)):
            run_shared([partial(standardise, *share) for share in shares(M * T)])
            return standard_MTBX
    return _standard(x_MBTX, mean_MX, scale_MX).transpose(1, 2)


def _joined(mean_MWX: Tensor, square_MWX: Tensor, count_W: Tensor) -> Moments:
    """`_moments` of all parts' frames together."""
    count, count_W1 = count_W.sum(0, keepdim=True), count_W[:, None]
    mean_MX = (count_W1 * mean_MWX).sum(1) / count
    square_MX = (square_MWX + count_W1 * (mean_MWX - mean_MX[:, None]).square()).sum(1)
    return mean_MX, square_MX, count
