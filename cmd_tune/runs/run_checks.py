"""Checks before a run starts: its batch, and the room on its disk."""

import shutil
from pathlib import Path

import torch

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.settings import Settings
from cmd_tune.train.loop import build_encoder

_SPARE = 64 * 1024**2  # bytes for all that is small: histories, databases, logs


def check_batch(batch_size: int, clips: int, workers: int = 1) -> None:
    """Raise UsageError for a batch larger than the pretraining clips, or one that the workers cannot share equally."""
    if batch_size > clips:
        raise UsageError(f"batch_size {batch_size}: there are only {clips} clips to pretrain on; make it smaller")
    if batch_size % workers:
        cure = f"take a divisor of it, or batch_size {max(1, round(batch_size / workers)) * workers}"
        raise UsageError(f"--workers {workers}: batch_size {batch_size} is not a multiple of it; {cure}")


def checkpoint_bytes(settings: Settings, channels: int) -> int:
    """Approximate size of a checkpoint on disk. channels: of the encoders' input."""
    with torch.device("meta"):
        online = build_encoder(settings, channels)
    weights = sum(parameter.numel() for parameter in online.parameters())
    copies = {"sgd": 3, "adamw": 4}[settings.optimizer]  # query and key encoders, and the optimiser's averages
    return 4 * (copies * weights + len(settings.modalities) * settings.queue_size * settings.embedding_size)


def check_disk(folder: Path, one: int, count: int | None) -> str:
    """Raise CmdTuneError if the disk of `folder` has no room for a checkpoint of `one` bytes and its successor.

    Returns a warning if it has none for the `count` that a search leaves (None: not known), else an empty text.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < 2 * one + _SPARE:
        needed = _size(2 * one + _SPARE)
        raise CmdTuneError(f"{folder}: {_size(free)} are free on its disk, {needed} are needed; make room there")
    if count and free < count * one + _SPARE:
        return (
            f"{folder}: {_size(free)} are free on its disk, the checkpoints of {count} trials take {_size(count * one)}"
        )
    return ""


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
