"""Readers that raise something other than a CmdTuneError, by mistake: one line instead of a traceback."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cmd_tune.data.clip import Clip
from cmd_tune.data.readers.source import ReadOptions, Source
from cmd_tune.errors import CmdTuneError, DataError, one_line

Batch = Sequence[Any]
Read = Callable[[Batch], list[Clip | str]]
_PASSED_ON = (CmdTuneError, MemoryError)  # in one line already, or no mistake of the reader


def open_guarded(reader: Callable[[Path, ReadOptions], Source], path: Path, options: ReadOptions) -> Source:
    """Open a source whose reader may fail in any way.

    Whatever it raises while it opens the source or makes batches becomes a DataError; while it reads a batch, a line
    for each unit that cannot be read. KeyboardInterrupt, MemoryError and CmdTuneError stay what they are.
    """
    with _as_data_error(path):
        source = reader(path, options)
    return replace(source, batches=_batches(source.batches, path), read=partial(_read, source.read, path))


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except _PASSED_ON:
        raise
    except Exception as error:
        raise DataError(_line(str(path), error)) from error


def _batches(batches: Iterable[Batch], path: Path) -> Iterator[Batch]:
    with _as_data_error(path):
        yield from batches


def _read(read: Read, path: Path, batch: Batch) -> list[Clip | str]:
    """The clips of a batch; after a failure, of each of its units by itself."""
    try:
        return read(batch)
    except _PASSED_ON:
        raise
    except Exception as error:
        if len(batch) > 1:
            return [one for unit in batch for one in _read(read, path, [unit])]
        return [_line(f"{path}: {_name(batch[0])}", error)]


def _name(unit: Any) -> object:
    """A unit is a clip, the name of a file, has such a name first, or has a field of that name."""
    if isinstance(unit, Clip):
        return unit.name
    return unit[0] if isinstance(unit, tuple) else getattr(unit, "file", unit)


def _line(where: str, error: Exception) -> str:
    return " ".join(f"{where}: the reader failed with {one_line(error)}".split())
