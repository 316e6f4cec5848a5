"""Checkpoints as others use them: encoders to be evaluated, and the authors' files in and out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cmd_tune.config import Settings, check_applies, make_settings
from cmd_tune.errors import DataError, UsageError
from cmd_tune.files import keep_apart
from cmd_tune.model.encoders import Encoder
from cmd_tune.train.checkpoint import load_checkpoint, load_tensors, save_checkpoint, save_tensors
from cmd_tune.train.loop import CHECKPOINT, build_pretrainer
from cmd_tune.train.official_checkpoint import describe_official, from_official, to_official

_NORM = "online.input_norm.weight"


@dataclass(frozen=True)
class Saved:
    """A checkpoint: where it lies, what it was trained with, for how many epochs, and its tensors.

    data: what it was trained on, as `Store.record` has it; empty where that is not known (an imported checkpoint).
    """

    path: Path
    settings: Settings
    epoch: int
    state: dict[str, Tensor]
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Input channels that its encoders take: joints × coordinates × bodies."""
        return self.state[_NORM].shape[1]

    @property
    def fingerprint(self) -> str:
        """Of its tensors."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.state.items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encoders(self) -> Encoder:
        """Its online encoders. Raises DataError where tensors and settings do not belong together."""
        pretrainer = build_pretrainer(self.settings, self.channels)
        try:
            pretrainer.load_state_dict(self.state)
        except RuntimeError as error:
            what = str(error).splitlines()[1].strip()
            raise DataError(f"{self.path}: its tensors are not those of its settings ({what})") from error
        return pretrainer.online


def open_saved(path: Path) -> Saved:
    """Read a checkpoint, or that of a run's or a trial's folder. Raises DataError in one line."""
    if (path / "trials").is_dir():
        raise UsageError(f"{path}: is a search; name one of its trials, such as {path / 'trials' / '000'}")
    path = path / CHECKPOINT if path.is_dir() else path
    state = load_checkpoint(path)
    if not isinstance(state.get("pretrainer"), Mapping) or _NORM not in state["pretrainer"]:
        raise DataError(f"{path}: holds no encoders")
    try:
        settings = make_settings("paper", ("settings", state["settings"]))
    except (UsageError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: its settings are not of this release ({error})") from error
    history = state.get("history") or []
    epoch = int(history[-1]["epoch"] if history else state.get("epoch", 0))
    return Saved(path, settings, epoch, state["pretrainer"], state.get("data") or {})


def import_official(path: Path, out: Path, changes: Mapping[str, Any]) -> Saved:
    """The authors' checkpoint as one of ours, with or without DistributedDataParallel's 'module.' before every name.

    Sizes are read from its tensors; what tensors do not tell (frames, temperatures, …) is the paper's, or as `changes`
    has it. Raises DataError for another kind of file, UsageError for settings that do not fit it.
    """
    keep_apart(out, path)
    content = load_tensors(path)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise DataError(f"{path}: not the authors' checkpoint: it has no 'state_dict'")
    try:
        sizes = describe_official(state)
        ours = from_official(state, sizes["modalities"])
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    for name, value in changes.items():
        if name in sizes and value != sizes[name]:
            raise UsageError(f"--set {name}={value}: the checkpoint's is {sizes[name]}; leave it out")
    topk = min(Settings().topk, sizes["queue_size"])
    settings = make_settings("paper", (str(path), {**sizes, "topk": topk}), ("--set", changes))
    check_applies("--set", changes, settings)
    epoch = int(content.get("epoch", 0))
    saved = Saved(out, settings, epoch, ours)
    saved.encoders()
    save_checkpoint(
        out, {"settings": settings.model_dump(mode="json"), "pretrainer": ours, "epoch": epoch, "history": []}
    )
    return saved


def export_official(path: Path, out: Path) -> Sequence[str]:
    """A checkpoint of ours in the authors' layout: 'epoch' and 'state_dict'; returns the modalities.

    Their optimiser's state is left out: their code evaluates such a file, and cannot resume from it.
    """
    saved = open_saved(path)
    keep_apart(out, saved.path)
    state = to_official(saved.state, saved.settings.modalities)
    save_tensors(out, {"epoch": saved.epoch, "state_dict": state})
    return saved.settings.modalities
