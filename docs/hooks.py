"""Checks of each built page: MkDocs calls these functions, and `--strict` turns a warning into a failure."""

import logging
import re
from typing import Any

_log = logging.getLogger("mkdocs.hooks.cmd_tune")
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"((?:https?:)?//[^\"]+)|<link\b[^>]*\bhref=\"((?:https?:)?//[^\"]+)"
)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Warn of whatever a browser would fetch from the net: the site must look the same without one."""
    for match in _FETCHED.finditer(output):
        _log.warning("%s: fetches %s; keep a copy in docs/", page.file.src_uri, match[1] or match[2])
    return output
