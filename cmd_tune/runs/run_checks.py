"""Checks before a run starts: its batch, and the room on its disk."""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import torch

from cmd_tune.errors import CmdTuneError, UsageError
from cmd_tune.formatting import count
from cmd_tune.settings import Settings
from cmd_tune.train.kept_checkpoints import MOST_AT_ONCE
from cmd_tune.train.loop import build_encoder

# Settings that the size of a checkpoint depends on.
CHECKPOINT_SETTINGS = ("encoder", "hidden_size", "layers", "embedding_size", "modalities", "queue_size", "optimizer")
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


def check_disk(folder: Path, one: int, kept: Iterable[Path] = ()) -> str:
    """What a run's checkpoints of `one` bytes take at most, and what is free on the disk of `folder`, in one line.

    kept: checkpoints of an earlier session, which need no more room, but for the one that is to be written. Raises
    CmdTuneError if they do not fit.
    """
    most = MOST_AT_ONCE * one
    free, needed = free_bytes(folder), max(one, most - _bytes(kept)) + _SPARE
    if free < needed:
        raise CmdTuneError(
            f"{folder}: {bytes_text(free)} are free on its disk, {bytes_text(needed)} are needed; make room there"
        )
    return f"disk: checkpoints take up to {bytes_text(most)}, {bytes_text(one)} at the end; {bytes_text(free)} are free"


def describe_disk(folder: Path, one: int, runs: Mapping[str, int], at_once: int, kept: Iterable[Path] = ()) -> str:
    """What the checkpoints of a search take at most, and what is free on the disk of `folder`, in one line.

    one: bytes of the largest. runs: how many a search leaves, by their kind. at_once: how many runs may have as many as
    a run ever has. kept: as for `check_disk`.
    """
    most = (sum(runs.values()) + (MOST_AT_ONCE - 1) * at_once) * one
    free, needed = free_bytes(folder), max(0, most - _bytes(kept)) + _SPARE
    what = " and ".join(count(number, kind) for kind, number in runs.items() if number)
    line = f"disk: the checkpoints of {what} take up to {bytes_text(most)}; {bytes_text(free)} are free"
    return f"{line}, which may not last; make room in {folder}" if free < needed else line


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which need not be there yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def _bytes(files: Iterable[Path]) -> int:
    total = 0
    for file in files:
        with suppress(FileNotFoundError):  # of a run that another process goes on with
            total += file.stat().st_size
    return total


def bytes_text(number: int) -> str:
    """Bytes in words: 1.8 GB, 7 MB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
