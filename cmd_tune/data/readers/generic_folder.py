"""Your own recordings as a file per clip, in a folder or a zip file with an index.csv (clip_index.py).

A file is one of

    .npy     an array (T, V, C) or (T, V, C, P)
    .npz     such an array, alone or under `joints`
    .csv     a row per frame of V·C·P numbers, in the order joint, coordinate, body; a first row of words is a heading

What is missing is 0, NaN, or an empty cell. Coordinates are as recorded; `ingest` normalises them.
T frame, V joint, C coordinate, P body.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import Layout
from cmd_tune.data.readers.clip_files import BATCH, ClipFiles
from cmd_tune.data.readers.clip_index import INDEX, IndexedClip, read_index
from cmd_tune.data.readers.source import ReadOptions, Source, default_family, in_batches
from cmd_tune.errors import DataError, first_line

_PARALLEL_FROM = 200


def open_generic_folder(path: Path, options: ReadOptions, layout: Layout) -> Source:
    """Open such a source. Raises DataError if it, its index, or every file that this names cannot be used."""
    files = ClipFiles(path, INDEX)
    if not files.names():
        raise DataError(f"{path}: holds no {INDEX}; write one with the columns file and label, a line per clip")
    clips = [clip for clip in read_index(files) if clip.name not in options.exclude]
    paths = files.paths([*files.names(), *(clip.file for clip in clips)])
    return Source(
        dataset=path.absolute().stem,
        layout=layout,
        bodies=_bodies(files, layout, clips),
        normalization=None,
        files=list(dict.fromkeys(path for path in paths if path.is_file())),
        what="files",
        units=len(clips),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(clips, BATCH),
        read=partial(_read, files, layout),
        default=default_family(layout, "upright"),
    )


def _bodies(files: ClipFiles, layout: Layout, clips: Sequence[IndexedClip]) -> int:
    """The number of bodies of the first clip that can be read; 1 if none can."""
    for clip in clips:
        read = _read(files, layout, [clip])[0]
        if isinstance(read, Clip):
            return read.joints_TVCP.shape[3]
    return 1


def _read(files: ClipFiles, layout: Layout, clips: Sequence[IndexedClip]) -> list[Clip | str]:
    read: list[Clip | str] = []
    for clip in clips:
        where = files.where(clip.file)
        try:
            joints_TVCP = _joints(where, PurePosixPath(clip.file).suffix.lower(), files.read(clip.file), layout)
        except DataError as error:
            read.append(str(error))
        else:
            numbers = clip.label, clip.subject, clip.camera, clip.setup
            read.append(Clip(clip.name, joints_TVCP, *numbers, parts=clip.parts, where=where))
    return read


def _joints(where: str, suffix: str, content: bytes, layout: Layout) -> NDArray[np.float32]:
    """(T, V, C, P)."""
    if suffix not in _KINDS:
        raise DataError(f"{where}: expected a file that ends with {', '.join(_KINDS)}")
    try:
        x = _KINDS[suffix](content)
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{where}: not a whole {suffix} file of numbers ({first_line(error)})") from error
    if x.dtype.kind not in "fiu":
        raise DataError(f"{where}: of type {x.dtype}, expected numbers")
    V, C = len(layout.joints), layout.coordinates
    if x.ndim == 2 and x.shape[1] and x.shape[1] % (V * C) == 0:
        x = x.reshape(len(x), V, C, -1)
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[1:3] != (V, C) or x.shape[3] == 0:
        raise DataError(f"{where}: of shape {x.shape}, expected (frames, {V}, {C}) or (frames, {V}, {C}, bodies)")
    return x.astype(np.float32)


def _npy(content: bytes) -> NDArray[np.generic]:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def _npz(content: bytes) -> NDArray[np.generic]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        key = "joints" if "joints" in arrays.files else arrays.files[0]
        if len(arrays.files) > 1 and key != "joints":
            raise ValueError("several arrays, and none is called joints")
        return np.asarray(arrays[key])


def _csv(content: bytes) -> NDArray[np.generic]:
    rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if row]
    if rows and not all(map(_is_number, rows[0])):
        rows = rows[1:]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of different lengths")
    return np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows], np.float64)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True


_KINDS: Mapping[str, Callable[[bytes], NDArray[np.generic]]] = {".npy": _npy, ".npz": _npz, ".csv": _csv}
