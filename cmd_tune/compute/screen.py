"""The screen: a terminal, a file, or a pipe to somebody who may go away. A run outlives it."""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any


class _Lasting(io.FileIO):
    """A stream's descriptor, for which nothing written is an error: what cannot be written is dropped."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            if (written := super().write(data)) is not None:
                return written
        return memoryview(data).nbytes


def outlive_screen() -> None:
    """Have stdout and stderr of this process raise nothing: neither for letters that they lack, nor for having gone.

    A reader may have read enough (`| head`), the disk that takes the output may be full, the terminal may be closed,
    of which processes that are started after this do not hear either.
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
