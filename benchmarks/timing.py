"""Times taken side by side: the ways that are compared take turns, so that a machine's moods fall on all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one way's runs."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.runs)

    def scaled(self, factor: float) -> "Timing":
        return Timing(tuple(factor * run for run in self.runs))


def seconds(work: Callable[[], object], clock: Callable[[], float] = perf_counter) -> float:
    """One run; on a GPU, until its last kernel is done."""
    start = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def take_turns(
    ways: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warm_up: bool = True,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Timing]:
    """Run every way once to warm up, then all of them `repeats` times in turn."""
    if warm_up:
        for work in ways.values():
            seconds(work)
    runs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            runs[name].append(seconds(work, clock))
    return {name: Timing(tuple(taken)) for name, taken in runs.items()}
