"""Passwords and keys in URIs, taken out of whatever is printed or kept."""

import re

HIDDEN = "***"
_NAMES = (
    r"(?:\w*(?:password|passwd|passphrase|secret|token|signature|credential)\w*"
    r"|sig|pwd|pass|access[_-]?key|api[_-]?key|key)"
)
# scheme://user:password@, where what follows a host is a port, and not a password.
_PASSWORD = re.compile(r"(://[^\s/?#@:'\"]*):(?!\d+(?:[/\s'\",;]|$))[^\s'\"]+@")
_NAME_ALONE = re.compile(r"(https?://)[^\s/?#@:'\"]+@")  # a token in the place of a user
_PARAMETER = re.compile(rf"([?&;]{_NAMES}=)[^\s&;#'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """A text with *** for every password, token or key in the URIs in it: of users, of parameters after `?`."""
    text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", _NAME_ALONE.sub(rf"\1{HIDDEN}@", text))


def is_redacted(uri: str) -> bool:
    """Whether a URI has lost a password, so that it opens nothing."""
    return f"{HIDDEN}@" in uri or f"={HIDDEN}" in uri
