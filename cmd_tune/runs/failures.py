"""What ends a run for good, in one line: a file that cannot be read, too little memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cmd_tune.errors import CmdTuneError, OutOfMemory


@contextmanager
def named_failures() -> Iterator[None]:
    """Raise CmdTuneError, in one line, in the place of what a file or too little memory raises in a run."""
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
    """PyTorch has an exception for one allocator; the CPU's, CUDA's own and its libraries' say it in words."""
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
