"""The collective operations of training, counted while it runs, and those of a step in closed form.

M modality, B sample of the global batch, X input channel, D embedding, W worker.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cmd_tune.settings import Settings
from cmd_tune.train.loop import build_optimizer, build_pretrainer
from cmd_tune.train.step import take_step

ALL_GATHER, ALL_REDUCE = "allgather_", "allreduce_"  # as PyTorch's dispatcher calls them
_IN_PLACE = (ALL_REDUCE, "broadcast_", "reduce_", "send", "barrier")  # the others take outputs first, then inputs
_FLOAT = 4  # bytes
_FRAMES = 2  # of the views of counted steps; no collective depends on them


@dataclass(frozen=True)
class Collective:
    """given: bytes that each worker hands in."""

    operation: str
    given: int

    def moved(self, workers: int) -> float:
        """Bytes that each worker sends in a ring of so many."""
        if self.operation == ALL_REDUCE:
            return 2 * (workers - 1) / workers * self.given
        return (workers - 1) * self.given


class Counter(TorchDispatchMode):
    """While it is entered, keeps every collective that this thread takes part in, whoever calls it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.collectives: list[Collective] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func.namespace == "c10d":
            operation = func.overloadpacket.__name__
            given = tree_leaves(args[0] if operation in _IN_PLACE else args[1])
            bytes_ = sum(x.numel() * x.element_size() for x in given if isinstance(x, Tensor))
            self.collectives.append(Collective(operation, bytes_))
        return func(*args, **(kwargs or {}))


def step_collectives(settings: Settings, channels: int) -> dict[str, Collective]:
    """What a step on several workers exchanges, in order, by what it carries. channels: X of the store."""
    statistics = 2 * (2 * len(settings.modalities) * channels + 1)
    return {
        "statistics of the input norm, both views": Collective(ALL_GATHER, _FLOAT * statistics),
        "gradients, then keys": Collective(ALL_REDUCE, _FLOAT * (gradients(settings, channels) + keys(settings))),
    }


def gradients(settings: Settings, channels: int) -> int:
    """Numbers that learn: of the input norm, of two GRUs a layer, of the head."""
    H, D, X = settings.hidden_size, settings.embedding_size, channels
    inputs = [X] + [2 * H] * (settings.layers - 1)
    recurrent = sum(2 * 3 * H * (I + H + 2) for I in inputs)
    head = 2 * H * (2 * H + 1) + D * (2 * H + 1)
    return len(settings.modalities) * (2 * X + recurrent + head)


def keys(settings: Settings) -> int:
    """Numbers of a global batch's keys, (M, B, D)."""
    return len(settings.modalities) * settings.batch_size * settings.embedding_size


def count_step(settings: Settings, channels: int, workers: int = 2) -> list[Collective]:
    """The collectives of a step that so many processes take together over gloo, on random views."""
    with TemporaryDirectory() as folder:
        spawn(_count, (workers, folder, settings, channels), nprocs=workers)
        counts = [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(workers)]
    if any(count != counts[0] for count in counts):
        raise RuntimeError(f"the workers' collectives differ: {counts}")
    return counts[0]


def _count(rank: int, workers: int, folder: str, settings: Settings, channels: int) -> None:
    with group(rank, workers, folder):
        pretrainer = build_pretrainer(settings, channels).train()
        optimizer = build_optimizer(settings, pretrainer.online.parameters())
        shape = (len(settings.modalities), settings.batch_size // workers, _FRAMES, channels)
        with Counter() as counter:
            take_step(pretrainer, optimizer, torch.randn(shape), torch.randn(shape))
        torch.save(counter.collectives, Path(folder) / f"{rank}.pt")


@contextmanager
def group(rank: int, workers: int, folder: str) -> Iterator[None]:
    """A gloo group of processes that see one folder; each has one thread."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=workers)
    yield
    dist.barrier()  # whoever leaves first would break the others' last one
    dist.destroy_process_group()
