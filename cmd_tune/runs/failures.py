"""Failures that end a run, turned into one line: a file that cannot be read, too little memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cmd_tune.errors import CmdTuneError, OutOfMemory
from cmd_tune.full_disk import as_disk_full


@contextmanager
def named_failures() -> Iterator[None]:
    """Raise CmdTuneError in place of a file's OSError (DiskFull for a full disk), OutOfMemory for too little memory."""
    try:
        yield
    except OSError as error:
        if full := as_disk_full(error, Path.cwd()):
            raise full from error
        if not error.filename:
            raise
        raise CmdTuneError(f"{error.filename}: {error.strerror}") from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _out_of_memory(error):
            raise
        raise OutOfMemory("out of memory; lower batch_size, hidden_size or --concurrent") from error


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an exception means too little memory: PyTorch's by type, those of other allocators by message."""
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
