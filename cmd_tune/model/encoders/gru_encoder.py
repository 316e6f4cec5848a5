"""The authors' encoder: batch norm of the input, layers of GRU pairs, projection head.

The authors call their bidirectional GRU one frame at a time with the hidden state carried on, so in every layer *both*
directions run forward in time. Here each is a group of its own, over the whole sequence: the same numbers.
M modality, B sample, T frame, X input channel (V·C·P), H hidden, D embedding, G group (modality × direction),
W worker, S statistic.
"""

from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmd_tune.model.encoders.base import Encoder, GatherFromWorkers, one_worker
from cmd_tune.model.encoders.gru_dispatch import Recurrence
from cmd_tune.model.encoders.gru_layer import LayerFunction, Rounded
from cmd_tune.model.encoders.input_norm import InputNorm


class GRULayer(nn.Module):
    """One layer of all modalities: two independent GRUs each, both forward in time, outputs concatenated."""

    def __init__(
        self, modalities: int, inputs: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        I, H = inputs, hidden_size
        self.weight_ih = _uniform(modalities, 2, 3 * H, I, bound=sqrt(6 / (3 * H + I)), generator=generator)
        self.weight_hh = _uniform(modalities, 2, 3 * H, H, bound=sqrt(6 / (3 * H + H)), generator=generator)
        self.bias_ih = _uniform(modalities, 2, 3 * H, bound=1 / sqrt(H), generator=generator)
        self.bias_hh = _uniform(modalities, 2, 3 * H, bound=1 / sqrt(H), generator=generator)

    def forward(
        self,
        x_MTBI: Tensor,
        run_layer: LayerFunction,
        last_only: bool = False,
        norm: InputNorm | None = None,
        rounded: Rounded = (None, None),
    ) -> Tensor:
        """(M, T, B, I) → (M, T, B, 2H) in the input's dtype, or the last frame's (M, B, 2H) in float32.

        norm: the input norm, if its weight and bias are not applied yet. They are folded into this layer's weights,
        so that the input needs no gradient: its product would be as large as that of the weights. rounded: copies of
        weight_ih and weight_hh in the input's dtype, where there are.
        """
        weight_ih: Tensor = self.weight_ih
        bias_ih: Tensor = self.bias_ih
        if norm is not None:
            # Written as a sum: einsum's batch of matrix–vector products takes a CPU five times as long.
            bias_ih = bias_ih + (weight_ih * norm.bias[:, None, None]).sum(3)
            weight_ih = weight_ih * norm.weight[:, None, None]
        if x_MTBI.shape[3] > weight_ih.shape[3]:  # channels of 0
            weight_ih = F.pad(weight_ih, (0, x_MTBI.shape[3] - weight_ih.shape[3]))
        return run_layer(x_MTBI, weight_ih, self.weight_hh, bias_ih, self.bias_hh, last_only, rounded)


class Head(nn.Module):
    """Projection: linear, ReLU, linear; one per modality."""

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
    drawn = torch.rand(*shape, generator=generator)
    if drawn.is_meta:  # of which only the shape is asked: to compute on it, PyTorch loads its compiler, for a second
        return nn.Parameter(drawn)
    return nn.Parameter((2 * drawn - 1) * bound)


class GRUEncoder(Encoder):
    """The authors' network for M modalities. Initial values are theirs as well: GRU matrices and the head's second are
    Xavier-uniform, the rest PyTorch's default.
    """

    settings = ("hidden_size", "layers")

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
        """compute_dtype: of the recurrences alone; weights, norm and head are float32."""
        super().__init__(modalities, channels)
        self.compute_dtype = compute_dtype
        self.feature_size = 2 * hidden_size
        self.feature_dtype = torch.promote_types(compute_dtype, torch.float32)
        self.input_norm = InputNorm(modalities, channels)

        inputs = [channels] + [2 * hidden_size] * (layers - 1)
        self.gru = nn.ModuleList(GRULayer(modalities, width, hidden_size, generator) for width in inputs)
        self.recurrence = Recurrence()
        self.head = Head(modalities, 2 * hidden_size, embedding_size, generator)

    def statistics(self, x_MBTX: Tensor) -> Tensor:
        """Those of the input norm."""
        return self.input_norm.statistics(x_MBTX)

    def features(
        self, x_MBTX: Tensor, statistics_WS: Tensor | None = None, gather: GatherFromWorkers = one_worker
    ) -> Tensor:
        """The last frame's output of both groups of the last layer, (M, B, 2H). Nothing is gathered on the way."""
        x_MTBX = self.input_norm.frames_first(x_MBTX, self.compute_dtype, statistics_WS)
        return self.recurrence(self, x_MTBX, training=self.training)

    @staticmethod
    def channels_of(state: Mapping[str, Tensor]) -> int | None:
        weight_MX = state.get("input_norm.weight")
        return None if weight_MX is None else weight_MX.shape[1]

    def expect_capture(self, expected: bool) -> None:
        self.recurrence.part_of_graph = expected

    def rounds(self) -> Mapping[str, torch.dtype]:
        """The layers' matrices but the first one, into which the norm is folded."""
        matrices = [f"gru.{index}.{name}" for index in range(len(self.gru)) for name in ("weight_ih", "weight_hh")]
        return dict.fromkeys(matrices[1:], self.compute_dtype) if self.compute_dtype != torch.float32 else {}

    def recurrent_parameters(self) -> dict[str, nn.Parameter]:
        """All but the head's, by name."""
        return {name: x for name, x in self.named_parameters() if not name.startswith("head.")}

    def recur(self, x_MTBX: Tensor, run_layer: LayerFunction) -> Tensor:
        """(M, T, B, X) standardised → (M, B, 2H) of the last frame."""
        norm: InputNorm | None = self.input_norm
        last = len(self.gru) - 1
        for index, layer in enumerate(self.gru):
            rounded = tuple(self.rounded.get(f"gru.{index}.{name}") for name in ("weight_ih", "weight_hh"))
            x_MTBX, norm = layer(x_MTBX, run_layer, index == last, norm, rounded), None
        return x_MTBX
