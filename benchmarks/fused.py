"""Fused trials: a trial's step, and trials an hour, by the number of trials side by side."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.rows import Row
from benchmarks.timing import Timing
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.fused_probe import time_trials
from cmd_tune.runs.pretrain_and_score import run
from cmd_tune.settings import Settings
from cmd_tune.train.fused import FusedPrograms

STEPS, REPEATS = 30, 3  # of an epoch that is timed, if there are clips for so many


def fused_rows(settings: Settings, source: DataSource, device: torch.device, counts: Sequence[int]) -> Iterator[Row]:
    """For each number of trials side by side: a trial's step, and whole trials with all that they do between epochs.

    Whole trials run on a GPU where there is one.
    """
    store, split = source.open(settings.holdout)
    store = store.on_device_if_it_fits(device)
    before: dict[str, float] = {}
    for trials in counts:
        runs = [time_trials(settings, store, split.pretrain_N, trials, STEPS, device).each for _ in range(REPEATS)]
        step, whole = Timing(tuple(runs)), Timing((_whole(settings, source, trials) / trials,))
        gains = [before.setdefault(name, x.median) / x.median for name, x in (("step", step), ("whole", whole))]
        note = f"{gains[0]:.2f} times as fast as {counts[0]}"
        yield Row(f"quick preset, {settings.precision}, {trials} fused, a trial's step", step, note=note)
        note = f"{gains[1]:.2f} times as fast; {3600 / whole.median:,.0f} an hour"
        yield Row(f"  a trial of {settings.epochs} epochs", whole, note=note)


def _whole(settings: Settings, source: DataSource, trials: int) -> float:
    """Seconds that so many trials take, validated and kept as those of a search."""
    with tempfile.TemporaryDirectory() as folder, closing(FusedPrograms(trials)) as programs:
        places = [Path(folder) / str(index) for index in range(trials)]

        def train(place: Path) -> None:
            place.mkdir()
            run(settings, source, place, lambda record: None, programs=programs if trials > 1 else None)

        started = perf_counter()
        with ThreadPoolExecutor(trials) as threads:
            list(threads.map(train, places))
        return perf_counter() - started
