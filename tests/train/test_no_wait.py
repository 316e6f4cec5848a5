"""No part of a training step makes the host wait for a GPU.

Run on the meta device, which has shapes and no numbers: whoever reads a number fails, and who copies a tensor there
from ordinary memory is seen, be it under the hood of `torch.tensor(…, device=…)`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cmd_tune.data import augment
from cmd_tune.data.modalities import MODALITIES
from cmd_tune.train.batches import Batches
from cmd_tune.train.distributed import average_gradients, gather_batch, sum_over_workers
from cmd_tune.train.loop import _Totals, build_pretrainer, objective_at

META = torch.device("meta")


class Copies(TorchDispatchMode):
    """Operations that take or give tensors of the host and of the device."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor) and x.ndim]
        if len({x.device for x in tensors}) > 1:
            self.seen.append(str(operation))
        return out


class Data(TorchFunctionMode):
    """Calls that make a tensor of Python's numbers on the device, by way of ordinary memory."""

    makers = (torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor)

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function in self.makers and out.device == META:
            self.seen.append(function.__name__)
        return out


@contextmanager
def watched() -> Iterator[list[str]]:
    seen: list[str] = []
    with Copies(seen), Data(seen):
        yield seen


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: x.new_tensor([1.0]), "new_tensor"),
        (lambda x: torch.tensor([2], device=x.device), "tensor"),
        (lambda x: torch.ones(3).to(x.device), "aten._to_copy.default"),
        (lambda x: x.copy_(torch.ones(3)), "aten.copy_.default"),
    ],
)
def test_a_copy_from_ordinary_memory_is_seen(make, name):
    with watched() as seen:
        make(torch.empty(3, device=META))
    assert seen == [name]


def test_a_number_that_is_read_is_an_error():
    with pytest.raises((RuntimeError, NotImplementedError)), watched():
        torch.empty((), device=META).item()


@pytest.mark.parametrize("objective", ["base", "mcl", "crossclr", "cmd"])
def test_a_step_crosses_nowhere(tiny, objective):
    """But for the optimiser, PyTorch's own, which this device does not have."""
    settings = tiny(objective=objective)
    pretrainer = build_pretrainer(settings, 60).to(META)
    pretrainer.objective = objective_at(settings, 1)
    totals = _Totals(settings.modalities, pretrainer.objective, META)
    view_MBTX = torch.empty(len(settings.modalities), settings.batch_size, settings.frames, 60, device=META)
    for _ in range(2):
        with watched() as seen:
            losses, key_MBD = pretrainer(view_MBTX, view_MBTX, sum_over_workers)
            losses.total.backward()
            average_gradients(pretrainer.online.parameters())
            pretrainer.banks.enqueue(gather_batch(key_MBD))
            totals.add(losses)
    assert seen == []


def test_views_cross_by_pinned_memory_alone(tiny_store, tiny, monkeypatch):
    """Of frames on the device: the draws, by `onto`. The second batch: what is made once has been made."""
    handed = []

    def onto(x, device):
        handed.append(x)
        return torch.empty(x.shape, dtype=x.dtype, device=device)

    monkeypatch.setattr(augment, "onto", onto)
    settings = tiny(modalities=tuple(MODALITIES))
    store = replace(tiny_store, rows_FX=tiny_store.rows_FX.to(META))
    batches = Batches(
        store,
        torch.arange(len(store)).numpy(),
        batch_size=settings.batch_size,
        frames=settings.frames,
        strength=augment.Strength(4, 0.5, 1.0, 0.5),
        modalities=settings.modalities,
        seed=0,
        device=META,
    )
    order = batches.epoch(1)
    next(order)
    handed.clear()
    with watched() as seen:
        next(order)
    assert seen == []
    assert len(handed) == 5
