"""Failures that end a run, turned into one line: a file that cannot be read, too little memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cmd_tune.errors import CmdTuneError, OutOfMemory


@contextmanager
def named_failures() -> Iterator[None]:
    """Raise CmdTuneError in place of a file's OSError, and OutOfMemory in place of others for too little memory."""
    try:
        yield
    except OSError as error:
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
