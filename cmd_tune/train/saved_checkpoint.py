"""A checkpoint opened for evaluation: its settings, its tensors, and the encoders they make."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cmd_tune.errors import DataError, UsageError
from cmd_tune.model.encoders import ENCODERS, Encoder
from cmd_tune.out_of_memory import is_out_of_memory
from cmd_tune.settings import Settings, kept_settings
from cmd_tune.train.checkpoint import load_checkpoint
from cmd_tune.train.kept_checkpoints import Newest, load_newest, path_before
from cmd_tune.train.loop import CHECKPOINT, build_pretrainer

_ONLINE = "online."  # what the names of the query encoder's tensors begin with


@dataclass(frozen=True)
class Saved:
    """A checkpoint: its file, its settings, the number of its epochs, and its tensors.

    channels: of its encoders' input, joints × coordinates × bodies. data: what it was trained on, as
    `pretraining_record` has it (an earlier release: as `Store.record` has it); empty if that is not known.
    """

    path: Path
    settings: Settings
    channels: int
    epoch: int
    state: dict[str, Tensor]
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash of its tensors."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.state.items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def trained_on(self) -> dict[str, Any]:
        """`data` as plain values."""
        return {key: value for key, value in self.data.items() if not isinstance(value, Tensor)}

    def encoders(self) -> Encoder:
        """Its online encoders. Raises DataError if tensors and settings do not belong together."""
        pretrainer = build_pretrainer(self.settings, self.channels)
        try:
            pretrainer.load_state_dict(self.state)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            what = str(error).splitlines()[-1].strip()
            raise DataError(f"{self.path}: its tensors are not those of its settings ({what})") from error
        return pretrainer.online


def open_saved(path: Path) -> Saved:
    """Read a checkpoint file, or the newest whole one of a run's or trial's folder. Raises DataError in one line."""
    if (path / "trials").is_dir():
        raise UsageError(f"{path}: is a search; name one of its trials, such as {path / 'trials' / '000'}")
    path, state = _newest(path) if path.is_dir() else (path, _of_file(path))
    if not isinstance(state.get("pretrainer"), Mapping):
        raise DataError(f"{path}: holds no encoders")
    try:
        settings = kept_settings("settings", state["settings"])
    except (UsageError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: its settings are not of this release ({error})") from error
    history = state.get("history") or []
    epoch = int(history[-1]["epoch"] if history else state.get("epoch", 0))
    tensors = state["pretrainer"]
    return Saved(path, settings, input_channels(path, settings, tensors), epoch, tensors, state.get("data") or {})


def _newest(folder: Path) -> Newest:
    newest = load_newest(folder / CHECKPOINT)
    if newest is None:
        raise DataError(f"{folder / CHECKPOINT}: no such checkpoint")
    return newest


def _of_file(path: Path) -> dict[str, Any]:
    try:
        return load_checkpoint(path)
    except DataError as error:
        if not path_before(path).exists():
            raise
        raise DataError(f"{error}; {path_before(path)} is the one before it") from error


def input_channels(path: Path, settings: Settings, state: Mapping[str, Tensor]) -> int:
    """Input channels of the encoders in a pretrainer's state. Raises DataError if there are none."""
    online = {name.removeprefix(_ONLINE): x for name, x in state.items() if name.startswith(_ONLINE)}
    channels = ENCODERS[settings.encoder].channels_of(online)
    if channels is None:
        raise DataError(f"{path}: holds no encoders")
    return channels
