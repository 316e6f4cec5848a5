"""What went wrong, in one line: the first words, which say what, and the last, where libraries put the cure."""

import re

from cmd_tune.errors import with_cure
from cmd_tune.redact import redact

_FIRST, _LAST = 160, 240  # characters that are kept of a long message
_OF_SQLALCHEMY = re.compile(
    r"\[SQL: .*?\]\s*(\[parameters: .*?\]\s*)?(?=\(Background|$)|\(Background on this error.*?\)", re.DOTALL
)
_PAGE = re.compile(r"<!doctype html|<html", re.IGNORECASE)


def describe_cause(error: BaseException) -> str:
    """An exception in one line, without passwords: the system's words if there are such beneath the libraries'."""
    root = error
    while deeper := root.__cause__ or root.__context__:
        root = deeper
    of_system = next((part for part in (root, *root.args) if isinstance(part, OSError)), None)
    words = str(error) if of_system is None else of_system.strerror or str(of_system)
    return with_cure(redact(_shortened(words) or type(error).__name__))


def _shortened(text: str) -> str:
    """A message in one line; of a long one its beginning and its end. SQL and the tags of HTML are left out."""
    text = _OF_SQLALCHEMY.sub("", text)
    if _PAGE.search(text):
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    text = " ".join(text.split())
    if len(text) <= _FIRST + _LAST:
        return text
    first, last = text[:_FIRST].rpartition(" ")[0] or text[:_FIRST], text[-_LAST:].partition(" ")[2] or text[-_LAST:]
    return f"{first} … {last}"
