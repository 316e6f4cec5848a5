"""Files of runs: which are there already, and how long the server may take to answer for a large one."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

FILES = "cmd_tune.files"  # tag of a run: name of each of its files → digest of its content
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"  # MLflow's, in seconds; it has none for uploads alone
_SECONDS, _BYTES_PER_SECOND = 60, 1_000_000  # the server may store a file elsewhere before it answers


def file_digest(path: Path) -> str:
    """Of a file's content, 16 characters."""
    digest = blake2b(digest_size=8)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def text_digest(text: str) -> str:
    """The same of a text."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def uploaded(tags: Mapping[str, str]) -> dict[str, str]:
    """The files of a run by its tags: name → digest."""
    try:
        found = json.loads(tags.get(FILES, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def files_tag(files: Mapping[str, str]) -> dict[str, str]:
    return {FILES: json.dumps(files, sort_keys=True)}


@contextmanager
def time_to_upload(size: int) -> Iterator[None]:
    """MLflow waits for an answer as long as a file of this many bytes needs, while it lasts."""
    before = os.environ.get(_TIMEOUT)
    os.environ[_TIMEOUT] = str(max(int(before or 0), _SECONDS + size // _BYTES_PER_SECOND))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TIMEOUT]
        else:
            os.environ[_TIMEOUT] = before
