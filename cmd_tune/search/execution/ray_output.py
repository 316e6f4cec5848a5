"""Keeps off the screen what Ray and C++ libraries print past Python's loggers and streams."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def native_errors_to(log: Path) -> Iterator[None]:
    """Append to `log` what is written to file descriptor 2; Python's own sys.stderr still reaches the screen.

    Processes that are started meanwhile inherit the log.
    """
    stream: Any = sys.stderr  # None if it was closed before the program began
    _flush(stream)
    screen = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
    if isinstance(stream, io.TextIOWrapper) and stream.fileno() == 2:
        raw: Any = type(getattr(stream.buffer, "raw", stream.buffer))  # FileIO, or what replaces it here
        buffer = io.BufferedWriter(raw(screen, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
    try:
        yield
    finally:
        _flush(sys.stderr)
        sys.stderr = stream
        os.dup2(screen, 2)
        os.close(screen)


def log_ray_messages() -> None:
    """Log what Ray's node tells this process, as of a worker that died: Ray prints it whatever its options."""
    from ray._private import worker

    def log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        logging.getLogger("ray").warning("%s: %s", data.get("pid"), "\n".join(map(str, data["lines"])))

    worker.print_to_stdstream = log


def _flush(stream: Any) -> None:
    if stream is not None:
        stream.flush()
