"""What falls back to something slower says so once: a warning of a kind of its own, which is handed on to a person."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Slower(UserWarning):
    """Results are the same; they take longer. The text is one line: what, and why."""


def warn_slower(text: str) -> None:
    """Say it, once a process."""
    warnings.warn(" ".join(text.split()), Slower, stacklevel=2)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects such warnings instead of printing them; all others go where they went."""
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
    """In place of `warnings.formatwarning`: such a warning is a line for a person, who wants no line of our source."""
    return f"{message}\n" if issubclass(category, Slower) else _format(message, category, *where, **more)


_format = warnings.formatwarning
