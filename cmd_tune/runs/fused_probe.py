"""Times a configuration's steps with more and more trials side by side, so that how many of them pay can be told."""

import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from threading import Barrier, BrokenBarrierError
from typing import Any, TypeVar

import torch

from cmd_tune.compute.allocator import keep_freed_memory
from cmd_tune.compute.device import device_here
from cmd_tune.data.splits import Indices
from cmd_tune.data.store import Store
from cmd_tune.out_of_memory import is_out_of_memory
from cmd_tune.runs.data_source import DataSource
from cmd_tune.runs.failures import named_failures
from cmd_tune.settings import Settings
from cmd_tune.train.fused import FusedPrograms
from cmd_tune.train.loop import Record, pretrain
from cmd_tune.train.step import WARM_UP, MakeSteps, Steps, steps_alone

T = TypeVar("T")

LEAST_GAIN = 1.1  # how many times as fast a trial's step must be for more trials side by side
MOST_OF_CARD = 0.8  # of a card's memory, what fused trials may take
_EPOCH_S = 0.5  # what an epoch that is timed takes, if there are clips for that


@dataclass(frozen=True)
class Timed:
    """So many trials side by side: seconds of a step of all, and the bytes that they take of a card."""

    trials: int
    step: float
    memory: int

    @property
    def each(self) -> float:
        """Seconds of a step for each trial that takes one."""
        return self.step / self.trials


def choose(rows: Sequence[Timed], room: float) -> Timed:
    """The row with the most trials that are worth it: each gains on the one before, and fits into `room` bytes.

    rows: by number of trials, from one trial on, which counts whether it fits or not.
    """
    best = rows[0]
    for row in rows[1:]:
        if row.memory > room or best.each < LEAST_GAIN * row.each:
            break
        best = row
    return best


def next_trials(rows: Sequence[Timed], most: int, room: float) -> int | None:
    """How many trials to time next: twice as many, but no more than `most`; None if more cannot be chosen.

    Their memory is taken to grow with them from the last row on, of which a part may be there once.
    """
    if not rows:
        return 1
    last = rows[-1]
    trials = min(2 * last.trials, most)
    pays = choose(rows, room) is last and trials > last.trials
    return trials if pays and last.memory * trials <= room * last.trials else None


@named_failures()
def time_fused(
    settings: Settings, source: DataSource, most: int, share: float, device: torch.device | None = None
) -> tuple[Timed, Timed]:
    """One trial by itself, and as many side by side, up to `most`, as `choose` takes, timed on real clips.

    share: of the card, for this process. device: if not this process's. Writes nothing. Raises OutOfMemory if not even
    one trial has room.
    """
    keep_freed_memory()
    device = device or device_here()
    store, split = source.open(settings.holdout)
    store = store.on_device_if_it_fits(device)
    settings = settings.model_copy(update={"stages": "one"})  # the objective that takes most of the time
    room = inf
    if device.type == "cuda":
        room = share * MOST_OF_CARD * torch.cuda.mem_get_info(device)[1] - _taken(device)
    rows: list[Timed] = []
    steps = WARM_UP + 2
    while trials := next_trials(rows, most, room):
        try:
            rows.append(time_trials(settings, store, split.pretrain_N, trials, steps, device))
        except (MemoryError, RuntimeError) as error:
            if not rows or not is_out_of_memory(error):
                raise
            break
        steps = max(WARM_UP + 2, ceil(_EPOCH_S / rows[-1].step))
    return rows[0], choose(rows, room)


class _Enough(Exception):
    """Ends a trial that has been timed."""


def time_trials(
    settings: Settings, store: Store, clips_N: Indices, trials: int, steps: int, device: torch.device
) -> Timed:
    """Train so many trials for two epochs of so many steps, if there are clips for that, after a warm-up."""
    before = _taken(device)
    clips_N = clips_N[: steps * settings.batch_size]
    steps = len(clips_N) // settings.batch_size
    warm = ceil((WARM_UP + 2) / steps)  # the steps before a capture, it and one after it
    # None of them comes to the end, where it would be saved.
    endless = {"epochs": warm + 3, "evaluate_every": warm + 3, "checkpoint_every": warm + 3}

    def train(steps_by: MakeSteps) -> tuple[list[float], int]:
        seconds, taken = list[float](), list[int]()

        def report(record: Record) -> None:
            seconds.append(record["seconds"])
            if len(seconds) == warm + 2:
                taken.append(_taken(device))
                raise _Enough

        with TemporaryDirectory() as folder, suppress(_Enough):
            pretrain(
                settings.model_copy(update=endless),
                store,
                clips_N,
                folder=Path(folder),
                evaluate=lambda online: {},
                report=report,
                device=device,
                steps_by=steps_by,
            )
        return seconds[warm:], taken[0]

    found = side_by_side(trials, train, device)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    step = mean(second for seconds, _ in found for second in seconds) / steps
    return Timed(trials, step, max(taken for _, taken in found) - before)


def _taken(device: torch.device) -> int:
    """Bytes of a card that are not free; 0 of a processor."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def side_by_side(trials: int, train: Callable[[MakeSteps], T], device: torch.device) -> list[T]:
    """What `train` returns in so many threads, whose steps one program takes and begins together.

    One trial takes its own steps. If some fail, the first one's failure is raised, once all have ended.
    """
    if trials == 1:
        return [train(steps_alone)]
    begin = Barrier(trials)
    programs = FusedPrograms(trials)

    def together(*of_trial: Any) -> Steps:
        begin.wait()
        return programs(*of_trial)

    def run() -> T:
        try:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            return train(together)
        except BaseException:
            begin.abort()  # nobody waits for one that has failed
            raise

    with closing(programs), ThreadPoolExecutor(trials, "trial") as threads:
        ended = [threads.submit(run) for _ in range(trials)]
        failures = [error for each in ended if (error := each.exception())]
    if failures:
        raise next((error for error in failures if not isinstance(error, BrokenBarrierError)), failures[0])
    return [each.result() for each in ended]
