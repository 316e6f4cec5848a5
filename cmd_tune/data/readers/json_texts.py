"""JSON of others' programs."""

import json
from typing import Any

from cmd_tune.errors import DataError


def read_json(where: str, text: bytes) -> Any:
    """The content of a JSON text. where: the name of the file in messages. Raises DataError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None
