"""What pretraining and evaluation ask of an encoder: the base class of every variant in this folder.

M modality, B sample, T frame, X input channel (V·C·P), F feature, D embedding, W worker, S statistic.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GatherFromWorkers = Callable[[Tensor], Tensor]  # every worker's tensor, in a new first dimension; without gradient


def one_worker(x: Tensor) -> Tensor:
    """What is gathered from one worker: x alone."""
    return x[None]


class Encoder(nn.Module, ABC):
    """M networks of one shape, one per modality, computed together.

    Construction: `Variant(modalities, channels, embedding_size=…, compute_dtype=…, generator=…, **own)`; `own` are the
    settings named in `settings`. The generator alone decides the initial values. The embedding size is that of the
    memory banks. compute_dtype is that of the costly part: float32, bfloat16 (parameters and results stay float32) or,
    with `.double()`, float64.

    What must hold (tests/model/encoders/test_contract.py runs it for every variant):

    - Every parameter's first dimension is M. Output m depends on input m and on the parameters of modality m alone.
    - A buffer's first dimension is M, too; or it is a whole number without dimensions, which counts training passes; or
      it is a constant, whatever M is. Trials side by side are one encoder of more modalities (fused_pretrainer.py).
    - In train mode, what is taken over samples (as statistics of a batch norm) is gathered from all workers: workers
      with equal shares of a batch compute what one worker computes with the whole of it. What the input alone tells is
      returned by `statistics`, so that those of both views are one exchange; the rest goes through `gather`.
    - In eval mode, a sample's features depend on that sample and the parameters alone.
    - `copy.deepcopy` gives an encoder that shares nothing with the first one: the momentum twin, or one to fine-tune.
    - In train mode a parameter that `rounds` names may be read from `rounded`, which changes no number.
    - On a GPU a forward pass does not make the host wait once shapes are known, or steps cannot be captured.

    Life cycle: built on the CPU, moved with `.to(device)`, copied for the momentum twin. Each step calls both in train
    mode, the twin without gradient. Checkpoints keep `state_dict()`: names of tensors are a file format. Evaluation
    rebuilds the encoder from settings and state, calls `eval()`, and reads `features`.
    """

    settings: ClassVar[tuple[str, ...]]  # names of the settings that the constructor takes by keyword
    feature_size: int  # F
    feature_dtype: torch.dtype = torch.float32
    head: nn.Module  # (M, B, F) → (M, B, D)

    def __init__(self, modalities: int, channels: int, **own: Any) -> None:
        """channels: X, joints × coordinates × bodies. A variant takes the rest."""
        super().__init__()
        self.modalities, self.channels = modalities, channels
        self.rounded: Mapping[str, Tensor] = {}  # of `rounds`, what is up to date; the rest a pass rounds by itself

    def statistics(self, x_MBTX: Tensor) -> Tensor:
        """What a training pass takes over this worker's samples of its input, as one dimension. Nothing here."""
        return x_MBTX.new_empty(0)

    @abstractmethod
    def features(
        self, x_MBTX: Tensor, statistics_WS: Tensor | None = None, gather: GatherFromWorkers = one_worker
    ) -> Tensor:
        """What evaluation reads: (M, B, F) in feature_dtype, before the projection head.

        statistics_WS: `statistics` of every worker, in train mode; None if there is one worker, or nothing to tell.
        """

    @staticmethod
    @abstractmethod
    def channels_of(state: Mapping[str, Tensor]) -> int | None:
        """The input channels of an encoder with this state_dict; None if it is not one of this kind."""

    def forward(
        self, x_MBTX: Tensor, statistics_WS: Tensor | None = None, gather: GatherFromWorkers = one_worker
    ) -> Tensor:
        """What pretraining compares: L2-normalised embeddings, (M, B, D)."""
        return F.normalize(self.head(self.features(x_MBTX, statistics_WS, gather)), dim=2)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def rounds(self) -> Mapping[str, torch.dtype]:
        """Names of parameters that every training pass copies to another dtype, and that dtype. Nothing here.

        On a GPU a step that changes the parameters writes such copies, too, which spares the pass.
        """
        return {}

    @contextmanager
    def reading(self, rounded: Mapping[str, Tensor]) -> Iterator[None]:
        """Within it, these are copies of parameters, by name, as they are now."""
        self.rounded = rounded
        try:
            yield
        finally:
            self.rounded = {}

    def expect_capture(self, expected: bool) -> None:
        """Called with True before steps that may be captured whole as one CUDA graph, with False if they are not.

        An encoder that captures graphs of its own must not do so while it is part of a larger one. Does nothing here.
        """
