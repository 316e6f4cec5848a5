"""A source → normalised clips, on all CPUs it may use. Free of PyTorch, whose import costs a process a second."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from cmd_tune.compute.cpus import usable_cpus
from cmd_tune.data.clip import FAR, MOST_CLASSES, Clip
from cmd_tune.data.ingest.missing_joints import fill_missing
from cmd_tune.data.layouts import Layout
from cmd_tune.data.normalizations import NORMALIZATIONS
from cmd_tune.data.readers.source import Source
from cmd_tune.errors import CmdTuneError

_AHEAD = 4  # batches that each process has in hand or done, so that memory stays bounded

Batch = Sequence[Any]
Read = Callable[[Batch], list[Clip | str]]


def normalized(clip: Clip, layout: Layout, family: str) -> Clip:
    """A clip as recorded, with its missing joints filled and counted, and normalised. Raises ValueError."""
    joints_TVCP, missing_V = fill_missing(clip.joints_TVCP, layout)
    if not joints_TVCP.any():
        raise ValueError(f"no body in any of its {len(joints_TVCP)} frames")
    x_TVCP = NORMALIZATIONS[family].function(joints_TVCP, layout)
    return replace(clip, joints_TVCP=x_TVCP, missing_V=missing_V)


def read_all(
    source: Source, family: str, path: Path, done: int, processes: int
) -> Generator[tuple[int, list[Clip | str]], None, None]:
    """Yield each batch from number `done` on, in order: its number of units, and its clips or lines about failures.

    family: the normalisation of the clips. path: the name of the source in messages.
    """
    batches = islice(source.batches, done, None)
    read = partial(_read, source.read, source.layout, source.bodies, source.normalization, family)
    if processes == 1:
        yield from ((len(batch), read(batch)) for batch in batches)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _start, (read,)) as pool:
        pending: deque[tuple[int, Future[list[Clip | str]]]] = deque()
        try:
            for batch in batches:
                pending.append((len(batch), pool.submit(_read_here, batch)))
                if len(pending) >= _AHEAD * processes:
                    units, reading = pending.popleft()
                    yield units, reading.result()
            for units, reading in pending:
                yield units, reading.result()
        except BrokenProcessPool:
            raise CmdTuneError(f"{path}: a reading process died, perhaps for want of memory; run it again") from None
        finally:
            pool.shutdown(cancel_futures=True)


def processes_that_pay(source: Source) -> int:
    """One process per CPU that may be used, but no more than the work is worth starting them for."""
    return min(usable_cpus(), source.units // source.parallel_from + 1)


def _read(read: Read, layout: Layout, bodies: int, held: str | None, family: str, batch: Batch) -> list[Clip | str]:
    return [clip if isinstance(clip, str) else _checked(clip, layout, bodies, held, family) for clip in read(batch)]


def _checked(clip: Clip, layout: Layout, bodies: int, held: str | None, family: str) -> Clip | str:
    """The clip, normalised, or one line that says why it cannot be used. held: the family that it has already."""
    where, shape = clip.where, clip.joints_TVCP.shape
    expected = len(layout.joints), layout.coordinates, bodies
    if not clip.name.isprintable():
        return f"{ascii(where)[1:-1]}: a name with characters that cannot be printed"
    if not 0 <= clip.label < MOST_CLASSES:
        return f"{where}: label {clip.label} is not in 0–{MOST_CLASSES - 1}"
    if len(shape) != 4 or shape[1:] != expected:
        return f"{where}: joints of shape {shape}, expected (frames, {', '.join(map(str, expected))})"
    if shape[0] == 0:
        return f"{where}: no frames"
    unit = "metres" if layout.coordinates == 3 else "pixels"
    near_TVCP = np.abs(clip.joints_TVCP) < FAR
    if not (near_TVCP if held else near_TVCP | np.isnan(clip.joints_TVCP)).all():
        return f"{where}: coordinates that are not finite, or beyond {FAR:g} {unit}"
    if not clip.joints_TVCP.any():
        return f"{where}: no body in any of its {shape[0]} frames"
    try:
        if held is None:
            return normalized(clip, layout, family)
        if family == held:
            return clip
        return replace(clip, joints_TVCP=NORMALIZATIONS[family].function(clip.joints_TVCP, layout))
    except ValueError as error:
        return f"{where}: {error}"


_read_for_parent: Read  # of a process that reads for another


def _start(read: Read) -> None:
    global _read_for_parent
    _read_for_parent = read
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which stops its processes
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with its parent: a killed parent cannot stop it, and it would wait for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _read_here(batch: Batch) -> list[Clip | str]:
    return _read_for_parent(batch)
