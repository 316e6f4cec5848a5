"""What a step's collectives mean on many GPUs: derived from their bytes and stated bandwidths, not measured.

All GPUs form one ring. Nothing is computed meanwhile: a step waits for its exchanges.
"""

from dataclasses import dataclass

from benchmarks.collectives import step_collectives
from cmd_tune.settings import Settings

GPUS_OF_NODE = 8
NVLINK = 450e9  # bytes a second that a GPU sends within a node
CARD = 50e9  # bytes a second of a network card of 400 Gb/s
STEP_S = 0.0157  # of the paper's step on an H200 in bfloat16, measured


@dataclass(frozen=True)
class Scaled:
    """A step on so many GPUs. moved: bytes that each GPU sends. seconds: that the exchange takes at least."""

    gpus: int
    batch: int  # of all GPUs
    moved: float
    seconds: float
    step: float  # seconds with the exchange

    @property
    def efficiency(self) -> float:
        """Clips a second and GPU, relative to a GPU without any exchange."""
        return STEP_S * self.batch / 64 / (self.gpus * self.step)


def scaled(settings: Settings, channels: int, gpus: int, *, cards: int, weak: bool) -> Scaled:
    """cards: network cards of a node, through which its share of the ring goes; of no account within one node.

    weak: every GPU has a batch of the settings' size, and a step's time; otherwise all share one, and compute it in
    1 / gpus of the time, which is less than any GPU can.
    """
    batch = settings.batch_size * (gpus if weak else 1)
    of_step = step_collectives(settings.model_copy(update={"batch_size": batch}), channels).values()
    moved = sum(one.moved(gpus) for one in of_step)
    seconds = moved / (NVLINK if gpus <= GPUS_OF_NODE else min(NVLINK, cards * CARD))
    return Scaled(gpus, batch, moved, seconds, STEP_S / (1 if weak else gpus) + seconds)
