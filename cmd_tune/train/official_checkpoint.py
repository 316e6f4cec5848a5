"""The authors' checkpoints, in and out: their names for every tensor of the GRU encoder, to ours and back.

They keep one module per modality (`encoder_q`, `encoder_q_motion`, …) and banks as (D, K); ours are stacked, (M, K, D).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmd_tune.data.layouts import layout_from
from cmd_tune.data.seen_clips import pretraining_record
from cmd_tune.data.splits import split_store
from cmd_tune.data.store import open_store
from cmd_tune.data.views.modalities import MODALITIES
from cmd_tune.errors import DataError, UsageError, did_you_mean, first_line
from cmd_tune.files import refuse_same_file
from cmd_tune.settings import Settings, check_applies, make_settings
from cmd_tune.train.checkpoint import load_tensors, save_checkpoint, save_tensors
from cmd_tune.train.saved_checkpoint import Saved, input_channels, open_saved

_TWINS = {"online": "encoder_q", "momentum": "encoder_k"}
_DIRECTIONS = ("", "_reverse")
_HEAD = {"weight_0": "fc.0.weight", "bias_0": "fc.0.bias", "weight_1": "fc.2.weight", "bias_1": "fc.2.bias"}
_NORM = ("weight", "bias", "running_mean", "running_var")


def import_official(
    path: Path, out: Path, changes: Mapping[str, Any], data: Path | None = None, protocol: str | None = None
) -> Saved:
    """The authors' checkpoint as one of ours, with or without DistributedDataParallel's 'module.' before every name.

    data, protocol: the store whose training clips it was pretrained on, all of them; None: that is not known.

    Sizes are read from its tensors. The settings that tensors do not show (frames, temperatures, …) are the paper's, or
    those of `changes`. Raises DataError for another kind of file, UsageError for settings that do not fit it.
    """
    refuse_same_file(out, path)
    content = load_tensors(path)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise DataError(f"{path}: not the authors' checkpoint: it has no 'state_dict'")
    try:
        epoch = _epoch(content)
        sizes = describe_official(state)
        ours = from_official(state, sizes["modalities"])
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # tensors of other shapes than theirs can raise anything
        raise DataError(f"{path}: not a CMD checkpoint ({first_line(error)})") from error
    for name, value in changes.items():
        if name in sizes and value != sizes[name]:
            raise UsageError(f"--set {name}={value}: the checkpoint's is {sizes[name]}; leave it out")
    topk = min(Settings().topk, sizes["queue_size"])
    whole = {**sizes, "topk": topk, "holdout": "none"}
    settings = make_settings("paper", (str(path), whole), ("--set", changes))
    check_applies("--set", changes, settings)
    channels = input_channels(path, settings, ours)
    record = _record(path, channels, data, protocol) if data else {}
    saved = Saved(out, settings, channels, epoch, ours, record)
    saved.encoders()
    content = {"settings": settings.model_dump(mode="json"), "pretrainer": ours, "epoch": epoch, "history": []}
    save_checkpoint(out, {**content, **({"data": record} if record else {})})
    return saved


def _record(path: Path, channels: int, data: Path, protocol: str | None) -> dict[str, Any]:
    """What the checkpoint keeps of its training clips. Raises DataError if the store's skeletons do not fit it."""
    store = open_store(data)
    if store.width != channels:
        took = f"the encoders of {path} take {channels}; name the store they were pretrained on"
        raise DataError(f"{data}: has {store.width} channels, {took}")
    name, split = split_store(store, protocol, "none")
    return pretraining_record(store, name, split.pretrain_N)


def export_official(path: Path, out: Path) -> Sequence[str]:
    """A checkpoint of ours in the authors' layout: 'epoch' and 'state_dict'; returns the modalities.

    Their optimiser's state is left out: their code evaluates such a file, and cannot resume from it. Raises DataError
    for what their code has no form for: joints in 2-D, encoders that are no GRUs.
    """
    saved = open_saved(path)
    refuse_same_file(out, saved.path)
    layout = saved.data.get("layout")
    if layout and layout_from(layout).coordinates < 3:
        raise DataError(f"{saved.path}: is of joints in 2-D, the authors' checkpoints are of joints in 3-D alone")
    saved.encoders()
    try:
        state = to_official(saved.state, saved.settings.modalities)
    except DataError as error:
        raise DataError(f"{saved.path}: {error}") from error
    save_tensors(out, {"epoch": saved.epoch, "state_dict": state})
    return saved.settings.modalities


def describe_official(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of the authors' state_dict, under the names of settings.

    Raises DataError naming the first tensor that is missing.
    """
    state = _bare(state)
    found = [re.fullmatch(r"encoder_q(?:_(\w+))?\.fc\.2\.weight", name) for name in state]
    modalities = ["joint" if match[1] is None else match[1] for match in found if match]
    for modality in modalities:
        if modality not in MODALITIES:
            raise DataError(f"encoders of '{modality}': {did_you_mean(modality, MODALITIES)}")
    first = f"encoder_q{_suffix(modalities[0])}" if modalities else "encoder_q"
    dim, queue_size = _take(state, f"queue{_suffix(modalities[0]) if modalities else ''}").shape
    return {
        "modalities": modalities,
        "hidden_size": _take(state, f"{first}.encoder.gru.weight_hh_l0").shape[1],
        "layers": _layers(state, first),
        "embedding_size": dim,
        "queue_size": queue_size,
    }


def from_official(state: Mapping[str, Tensor], modalities: Sequence[str]) -> dict[str, Tensor]:
    """The authors' state_dict, with or without DDP's 'module.' prefix, as a state of `Pretrainer`.

    Raises DataError naming the first tensor that is missing, or is not of one size in all encoders.
    """
    state = _bare(state)
    layers = _layers(state, f"encoder_q{_suffix(modalities[0])}")
    take = partial(_take, state)
    ours = {}
    for twin, prefix in _TWINS.items():
        encoders = [f"{prefix}{_suffix(modality)}" for modality in modalities]
        for name, theirs in _stacked_names(layers):
            parts = [[take(f"{encoder}.{their}") for their in theirs] for encoder in encoders]
            if len({part.shape for of_one in parts for part in of_one}) > 1:
                raise DataError(f"not a CMD checkpoint: '{theirs[0]}' is not of one size in all of its encoders")
            ours[f"{twin}.{name}"] = torch.stack([torch.stack(p) if len(p) > 1 else p[0] for p in parts])
        ours[f"{twin}.input_norm.num_batches_tracked"] = take(f"{encoders[0]}.input_norm.num_batches_tracked")
    ours["banks.keys_MKD"] = torch.stack(
        [take(f"queue{_suffix(modality)}").transpose(0, -1) for modality in modalities]
    )
    ours["banks.pointer"] = take(f"queue_ptr{_suffix(modalities[0])}").reshape(())
    return ours


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not all(isinstance(name, str) for name in state):
        raise DataError("not a CMD checkpoint: not all of its tensors have names")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _layers(state: Mapping[str, Tensor], encoder: str) -> int:
    return len([name for name in state if name.startswith(f"{encoder}.encoder.gru.weight_ih_l")]) // 2


def _take(state: Mapping[str, Tensor], name: str) -> Tensor:
    if not isinstance(state.get(name), Tensor):
        raise DataError(f"not a CMD checkpoint: it has no tensor '{name}'")
    return state[name]


def _epoch(content: Mapping[str, Any]) -> int:
    if not isinstance(epoch := content.get("epoch", 0), int):
        raise DataError(f"not a CMD checkpoint: its 'epoch' is a {type(epoch).__name__}")
    return epoch


def to_official(state: Mapping[str, Tensor], modalities: Sequence[str]) -> dict[str, Tensor]:
    """A state of `Pretrainer` under the authors' names. Raises DataError if its encoders are not GRUs."""
    if "online.gru.0.weight_ih" not in state:
        raise DataError("its encoder has no form in the authors' checkpoints, which hold GRU encoders alone")
    layers = len([name for name in state if name.startswith("online.gru.") and name.endswith("weight_ih")])
    theirs = {}
    for index, modality in enumerate(modalities):
        theirs[f"queue{_suffix(modality)}"] = state["banks.keys_MKD"][index].T
        theirs[f"queue_ptr{_suffix(modality)}"] = state["banks.pointer"].reshape(1)
        for twin, prefix in _TWINS.items():
            encoder = f"{prefix}{_suffix(modality)}"
            for name, names in _stacked_names(layers):
                tensor = state[f"{twin}.{name}"][index]
                for their, part in zip(names, tensor if len(names) > 1 else [tensor], strict=True):
                    theirs[f"{encoder}.{their}"] = part
            theirs[f"{encoder}.input_norm.num_batches_tracked"] = state[f"{twin}.input_norm.num_batches_tracked"]
    return {name: tensor.clone() for name, tensor in theirs.items()}


def _suffix(modality: str) -> str:
    return "" if modality == "joint" else f"_{modality}"


def _stacked_names(layers: int) -> Iterator[tuple[str, list[str]]]:
    """Our name of an encoder's tensor, and the authors' (one for each direction, or one)."""
    for name in _NORM:
        yield f"input_norm.{name}", [f"input_norm.{name}"]
    for layer in range(layers):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            yield f"gru.{layer}.{name}", [f"encoder.gru.{name}_l{layer}{end}" for end in _DIRECTIONS]
    for ours, theirs in _HEAD.items():
        yield f"head.{ours}", [theirs]
