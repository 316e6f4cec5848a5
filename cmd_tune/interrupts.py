"""Ctrl-C and SIGTERM: the first ends a command in order, and within seconds whatever hangs; the second ends it at once.

Imports nothing of weight, so that it is there before anything else is.
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from threading import Timer
from types import FrameType
from typing import Any

EXIT_CODE = 130
_GRACE_S = 3.0  # for an orderly end; the signal itself waits for what the main thread is in

_line = ["interrupted"]  # what is said at the end
_timers: list[Timer] = []  # of the end that has begun


def catch() -> None:
    """Have SIGINT, also in the background, and SIGTERM raise KeyboardInterrupt in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


def say_then(line: str) -> str:
    """Set the line for an end that takes too long; returns the one before."""
    before, _line[0] = _line[0], line
    return before


def release(handlers: Mapping[signal.Signals, Any]) -> None:
    """Give signals back to the handlers from before `catch`. If these are of others, no end is cut off any more."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if _on_signal not in handlers.values():
        while _timers:
            _timers.pop().cancel()
        _line[0] = "interrupted"


def over() -> None:
    """The orderly end has been told: what is left of the process ends silently."""
    _line[0] = ""


def _on_signal(number: int, frame: FrameType | None) -> None:
    signal.alarm(0)  # Ray, once it runs, is told of SIGTERM first, and would abort the process in three seconds
    if _timers:
        _end()
    timer = Timer(_GRACE_S, _end)
    timer.daemon = True
    _timers.append(timer)
    timer.start()
    raise KeyboardInterrupt


def _end() -> None:
    if _line[0]:
        with suppress(OSError, ValueError, AttributeError):  # sys.stderr may be closed, or None
            # Not 2, which may lead to a log by now; and past the stream, which this may have interrupted.
            os.write(sys.stderr.fileno(), f"{_line[0]}\n".encode(errors="replace"))
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(EXIT_CODE)
