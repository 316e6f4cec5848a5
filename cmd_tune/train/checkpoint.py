"""The state of a run in one file: weights, banks, optimiser, history. Draws have no state: the epoch is their key."""

import pickle
from pathlib import Path
from typing import Any

import torch

from cmd_tune.errors import DataError
from cmd_tune.files import atomic_file
from cmd_tune.full_disk import check_room
from cmd_tune.train.checkpoint_content import check_content

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain containers, whole or not at all."""
    save_tensors(path, {"format": FORMAT, **state})


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers, whole or not at all."""
    with atomic_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # PyTorch's writer raises it for a full disk
            check_room(path)
            raise OSError(str(error).splitlines()[0]) from error


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a file of `save_checkpoint`. Raises DataError for any other file."""
    state = load_tensors(path, device)
    if not isinstance(version := state.get("format"), int) or version != FORMAT:
        theirs = "; the authors' are read by 'python -m cmd_tune import'" if "state_dict" in state else ""
        raise DataError(f"{path}: not a checkpoint of this release{theirs}")
    check_content(path, state)
    return state


def load_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read tensors and plain containers under names. Raises DataError for anything else."""
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError as error:  # whose text advises to run what the file asks for
        raise DataError(f"{path}: not a whole checkpoint of tensors and plain values") from error
    except Exception as error:  # a file that is no pickle can raise anything
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: not a whole checkpoint ({what})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a checkpoint of this release but a {type(content).__name__}")
    return content
