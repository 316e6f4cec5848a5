"""Measures a few steps of a configuration, so that the time of whole runs can be told before they start."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from statistics import mean
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
from cmd_tune.runs.fused_probe import side_by_side
from cmd_tune.settings import Settings
from cmd_tune.train.loop import Record, pretrain
from cmd_tune.train.step import MakeSteps

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
def probe(
    settings: Settings,
    source: DataSource,
    threads: int,
    meet: Callable[[], object] = lambda: None,
    *,
    trials: int = 1,
) -> Probed:
    """Measure steps of real training on real clips, after a warm-up, and one evaluation of each kind.

    threads: of PyTorch. meet: called after the warm-up, to wait for probes beside this one. trials: of this process,
    fused; the seconds are then those that each of them waits. Writes nothing that lasts.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    device = device_here()
    store, split = source.open(settings.holdout)
    store = store.on_device_if_it_fits(device)
    most = len(split.pretrain_N) // settings.batch_size
    rough = _measure(settings, store, split, min(_LEAST_STEPS, most), trials)
    meet()
    steps = min(max(_LEAST_STEPS, ceil(_EPOCH_S / rough.step)), most)
    found = _measure(settings, store, split, steps, trials, evaluated=True)
    meet()  # nobody measures beside fewer than there will be
    return found


def _measure(
    settings: Settings, store: Store, split: Split, steps: int, trials: int, *, evaluated: bool = False
) -> Probed:
    """Train for three short epochs, of which the first warms up: so many trials side by side."""
    device = device_here()
    each = side_by_side(trials, partial(_train, settings, store, split, steps, evaluated, device), device)
    unit = 1 if sys.platform == "darwin" else 1024
    return Probed(
        **{name: mean(of_trial[name] for of_trial in each) for name in each[0]},
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        gpu_memory=torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
    )


def _train(
    settings: Settings,
    store: Store,
    split: Split,
    steps: int,
    evaluated: bool,
    device: torch.device,
    steps_by: MakeSteps,
) -> dict[str, float]:
    """The seconds of `Probed` by one trial."""
    took = {"validation": 0.0, "test": 0.0}
    ends, records = list[float](), list[Record]()

    def evaluate(online: Encoder) -> Scores:
        for part, prefix, rounds in (("validation", "val", split.validation), ("test", "test", split.test)):
            if evaluated and rounds:
                began = monotonic()
                encoder_scores(online, store, rounds, settings, prefix=prefix)
                took[part] = monotonic() - began
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
            steps_by=steps_by,
        )
    step = sum(record["seconds"] for record in records[1:]) / (2 * steps)
    return {**took, "step": step, "checkpoint": max(0.0, ends[1] - ends[0] - records[1]["seconds"])}
