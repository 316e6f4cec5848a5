"""Warnings that something falls back to a slower way, shown to the user in one line each."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Slower(UserWarning):
    """Results are the same; they take longer. The text is one line: what, and why."""


def warn_slower(text: str) -> None:
    """Warn, once per process and text."""
    warnings.warn(" ".join(text.split()), Slower, stacklevel=2)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects these warnings instead of printing them; other warnings are printed as before."""
    texts: list[str] = []
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Slower):
            texts.append(str(message))
        else:
            before(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield texts
    finally:
        warnings.showwarning = before


def format_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
    """Replaces `warnings.formatwarning`: these warnings are one line, without our source."""
    return f"{message}\n" if issubclass(category, Slower) else _format(message, category, *where, **more)


_format = warnings.formatwarning
