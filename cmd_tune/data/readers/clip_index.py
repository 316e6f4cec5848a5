"""index.csv: what is known of clips that are a file each, in a folder or a zip file.

A heading, then a line per clip: file (its path, from the index's folder), label (from 0), and, as far as they are
known, subject, camera, setup (from 1), split and split_NAME ("train", "test" or nothing).
T frame, V joint, C coordinate, P body.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import HALVES, NEITHER, Clip
from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.errors import DataError, did_you_mean

INDEX = "index.csv"
_NEEDED = ("file", "label")
_NUMBERS = ("subject", "camera", "setup")
_SPLIT = "split"
PARTS = {**HALVES, "": NEITHER}  # of a clip in a protocol, by the word of a split


@dataclass(frozen=True)
class IndexedClip:
    """A line of the index. name: the file's path without its suffix, "-" for "/". The others are as those of `Clip`."""

    file: str
    name: str
    label: int
    subject: int
    camera: int
    setup: int
    parts: Mapping[str, int]


def read_index(files: ClipFiles) -> list[IndexedClip]:
    """The clips of the source's index.csv. Raises DataError, in one line, if there is none, or for a line of it."""
    found = [name for name in files.names() if PurePosixPath(name).name == INDEX]
    if len(found) != 1:
        raise DataError(f"{files.source}: holds {'no' if not found else 'more than one'} {INDEX}")
    where = files.where(found[0])
    try:
        rows = csv.DictReader(io.StringIO(files.read(found[0]).decode("utf-8-sig"), newline=""), strict=True)
        columns = [column.strip() for column in rows.fieldnames or ()]
        rows.fieldnames = columns
        lines = [(rows.line_num, row) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: not a CSV text ({error})") from None
    known = (*_NEEDED, *_NUMBERS, _SPLIT)
    for column in columns:
        if column not in known and not column.startswith(f"{_SPLIT}_"):
            raise DataError(f"{where}: unknown column '{column}', {did_you_mean(column, known)}")
    if missing := [column for column in _NEEDED if column not in columns]:
        raise DataError(f"{where}: has no column '{missing[0]}'")
    if not lines:
        raise DataError(f"{where}: names no clips")
    folder = PurePosixPath(found[0]).parent
    return [_clip(f"{where}: line {number}", row, folder) for number, row in lines]


def _clip(where: str, row: Mapping[str | None, str | list[str] | None], folder: PurePosixPath) -> IndexedClip:
    cells = {key: value.strip() for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}
    if len(cells) < len(row) or not cells["file"]:
        raise DataError(f"{where}: not as many cells as the heading has, or no file")
    numbers = {key: _number(where, key, cells.get(key, "")) for key in ("label", *_NUMBERS)}
    parts = {}
    for key, word in cells.items():
        if key.startswith(_SPLIT):
            if word not in PARTS:
                raise DataError(f"{where}: {key}: '{word}' is not 'train', 'test' or empty")
            parts[key.removeprefix(_SPLIT).removeprefix("_") or "given"] = PARTS[word]
    file = PurePosixPath(cells["file"])
    if file.is_absolute() or ".." in file.parts:
        raise DataError(f"{where}: '{file}' is not inside the folder of the {INDEX}")
    name = str(file.parent / file.stem).replace("/", "-")
    return IndexedClip(str(folder / file), name, **numbers, parts=parts)


def read_clips(
    read_joints: Callable[[ClipFiles, IndexedClip], NDArray[np.float32]], files: ClipFiles, clips: Sequence[IndexedClip]
) -> list[Clip | str]:
    """Clips of the index, with the joints (T, V, C, P) of their files; one line for each that raises DataError."""
    read: list[Clip | str] = []
    for clip in clips:
        try:
            joints_TVCP = read_joints(files, clip)
        except DataError as error:
            read.append(str(error))
        else:
            numbers = clip.label, clip.subject, clip.camera, clip.setup
            read.append(Clip(clip.name, joints_TVCP, *numbers, parts=clip.parts, where=files.where(clip.file)))
    return read


def _number(where: str, key: str, text: str) -> int:
    if not text and key != "label":
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise DataError(f"{where}: {key}: '{text[:40]}' is not a whole number")
    return int(text)
