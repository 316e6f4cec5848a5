"""Paths in plan files: those inside the storage are written relative to it, so that a storage can be moved."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cmd_tune.files import home_path
from cmd_tune.remote_files import looks_like_uri

_KEYS = ("data", "checkpoint", "transfer_data")  # of plan files, whose values are paths


def write_paths(content: Mapping[str, Any], storage: Path) -> dict[str, Any]:
    """The content of a plan file with every path that lies in the storage relative to it."""
    return {**content, **{key: relative_to_storage(text, storage) for key, text in _texts(content).items()}}


def read_paths(content: Mapping[str, Any], storage: Path) -> dict[str, Any]:
    """The content of a plan file with absolute paths. storage: where the run lies now.

    A path that is gone, as the absolute ones of earlier releases are once a storage has moved, is looked for at the
    same place in the storage.
    """
    found = {key: str(find_again(_absolute(text, storage), [storage])) for key, text in _texts(content).items()}
    return {**content, **found}


def inside_storage(content: Mapping[str, Any]) -> list[str]:
    """The relative paths in a plan file: what the run reads of its storage."""
    texts = [text for text in _texts(content).values() if not text.startswith(("/", "~"))]
    return [text.removeprefix("./") for text in texts if ".." not in Path(text).parts]


def _texts(content: Mapping[str, Any]) -> dict[str, str]:
    """The paths in a plan file, without URIs."""
    texts = {key: content[key] for key in _KEYS if isinstance(content.get(key), str)}
    return {key: text for key, text in texts.items() if not looks_like_uri(text)}


def relative_to_storage(text: str, storage: Path) -> str:
    """An absolute path as a plan file has it."""
    for resolve in (os.path.abspath, os.path.realpath):  # a storage may be reached by a link
        path, root = Path(resolve(text)), Path(resolve(storage))
        if path != root and path.is_relative_to(root):
            relative = path.relative_to(root).as_posix()
            return f"./{relative}" if relative.startswith("~") else relative
    return text


def find_again(path: Path, places: Iterable[Path]) -> Path:
    """A path that exists: itself, or the longest end of it that there is in one of these folders; else itself."""
    if path.exists():
        return path
    for place in places:
        for start in range(1, len(path.parts)):
            if (found := place.joinpath(*path.parts[start:])).exists():
                return found
    return path


def _absolute(text: str, storage: Path) -> Path:
    return storage / (home_path(text) if text.startswith("~") else Path(text))
