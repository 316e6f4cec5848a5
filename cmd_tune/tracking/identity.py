"""The identity of a run: random, kept in its plan file, and written to the server, where names may be equal."""

from secrets import token_hex
from typing import Annotated

from pydantic import StringConstraints

_EARLIER = "earlier-"

Identity = Annotated[str, StringConstraints(pattern=r"^[\w-]{1,64}$")]  # as a plan file has it


def new_identity() -> str:
    """The identity of a new run."""
    return token_hex(8)


def earlier_identity() -> str:
    """The identity of a run whose plan file has none: an earlier release began it, and recorded it by its name."""
    return _EARLIER + token_hex(8)


def is_earlier(identity: str) -> bool:
    """Whether a run may be recorded by its name alone."""
    return identity.startswith(_EARLIER)
