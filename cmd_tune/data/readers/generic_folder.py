"""Your own recordings as a file per clip, in a folder or a zip file with an index.csv (clip_index.py).

A file is one of

    .npy     an array (T, V, C) or (T, V, C, P)
    .npz     such an array, alone or under `joints`
    .csv     a row per frame of V·C·P numbers, in the order joint, coordinate, body; a first row is a heading if it has
             words, or the numbers of its columns, 0, 1, 2, …, as tables are often saved

What is missing is 0, NaN, or an empty cell. Clips may differ in their number of bodies: those that a clip lacks are
absent. Coordinates are as recorded; `ingest` normalises them.
T frame, V joint, C coordinate, P body.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout
from cmd_tune.data.readers.clip_files import BATCH, ClipFiles
from cmd_tune.data.readers.clip_index import INDEX, IndexedClip, read_clips, read_index
from cmd_tune.data.readers.source import ReadOptions, Source, default_family, in_batches
from cmd_tune.data.readers.stray_files import is_data
from cmd_tune.errors import DataError, first_line

_PARALLEL_FROM = 200
_MOST_BODIES = 100  # all clips are stored with as many as one has; more is a damaged or another array


def open_generic_folder(path: Path, options: ReadOptions, layout: Layout) -> Source:
    """Open such a source. Raises DataError if it, its index, or every file that this names cannot be used."""
    files = ClipFiles(path, INDEX)
    if not files.names():
        raise DataError(f"{path}: holds no {INDEX}; write one with the columns file and label, a line per clip")
    clips = [clip for clip in read_index(files) if clip.name not in options.exclude]
    paths = files.paths([*files.names(), *(clip.file for clip in clips)])
    bodies = _bodies(files, layout, clips)
    return Source(
        dataset=path.absolute().stem,
        layout=layout,
        bodies=bodies,
        normalization=None,
        files=list(dict.fromkeys(path for path in paths if path.is_file())),
        what="files",
        units=len(clips),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(clips, BATCH),
        read=partial(read_clips, partial(_read_with, layout, bodies), files),
        default=default_family(layout, "upright"),
    )


def _bodies(files: ClipFiles, layout: Layout, clips: Sequence[IndexedClip]) -> int:
    """The largest number of bodies in a clip that can be read; 1 if none can. It takes reading all of them."""
    most = 1
    for clip in clips:
        with suppress(DataError):
            most = max(most, _joints(files, layout, clip).shape[3])
    return most


def _read_with(layout: Layout, bodies: int, files: ClipFiles, clip: IndexedClip) -> NDArray[np.float32]:
    """(T, V, C, P) with so many bodies: those that the file lacks are absent."""
    x_TVCP = _joints(files, layout, clip)
    return np.pad(x_TVCP, ((0, 0), (0, 0), (0, 0), (0, bodies - x_TVCP.shape[3])))


def _joints(files: ClipFiles, layout: Layout, clip: IndexedClip) -> NDArray[np.float32]:
    """(T, V, C, P), P as in the file. Raises DataError."""
    where, suffix = files.where(clip.file), PurePosixPath(clip.file).suffix.lower()
    if suffix not in _KINDS:
        raise DataError(f"{where}: expected a file that ends with {', '.join(_KINDS)}")
    content = files.read(clip.file)
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
    if x.shape[3] > _MOST_BODIES:
        raise DataError(f"{where}: {x.shape[3]} bodies, at most {_MOST_BODIES} can be read")
    return x.astype(np.float32)


def _npy(content: bytes) -> NDArray[np.generic]:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def _npz(content: bytes) -> NDArray[np.generic]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        keys = [key for key in arrays.files if is_data(key)]
        key = "joints" if "joints" in keys else keys[0]
        if len(keys) > 1 and key != "joints":
            raise ValueError("several arrays, and none is called joints")
        return np.asarray(arrays[key])


def _csv(content: bytes) -> NDArray[np.generic]:
    rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if row]
    if rows and (not all(map(_is_number, rows[0])) or rows[0] == [str(column) for column in range(len(rows[0]))]):
        rows = rows[1:]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of different lengths")
    return np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows], np.float64)


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip() or "0")
    except ValueError:
        return False
    return True


_KINDS: Mapping[str, Callable[[bytes], NDArray[np.generic]]] = {".npy": _npy, ".npz": _npz, ".csv": _csv}
