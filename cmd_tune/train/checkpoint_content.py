"""What a checkpoint of this release holds, by name: a file of others may hold anything else under the same names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmd_tune.data.layouts import layout_from
from cmd_tune.errors import DataError

_TEXTS = ("path", "dataset", "normalization", "fingerprint")  # of the data


def check_content(path: Path, state: Mapping[str, Any]) -> None:
    """Raise DataError, in one line, for a part of a checkpoint that no release writes."""
    try:
        _check(state)
    except ValueError as error:
        raise DataError(f"{path}: damaged, or not of this program: {error}") from None


def _check(state: Mapping[str, Any]) -> None:
    """Raise ValueError. What is missing is missed by whoever needs it."""
    for key in ("settings", "optimizer", "data"):
        if not isinstance(state.get(key, {}), dict):
            raise ValueError(f"its {key} is a {type(state[key]).__name__}, not a mapping")
    tensors = state.get("pretrainer")
    for name, tensor in tensors.items() if isinstance(tensors, dict) else ():
        if not (isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided):
            raise ValueError(f"its {name!r} is no tensor")
    if type(epoch := state.get("epoch", 0)) is not int or epoch < 0:
        raise ValueError("its epoch is no whole number")
    history = state.get("history", [])
    if not isinstance(history, list):
        raise ValueError(f"its history is a {type(history).__name__}, not a list")
    for number, record in enumerate(history, start=1):
        if not isinstance(record, dict) or not _are_numbers(record) or record.get("epoch") != number:
            raise ValueError(f"its history has no metrics of epoch {number}")
    _check_data(state.get("data", {}))


def check_optimizer(optimizer: torch.optim.Optimizer, made: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError if what was loaded into an optimiser is not of the kinds that it was made with.

    made: its groups, before. PyTorch takes anything, and fails at the first step.
    """
    for group, before in zip(optimizer.param_groups, made, strict=True):
        for key, value in before.items():
            if key not in group or (type(value) in (int, float, tuple)) != (type(group[key]) in (int, float, tuple)):
                raise ValueError(f"its optimiser has no {key}")
    kinds = {tuple(sorted(map(str, state))) for state in optimizer.state.values()}
    for parameter, state in optimizer.state.items():
        for name, x in state.items():
            moment = x is None or (isinstance(x, Tensor) and (x.numel() == 1 or x.shape == parameter.shape))
            if not moment or len(kinds) > 1:
                raise ValueError(f"its optimiser's {name} is not of its parameters")


def _are_numbers(record: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and type(value) in (int, float) for name, value in record.items())


def _check_data(data: Mapping[str, Any]) -> None:
    if not data:
        return  # it is not known
    for key in _TEXTS:
        if not isinstance(data.get(key), str):
            raise ValueError(f"its data have no {key}")
    if not isinstance(data.get("protocol", 0), str | None):
        raise ValueError("the protocol of its data is no text")
    try:
        layout_from(data.get("layout"))
    except ValueError as error:
        raise ValueError(f"the layout of its data: {error}") from None
    keys = data.get("clip_keys", torch.zeros(0, dtype=torch.int64))
    if not (isinstance(keys, Tensor) and keys.dtype == torch.int64 and keys.ndim == 1):
        raise ValueError("its clip_keys are no row of whole numbers")
