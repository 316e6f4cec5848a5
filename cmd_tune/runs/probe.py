"""Measures a few steps of a configuration, so that the time of whole runs can be told before they start."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import torch

from cmd_tune.compute.allocator import keep_freed_memory
from cmd_tune.compute.device import device_here
from cmd_tune.data.splits import Split
from cmd_tune.data.store import Store
from cmd_tune.evaluate.scores import Scores, encoder_scores
from cmd_tune.model.encoders import Encoder
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.failures import named_failures
from cmd_tune.settings import Settings
from cmd_tune.train.loop import Record, pretrain

_LEAST_STEPS = 3  # of an epoch that is measured
_EPOCH_S = 1.5  # what such an epoch takes, if its steps are shorter than that


@dataclass(frozen=True)
class Probed:
    """Seconds of a step, of an evaluation on validation (0 without one) and on test, of a checkpoint; bytes at most.

    memory: of the process; gpu_memory: of tensors on its GPU.
    """

    step: float
    validation: float
    test: float
    checkpoint: float
    memory: int
    gpu_memory: int

    def seconds(self, settings: Settings, clips: int, *, validated: bool, tested: bool) -> float:
        """How long a whole run takes that pretrains on so many clips."""
        epochs = settings.epochs
        steps = epochs * (clips // settings.batch_size)
        checkpoints, validations = (
            ceil(epochs / every) for every in (settings.checkpoint_every, settings.evaluate_every)
        )
        parts = (steps * self.step, checkpoints * self.checkpoint)
        return sum(parts) + validated * validations * self.validation + tested * self.test


@named_failures()
def probe(settings: Settings, source: DataSource, threads: int, meet: Callable[[], object] = lambda: None) -> Probed:
    """Measure steps of real training on real clips, after a warm-up, and one evaluation of each kind.

    threads: of PyTorch. meet: called after the warm-up, to wait for probes beside this one. Writes nothing that lasts.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    device = device_here()
    store, split = source.open(settings.holdout)
    store = store.on_device_if_it_fits(device)
    most = len(split.pretrain_N) // settings.batch_size
    rough = _measure(settings, store, split, min(_LEAST_STEPS, most))
    meet()
    steps = min(max(_LEAST_STEPS, ceil(_EPOCH_S / rough.step)), most)
    found = _measure(settings, store, split, steps, evaluated=True)
    meet()  # nobody measures beside fewer than there will be
    return found


def _measure(settings: Settings, store: Store, split: Split, steps: int, *, evaluated: bool = False) -> Probed:
    """Train for three short epochs, of which the first warms up."""
    device = device_here()
    took = {"val": 0.0, "test": 0.0}
    ends, records = list[float](), list[Record]()

    def evaluate(online: Encoder) -> Scores:
        for prefix, rounds in (("val", split.validation), ("test", split.test)):
            if evaluated and rounds:
                began = monotonic()
                encoder_scores(online, store, rounds, settings, prefix=prefix)
                took[prefix] = monotonic() - began
        return {}

    def report(record: Record) -> None:
        ends.append(monotonic())
        records.append(record)

    short = settings.model_copy(update={"epochs": 3, "evaluate_every": 3, "checkpoint_every": 1})
    with TemporaryDirectory() as folder:
        pretrain(
            short,
            store,
            split.pretrain_N[: steps * settings.batch_size],
            folder=Path(folder),
            evaluate=evaluate,
            report=report,
            device=device,
        )
    unit = 1 if sys.platform == "darwin" else 1024
    return Probed(
        step=sum(record["seconds"] for record in records[1:]) / (2 * steps),
        validation=took["val"],
        test=took["test"],
        checkpoint=max(0.0, ends[1] - ends[0] - records[1]["seconds"]),
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        gpu_memory=torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
    )
