"""Batch norm of the input of all modalities; on a GPU by input_norm_kernels.py.

M modality, B sample, T frame, X input channel.
"""

import torch
from torch import Tensor, nn

from cmd_tune.compute.native import kernels
from cmd_tune.model.encoders.base import SumOverWorkers, one_worker


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

    def forward(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers = one_worker) -> Tensor:
        standard_MBTX = self.standardise(x_MBTX, sum_over_workers)
        return torch.addcmul(self.bias[:, None, None], standard_MBTX, self.weight[:, None, None])

    def standardise(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers = one_worker) -> Tensor:
        """The input with mean 0 and variance 1, before weight and bias; it carries no gradient."""
        if self.training:
            mean_MX, var_MX, count = self._global_statistics(x_MBTX.detach(), sum_over_workers)
            with torch.no_grad():
                self.running_mean.lerp_(mean_MX, self.momentum)
                self.running_var.lerp_(var_MX * (count / (count - 1)), self.momentum)
                self.num_batches_tracked += 1
        else:
            mean_MX, var_MX = self.running_mean, self.running_var
        scale_MX = torch.rsqrt(var_MX + self.eps)
        return torch.addcmul((-mean_MX * scale_MX)[:, None, None], x_MBTX, scale_MX[:, None, None])

    def frames_first(self, x_MBTX: Tensor, dtype: torch.dtype, sum_over_workers: SumOverWorkers = one_worker) -> Tensor:
        """`standardise`, as recurrences take it: (M, T, B, X) of their dtype, with channels of 0 behind X on a GPU."""
        for_gpu = kernels("cmd_tune.model.encoders.input_norm_kernels", x_MBTX) if self.training else None
        if for_gpu is None:
            return self.standardise(x_MBTX, sum_over_workers).transpose(1, 2).to(dtype)
        x_MBTX = x_MBTX.detach()
        if sum_over_workers is one_worker:
            statistics = for_gpu.statistics(x_MBTX)
        else:
            mean_MX, var_MX, count = self._global_statistics(x_MBTX, sum_over_workers)
            statistics = (mean_MX[:, None], count * var_MX[:, None], count)
        running = (self.running_mean, self.running_var, self.num_batches_tracked)
        return for_gpu.standardise(x_MBTX, statistics, running, eps=self.eps, momentum=self.momentum, dtype=dtype)

    def _global_statistics(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, biased variance and the number of values, (1,). Two passes: one would lose digits of a large mean."""
        M, B, T, X = x_MBTX.shape
        total = sum_over_workers(torch.cat((x_MBTX.sum((1, 2)).flatten(), x_MBTX.new_full((1,), B * T))))
        mean_MX, count = total[:-1].view(M, X) / total[-1:], total[-1:]
        var_MX = sum_over_workers((x_MBTX - mean_MX[:, None, None]).square().sum((1, 2))) / count
        return mean_MX, var_MX, count
