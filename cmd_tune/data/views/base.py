"""What training asks of a view transformation: the base class of every variant in this folder.

B sample, N random number, T frame, V joint, C coordinate, P body, F stored frame, X = V·C·P.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class View(ABC):
    """Makes from clips of any length what the encoders see of them, by random choices.

    A variant is a frozen dataclass without state. **Its fields are the settings of the same names.** The three methods
    are apart because they run at different times: `numbers` once per step for the global batch, so that draws depend on
    a key alone and workers only keep their samples of them; `choose` once per epoch for all its samples at once; `make`
    in every step, on the store's device and perhaps within a CUDA graph.

    What must hold (tests/data/views/test_contract.py runs it for every variant):

    - All randomness is in `numbers`; row i is sample i's.
    - A sample's draws depend on its own numbers and length, its view on its own draws and frames.
    - `make` gives the same digits for any number of threads, draws nothing, and reads none of the fields: it makes the
      views of several trials at once, whose fields differ.
    """

    name: ClassVar[str]  # the user's word

    @abstractmethod
    def numbers(self, clips: int, joints: int, generator: torch.Generator) -> Tensor:
        """What is random in a view of each clip, uniform in [0, 1): (clips, N), on the CPU."""

    @abstractmethod
    def choose(self, uniform_BN: Tensor, frames_B: Tensor) -> tuple[Tensor, ...]:
        """The draws for clips of `frames_B` frames by `numbers`' numbers: tensors whose first dimension is B."""

    @abstractmethod
    def make(
        self,
        rows_FX: Tensor,
        start_B: Tensor,
        draws: tuple[Tensor, ...],
        frames: int,
        frame_shape: tuple[int, int, int],
    ) -> Tensor:
        """The views of clips whose first frames are rows start_B, as drawn: (B, T, V, C, P) on the rows' device.

        frames: T. frame_shape: (V, C, P), of joints in 2-D or 3-D. On a GPU it does not make the host wait.
        """

    def draw(self, frames_B: Tensor, joints: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """`numbers` and `choose` at once."""
        return self.choose(self.numbers(len(frames_B), joints, generator), frames_B)
