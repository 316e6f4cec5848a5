"""Lets a run go on when its output cannot be written: the terminal is closed, the pipe's reader ended, a disk full."""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any


class _Lasting(io.FileIO):
    """A stream's descriptor that drops what it cannot write, instead of raising an error."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            if (written := super().write(data)) is not None:
                return written
        return memoryview(data).nbytes


def outlive_screen() -> None:
    """Make stdout and stderr of this process raise nothing, for unknown characters or for a reader that is gone.

    A reader may have ended (`| head`), the disk of the output may be full, the terminal may be closed. Processes that
    are started afterwards ignore the terminal's end as well.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: the next file opened would get its number, and what the C libraries print
            os.open(os.devnull, os.O_WRONLY)
        elif isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):
                stream.flush()
            raw = _Lasting(stream.fileno(), "w", closefd=False)
            lines = stream.line_buffering or name == "stderr"
            lasting = io.TextIOWrapper(
                io.BufferedWriter(raw), encoding=stream.encoding, errors="replace", line_buffering=lines
            )
            setattr(sys, name, lasting)
