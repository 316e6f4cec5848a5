"""Warnings that something falls back to a slower way, shown to the user in one line each."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any

_lock = Lock()
_listeners: list[tuple[int, list[str]]] = []  # thread, and what it has heard
# `warnings.showwarning` as it was before ours took its place. It stays known: `warnings.catch_warnings` of another
# thread may bring ours back when nobody listens any more.
_printing: list[Any] = [warnings.showwarning]


class Slower(UserWarning):
    """Results are the same; they take longer. The text is one line: what, and why."""


def warn_slower(text: str) -> None:
    """Warn, once per process and text."""
    warnings.warn(" ".join(text.split()), Slower, stacklevel=2)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects these warnings instead of printing them; other warnings are printed as before.

    Several threads may listen: each hears its own. What a thread warns of that does not listen, as one that works for
    several, the thread hears that listens last.
    """
    texts: list[str] = []
    mine = (get_ident(), texts)
    with _lock:
        if warnings.showwarning is not _show:
            _printing[:] = [warnings.showwarning]
            warnings.showwarning = _show
        _listeners.append(mine)
    try:
        yield texts
    finally:
        with _lock:
            _listeners[:] = [one for one in _listeners if one is not mine]
            if not _listeners and warnings.showwarning is _show:
                warnings.showwarning = _printing[-1]


def _show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    with _lock:
        own = [texts for thread, texts in _listeners if thread == get_ident()]
        hear = (own or [texts for _, texts in _listeners])[-1:]
        print_it = _printing[-1]
    if hear and issubclass(category, Slower):
        hear[0].append(str(message))
    else:
        print_it(message, category, *where, **more)


def format_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    """Replaces `warnings.formatwarning`: these warnings are one line, without our source."""
    return f"{message}\n" if issubclass(category, Slower) else _format(message, category, *where, **more)


_format = warnings.formatwarning
