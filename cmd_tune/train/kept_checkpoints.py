"""The last checkpoint of a run and the one before it, which is used where the last one is damaged."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cmd_tune.compute.slower import warn_slower
from cmd_tune.errors import CmdTuneError, DataError
from cmd_tune.train.checkpoint import load_checkpoint, save_checkpoint

MOST_AT_ONCE = 3  # files of a run: the last, the one before, and the one that is being written


class Newest(NamedTuple):
    """The newest whole checkpoint: its file, and its content."""

    path: Path
    state: dict[str, Any]


def path_before(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is: checkpoint.pt → checkpoint-before.pt."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def load_newest(path: Path, device: torch.device | str = "cpu") -> Newest | None:
    """The checkpoint at `path`; if it is damaged or gone, the one before it, which a warning says. None if neither is.

    Raises DataError if there is no whole one.
    """
    earlier = path_before(path)
    try:
        return Newest(path, load_checkpoint(path, device))
    except DataError as error:
        why = error
    try:
        state = load_checkpoint(earlier, device)
    except DataError as error:
        there = [file for file in (path, earlier) if file.exists()]
        if not there:
            return None
        said = why if path in there else error
        both = f", nor is {earlier.name}" if len(there) == 2 else ""
        those = "one of them, or remove both" if both else "it, or remove it"
        raise DataError(f"{said}{both}; restore {those} and train from the first epoch") from error
    warn_slower(f"{why}; {earlier.name}, of epoch {len(state.get('history') or ())}, is used in its place")
    return Newest(earlier, state)


def save_next(path: Path, state: dict[str, Any], *, keep: bool) -> None:
    """Write a checkpoint at `path`. keep: whether the one that is there becomes the one before; else it is replaced.

    A process that is killed at any moment leaves a whole checkpoint, if there was one.
    """
    save_checkpoint(path, state, before=path_before(path) if keep else None)


def remove_checkpoints(path: Path) -> None:
    """Remove the checkpoint at `path` and the one before it. Raises CmdTuneError if the folder does not allow it."""
    for file in (path, path_before(path)):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise CmdTuneError(f"{file}: cannot be removed: {error.strerror}") from error


def keep_last(path: Path) -> None:
    """Remove the checkpoint before the one at `path`, since the run goes on no more.

    If there is none at `path`, since a process was killed as it wrote that, the one before takes its name. Raises
    CmdTuneError if the folder does not allow it.
    """
    earlier = path_before(path)
    try:
        if path.exists():
            earlier.unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):
                os.replace(earlier, path)
    except OSError as error:
        raise CmdTuneError(f"{earlier}: cannot be removed: {error.strerror}") from error
