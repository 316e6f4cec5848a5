"""All the state of a run in one file: weights, banks, optimiser, history. Draws need none: the epoch is their key."""

from pathlib import Path
from typing import Any

import torch

from cmd_tune.errors import DataError
from cmd_tune.files import whole_file

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain containers, whole or not at all."""
    with whole_file(path) as temporary:
        try:
            torch.save({"format": FORMAT, **state}, temporary)
        except RuntimeError as error:  # what PyTorch's writer makes of a full disk
            raise OSError(str(error).splitlines()[0]) from error


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_checkpoint` wrote. Raises DataError for anything else."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint") from None
    except Exception as error:  # what is no pickle can raise anything
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: not a whole checkpoint ({what})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path}: not a checkpoint of this release; it cannot be resumed")
    return state
