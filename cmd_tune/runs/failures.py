"""Failures that end a run, turned into one line: a file that cannot be read, too little memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cmd_tune.errors import CmdTuneError, OutOfMemory
from cmd_tune.full_disk import as_disk_full
from cmd_tune.out_of_memory import is_out_of_memory


@contextmanager
def named_failures() -> Iterator[None]:
    """Raise CmdTuneError in place of a file's OSError (DiskFull for a full disk), OutOfMemory for too little memory."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and (full := as_disk_full(error, Path.cwd())):
            raise full from error
        if is_out_of_memory(error):
            raise OutOfMemory("out of memory; lower batch_size, frames, hidden_size, --concurrent or --fuse") from error
        if not isinstance(error, OSError) or not error.filename:
            raise
        raise CmdTuneError(f"{error.filename}: {error.strerror}") from error
