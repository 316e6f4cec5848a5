"""Files → normalised clips, on all cores. Free of PyTorch, whose import would cost every process a second."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import Layout
from cmd_tune.data.normalize import normalize
from cmd_tune.data.readers import Reader
from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.errors import DataError

_CHUNK = 32  # files that a process is given at a time
_FEW = 1000  # files below which starting processes takes longer than it saves


def normalized(clip: Clip, layout: Layout, where: str) -> Clip:
    """where: how messages name the clip. Raises DataError."""
    try:
        return replace(clip, joints_TVCP=normalize(clip.joints_TVCP, layout))
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def read_all(reader: Reader, files: ClipFiles, names: Sequence[str]) -> Iterator[tuple[str, Clip | str]]:
    """Each file's clip, or a line about what is wrong with it, in the order of `names`."""
    processes = min(os.cpu_count() or 1, len(names) // _FEW + 1)
    if processes == 1:
        yield from ((name, _read(reader, files, name)) for name in names)
        return
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, _open, (reader, files.source)) as pool:
        try:
            for chunk, clips in zip(chunks, pool.map(_read_chunk, chunks), strict=True):
                yield from zip(chunk, clips, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _read(reader: Reader, files: ClipFiles, name: str) -> Clip | str:
    where = files.where(name)
    try:
        return normalized(reader.parse(where, Path(name).stem, files.read(name)), reader.layout, where)
    except DataError as error:
        return str(error)


_opened: tuple[Reader, ClipFiles]  # of a process that reads for another


def _open(reader: Reader, source: Path) -> None:
    global _opened
    _opened = reader, ClipFiles(source, reader.suffix)


def _read_chunk(names: Sequence[str]) -> list[Clip | str]:
    return [_read(*_opened, name) for name in names]
