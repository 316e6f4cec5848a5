"""The authors' encoder for M modalities at once: batch norm of the input, three layers of GRU pairs, projection head.

The authors call their bidirectional GRU one frame at a time with the hidden state carried on, so in every layer *both*
directions run forward in time. Here each is a group of its own, over the whole sequence: the same numbers.
Every parameter has the modality as its first dimension.
M modality, B sample, T frame, X input channel (V·C·P), H hidden, D embedding, G group (modality × direction).
"""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmd_tune.compute.native import kernels
from cmd_tune.model.encoders.gru_dispatch import Recurrence
from cmd_tune.model.encoders.gru_layer import Pairs

SumOverWorkers = Callable[[Tensor], Tensor]


def here_alone(x: Tensor) -> Tensor:
    """The sum over one worker."""
    return x


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

    def forward(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers = here_alone) -> Tensor:
        standard_MBTX = self.standardise(x_MBTX, sum_over_workers)
        return torch.addcmul(self.bias[:, None, None], standard_MBTX, self.weight[:, None, None])

    def standardise(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers = here_alone) -> Tensor:
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

    def frames_first(self, x_MBTX: Tensor, dtype: torch.dtype, sum_over_workers: SumOverWorkers = here_alone) -> Tensor:
        """`standardise`, as recurrences take it: (M, T, B, X) of their dtype, with channels of 0 behind X on a GPU."""
        for_gpu = kernels("cmd_tune.model.encoders.input_norm_kernels", x_MBTX) if self.training else None
        if for_gpu is None:
            return self.standardise(x_MBTX, sum_over_workers).transpose(1, 2).to(dtype)
        x_MBTX = x_MBTX.detach()
        if sum_over_workers is here_alone:
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


class GRULayer(nn.Module):
    """One layer of all modalities: two independent GRUs each, both forward in time, outputs side by side."""

    def __init__(
        self, modalities: int, inputs: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        I, H = inputs, hidden_size
        self.weight_ih = _uniform(modalities, 2, 3 * H, I, bound=sqrt(6 / (3 * H + I)), generator=generator)
        self.weight_hh = _uniform(modalities, 2, 3 * H, H, bound=sqrt(6 / (3 * H + H)), generator=generator)
        self.bias_ih = _uniform(modalities, 2, 3 * H, bound=1 / sqrt(H), generator=generator)
        self.bias_hh = _uniform(modalities, 2, 3 * H, bound=1 / sqrt(H), generator=generator)

    def forward(self, x_MTBI: Tensor, pairs: Pairs, last_only: bool = False, norm: InputNorm | None = None) -> Tensor:
        """(M, T, B, I) → (M, T, B, 2H) in the input's dtype, or the last frame's (M, B, 2H) in float32.

        pairs: what runs them. norm: whose weight and bias are still to be applied to the input. They are, to this
        layer's own: then the input needs no gradient, whose product would be as large as that of the weights.
        """
        weight_ih: Tensor = self.weight_ih
        bias_ih: Tensor = self.bias_ih
        if norm is not None:
            bias_ih = bias_ih + torch.einsum("msgi,mi->msg", weight_ih, norm.bias)
            weight_ih = weight_ih * norm.weight[:, None, None]
        if x_MTBI.shape[3] > weight_ih.shape[3]:  # channels of 0
            weight_ih = F.pad(weight_ih, (0, x_MTBI.shape[3] - weight_ih.shape[3]))
        return pairs(x_MTBI, weight_ih, self.weight_hh, bias_ih, self.bias_hh, last_only)


class Head(nn.Module):
    """Projection: linear, ReLU, linear; one a modality."""

    def __init__(self, modalities: int, inputs: int, outputs: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        I, D, bound = inputs, outputs, 1 / sqrt(inputs)
        self.weight_0 = _uniform(modalities, I, I, bound=bound, generator=generator)
        self.bias_0 = _uniform(modalities, I, bound=bound, generator=generator)
        self.weight_1 = _uniform(modalities, D, I, bound=sqrt(6 / (D + I)), generator=generator)
        self.bias_1 = _uniform(modalities, D, bound=bound, generator=generator)

    def forward(self, x_MBI: Tensor) -> Tensor:
        x_MBI = torch.baddbmm(self.bias_0[:, None], x_MBI, self.weight_0.transpose(1, 2)).relu()
        return torch.baddbmm(self.bias_1[:, None], x_MBI, self.weight_1.transpose(1, 2))


def _uniform(*shape: int, bound: float, generator: torch.Generator | None) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(*shape, generator=generator) - 1) * bound)


class Encoders(nn.Module):
    """M encoders of one shape. `features` are what evaluation uses, `forward` what pretraining compares."""

    def __init__(
        self,
        modalities: int,
        channels: int,
        *,
        hidden_size: int,
        embedding_size: int,
        layers: int = 3,
        compute_dtype: torch.dtype = torch.float32,
        generator: torch.Generator | None = None,
    ) -> None:
        """compute_dtype: of the recurrences alone; weights, norm and head are float32.

        Initial values are the authors': GRU matrices and the head's second Xavier-uniform, the rest PyTorch's default.
        """
        super().__init__()
        self.compute_dtype = compute_dtype
        self.feature_size = 2 * hidden_size
        self.input_norm = InputNorm(modalities, channels)

        inputs = [channels] + [2 * hidden_size] * (layers - 1)
        self.gru = nn.ModuleList(GRULayer(modalities, width, hidden_size, generator) for width in inputs)
        self.recurrence = Recurrence()
        self.head = Head(modalities, 2 * hidden_size, embedding_size, generator)

    def features(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers = here_alone) -> Tensor:
        """The last frame's output of both groups of the last layer, (M, B, 2H), float32."""
        x_MTBX = self.input_norm.frames_first(x_MBTX, self.compute_dtype, sum_over_workers)
        return self.recurrence(self, x_MTBX, training=self.training)

    def recurrent_parameters(self) -> dict[str, nn.Parameter]:
        """All but the head's, by name."""
        return {name: x for name, x in self.named_parameters() if not name.startswith("head.")}

    def recur(self, x_MTBX: Tensor, pairs: Pairs) -> Tensor:
        """(M, T, B, X) standardised → (M, B, 2H) of the last frame. pairs: what runs a layer."""
        norm: InputNorm | None = self.input_norm
        *below, last = self.gru
        for layer in below:
            x_MTBX, norm = layer(x_MTBX, pairs, norm=norm), None
        return last(x_MTBX, pairs, last_only=True, norm=norm)

    def forward(self, x_MBTX: Tensor, sum_over_workers: SumOverWorkers = here_alone) -> Tensor:
        """L2-normalised embeddings, (M, B, D), float32."""
        return F.normalize(self.head(self.features(x_MBTX, sum_over_workers)), dim=2)
