"""The least time a training step can take on a machine: its products at their rate, its recurrent weights at theirs.

A frame of the recurrences waits for the one before it, so its weights are read anew in every frame, from wherever they
lie; its product takes the longer of that and of its arithmetic. All other products are large.
"""

import torch

from benchmarks.timing import take_turns
from cmd_tune.settings import Settings

_TOO_SOON_OVER = 32 * 1024**2  # bytes


def recurrent_flops(s: Settings) -> float:
    """Of one frame of one layer of all modalities: two GRUs each, batch × H by H × 3H."""
    return 2 * len(s.modalities) * 2 * s.batch_size * s.hidden_size * 3 * s.hidden_size


def recurrent_bytes(s: Settings) -> int:
    """Of the weights that such a frame reads, as stored for its products."""
    return 2 * len(s.modalities) * 3 * s.hidden_size**2 * (2 if s.precision == "bfloat16" else 4)


def least_seconds(s: Settings, flops: float, rate: float, read_rate: float) -> float:
    """flops: of the whole step. rate: of products, a second. read_rate: bytes a second of as many as the weights are.

    Frames are stepped through three times: by the query encoders, by the key encoders, and back.
    """
    stepped = 3 * s.layers * s.frames
    frame = max(recurrent_flops(s) / rate, recurrent_bytes(s) / read_rate)
    return stepped * frame + (flops - stepped * recurrent_flops(s)) / rate


def measure_read_rate(size: int, device: torch.device, repeats: int = 5) -> float:
    """Bytes a second at which `size` bytes are read over and over: from a cache where they fit into one.

    Few bytes are read at the rate of more, which a GPU's cache holds as well: else it were that of launching a kernel.
    """
    size = max(size, _TOO_SOON_OVER)
    x, times = torch.zeros(size // 4, device=device), 20

    def read() -> None:
        for _ in range(times):
            x.sum()

    return times * size / min(take_turns({"read": read}, repeats)["read"].runs)
