"""The clips of an ingest that has not ended, in a hidden folder beside the store, from which it can be resumed.

The file `frames` holds the coordinates of all clips so far, end to end. The first line of the file `clips` says what is
ingested; then comes one line per batch, with its clips and the files that were left out. A line is written after its
frames, so the frames of every complete line are on disk.
F stored frame, X = V·C·P.
"""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmd_tune.data.clip import Clip
from cmd_tune.data.store import Description, Precision, write_rows
from cmd_tune.errors import CmdTuneError
from cmd_tune.locks import lock_file

_NOTHING = np.empty(0, np.float32)


@dataclass(frozen=True)
class _Line:
    """One batch. clips: per clip name, label, subject, camera, setup, parts, missing joints and number of frames."""

    units: int
    clips: list[list[Any]]
    left_out: list[str]


class PartialStore:
    """The folder of a store's clips, opened or made. If it was written with another key, its content is deleted.

    batches, units: their numbers so far. Raises CmdTuneError, in one line, if the folder is in use, or cannot be
    written, as on a full disk; what has been written stays, and the next ingest continues from it.
    """

    def __init__(self, out: Path, key: str, described: Description, dtype: Precision) -> None:
        self.out, self.described, self.dtype = out, described, dtype
        self.folder = out.with_name(f".{out.name}.ingest")
        self._width = int(np.prod(described.frame_shape()))
        self._names: set[str] = set()
        self.batches = self.units = self.clips = 0
        self.left_out: list[str] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lines = (self.folder / "clips").open("a+b")
            self._lock()
            self._frames = (self.folder / "frames").open("a+b")
            self._go_on(json.dumps(key).encode() + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def _lock(self) -> None:
        if not lock_file(self._lines, wait=False):
            raise CmdTuneError(f"{self.out}: another process is writing it; wait for it or stop it")

    def _go_on(self, first: bytes) -> None:
        """Keep complete batches, and cut off the rest."""
        self._lines.seek(0)
        good_bytes, good_frames = 0, 0
        if self._lines.readline() == first:
            good_bytes = len(first)
            room = os.fstat(self._frames.fileno()).st_size // self._row_bytes
            for text in self._lines:
                line = _parsed(text)
                if line is None or good_frames + sum(clip[-1] for clip in line.clips) > room:
                    break
                good_bytes += len(text)
                good_frames += sum(clip[-1] for clip in line.clips)
                self._count(line)
        self._lines.truncate(good_bytes)
        self._frames.truncate(good_frames * self._row_bytes)
        self._lines.seek(0, os.SEEK_END)
        self._frames.seek(0, os.SEEK_END)
        if not good_bytes:
            self._lines.write(first)
            self._lines.flush()

    @property
    def _row_bytes(self) -> int:
        return self._width * np.dtype(self.dtype).itemsize

    def _count(self, line: _Line) -> None:
        self.batches += 1
        self.units += line.units
        self.clips += len(line.clips)
        self._names.update(clip[0] for clip in line.clips)
        self.left_out += line.left_out

    def add(self, units: int, read: Sequence[Clip | str]) -> Sequence[str]:
        """Write a batch: its clips, and lines about those left out, among them clips with an earlier one's name.

        Returns these lines.
        """
        line = _Line(units, [], [])
        names = set[str]()
        frames = []
        for clip in read:
            if isinstance(clip, str):
                line.left_out.append(" ".join(clip.split()))
            elif clip.name in self._names or clip.name in names:
                line.left_out.append(f"{clip.where}: another clip has the same name")
            else:
                names.add(clip.name)
                frames.append(clip.joints_TVCP.astype(self.dtype, order="C", copy=False))
                numbers = [clip.label, clip.subject, clip.camera, clip.setup]
                missing = list(clip.missing_V)
                line.clips.append([clip.name, *numbers, dict(clip.parts), missing, len(clip.joints_TVCP)])
        try:
            for x_TVCP in frames:
                self._frames.write(x_TVCP.data)
            self._frames.flush()
            self._lines.write(json.dumps([line.units, line.clips, line.left_out]).encode() + b"\n")
            self._lines.flush()
        except OSError as error:
            raise self._failed(error) from error
        self._count(line)
        return line.left_out

    def finish(self) -> None:
        """Write the store, whole, and remove the folder."""
        rows_FX = np.memmap(self.folder / "frames", self.dtype, "r").reshape(-1, self._width)
        self._lines.seek(0)
        self._lines.readline()
        lines = [line for text in self._lines if (line := _parsed(text))]
        clips = [
            Clip(name, _NOTHING, label, subject, camera, setup, parts, missing_V=missing)
            for line in lines
            for name, label, subject, camera, setup, parts, missing, _ in line.clips
        ]
        counted = [clip.missing_V for clip in clips if clip.missing_V]
        missing_V = tuple(map(sum, zip(*counted, strict=True))) if len(counted) == len(clips) else None
        described = replace(self.described, missing_V=missing_V)
        write_rows(self.out, rows_FX, clips, [clip[-1] for line in lines for clip in line.clips], described)
        self.remove()

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Unlock the folder; its content stays."""
        for file in (self._frames, self._lines):
            with suppress(OSError):  # a full disk has been reported
                file.close()

    def _failed(self, error: OSError) -> CmdTuneError:
        return CmdTuneError(f"{self.out}: cannot be written: {error.strerror or error}")


def _parsed(text: bytes) -> _Line | None:
    """The batch of a line; None if the line is incomplete."""
    try:
        return _Line(*json.loads(text)) if text.endswith(b"\n") else None
    except ValueError:
        return None
