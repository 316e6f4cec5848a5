"""Your own recordings, with any joints (--layout names them: see layouts.read_layout) and any number of bodies.

An .npz of

    joints     (F, V, C) or (F, V, C, P): the frames of all clips end to end, metres, or, if the layout is in 2-D,
                pixels; what is missing is 0 or NaN
    lengths    (N) frames of each clip, whose sum is F
    label      (N) from 0
    name       (N) texts, all different     [clip-000000, …]
    subject, camera, setup   (N) from 1     [0, unknown]
    split      (N) "train", "test" or ""    [none]; also split_NAME, for a protocol of that name

or a Parquet file with one row per clip and the same columns, except that `joints` is a list of the clip's numbers in
the order frame, joint, coordinate, body, and `lengths` its number of frames. What has a default, in brackets, may be
left out. A folder or a zip file has one file per clip (generic_folder.py). Coordinates are as recorded; `ingest`
normalises them.
N clip, F frame of all clips, T frame of one, V joint, C coordinate, P body.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from cmd_tune.data.clip import Clip
from cmd_tune.data.readers.arrays import Npz
from cmd_tune.data.readers.clip_index import PARTS
from cmd_tune.data.readers.generic_folder import open_generic_folder
from cmd_tune.data.readers.source import NEVER_PARALLEL, ReadOptions, Source, clip_batches, default_family
from cmd_tune.errors import DataError, UsageError, did_you_mean

_NEEDED = ("joints", "lengths", "label")
_NUMBERS = ("subject", "camera", "setup")
_KNOWN = (*_NEEDED, "name", *_NUMBERS, "split")
_SPLIT = "split"
_BATCH = 64

Next = Callable[[int], NDArray[Any]]  # the next clip's joints in one row, from its number of frames


def open_generic(path: Path, options: ReadOptions) -> Source:
    """Open a file of this form. Raises UsageError without a layout, DataError if the file has another form."""
    if options.layout is None:
        raise UsageError("ingest: a generic source needs --layout, a YAML of its joints, or one of ours by name")
    if path.is_dir() or path.suffix.lower() == ".zip":
        return open_generic_folder(path, options, options.layout)
    joint = len(options.layout.joints), options.layout.coordinates
    columns, bodies, take = (_parquet if path.suffix == ".parquet" else _npz)(path, joint)
    return Source(
        dataset=path.stem,
        layout=options.layout,
        bodies=bodies,
        normalization=None,
        files=[path],
        what="clips",
        units=sum(name not in options.exclude for name in _names(columns)),
        parallel_from=NEVER_PARALLEL,
        batches=clip_batches(_clips(path, columns, joint, bodies, take, options), _BATCH),
        read=list,
        default=default_family(options.layout, "upright"),
    )


def _npz(path: Path, joint: tuple[int, int]) -> tuple[dict[str, NDArray[Any]], int, Next]:
    npz = Npz(path)
    _check_keys(path, npz.keys)
    columns = _checked(path, {key: npz.load(key) for key in npz.keys if key != "joints"})
    shape, take = npz.rows("joints")
    if len(shape) not in (3, 4) or shape[1:3] != joint:
        raise DataError(f"{path}: joints of shape {shape}, expected (frames, {joint[0]}, {joint[1]}, bodies)")
    if shape[0] != columns["lengths"].sum():
        raise DataError(f"{path}: {shape[0]} frames of joints, but lengths sum to {columns['lengths'].sum()}")
    return columns, shape[3] if len(shape) == 4 else 1, lambda length: take(length).reshape(-1)


def _parquet(path: Path, joint: tuple[int, int]) -> tuple[dict[str, NDArray[Any]], int, Next]:
    try:
        file = parquet.ParquetFile(pa.memory_map(os.fsencode(path)))
        keys = file.schema_arrow.names
        _check_keys(path, keys)
        table = file.read([key for key in keys if key != "joints"])
        given = {key: table[key].to_numpy(zero_copy_only=False) for key in table.column_names}
        rows = (row for batch in file.iter_batches(_BATCH, columns=["joints"]) for row in batch.column(0))
        first = next((row for batch in file.iter_batches(1, columns=["joints"]) for row in batch.column(0)), None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({str(error).splitlines()[0]})") from error
    columns = _checked(path, given)
    frame = int(columns["lengths"][0]) * joint[0] * joint[1]
    bodies, rest = divmod(len(_numbers(path, first)), frame)
    if rest or not bodies:
        raise DataError(f"{path}: joints of the first clip are not {frame} numbers, or a multiple of it, one a body")

    def take(length: int) -> NDArray[Any]:
        try:
            return _numbers(path, next(rows))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: damaged ({str(error).splitlines()[0]})") from error

    return columns, bodies, take


def _numbers(path: Path, row: Any) -> NDArray[np.float64]:
    values = getattr(row, "values", None)
    if values is None or not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise DataError(f"{path}: joints: expected a list of numbers a clip")
    return values.to_numpy(zero_copy_only=False)


def _check_keys(path: Path, keys: Sequence[str]) -> None:
    for key in keys:
        if key not in _KNOWN and not key.startswith(f"{_SPLIT}_"):
            raise DataError(f"{path}: unknown key '{key}', {did_you_mean(key, _KNOWN)}")
    for key in _NEEDED:
        if key not in keys:
            raise DataError(f"{path}: has no {key}")


def _checked(path: Path, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns in their types. Raises DataError unless lengths are ≥ 1 and numbers ≥ 0."""
    count = len(np.atleast_1d(columns["lengths"]))
    checked: dict[str, NDArray[Any]] = {}
    for key, values in columns.items():
        if values.shape != (count,) or count == 0:
            raise DataError(f"{path}: {key} of shape {values.shape}, expected one number or text a clip")
        if key == "name":
            checked[key] = _texts(path, key, values)
        elif key.startswith(_SPLIT):
            checked[key] = _parts(path, key, values)
        elif values.dtype.kind not in "iu":
            raise DataError(f"{path}: {key} of type {values.dtype}, expected whole numbers")
        elif len(wrong := np.flatnonzero((values < (key == "lengths")) | (values > np.iinfo(np.int32).max))):
            raise DataError(f"{path}: {key} of clip {wrong[0]} is {values[wrong[0]]}")
        else:
            checked[key] = values.astype(np.int64)
    return checked


def _texts(path: Path, key: str, values: NDArray[Any]) -> NDArray[np.str_]:
    try:
        return values.astype(str)
    except UnicodeDecodeError:
        raise DataError(f"{path}: {key}: expected texts") from None


def _parts(path: Path, key: str, values: NDArray[Any]) -> NDArray[np.int8]:
    words = _texts(path, key, values)
    if unknown := set(words.tolist()) - PARTS.keys():
        raise DataError(f"{path}: {key}: '{min(unknown)}' is not 'train', 'test' or ''")
    return np.array([PARTS[word] for word in words.tolist()], np.int8)


def _names(columns: Mapping[str, NDArray[Any]]) -> list[str]:
    return columns["name"].tolist() if "name" in columns else [f"clip-{n:06}" for n in range(len(columns["lengths"]))]


def _clips(
    path: Path,
    columns: Mapping[str, NDArray[Any]],
    joint: tuple[int, int],
    bodies: int,
    take: Next,
    options: ReadOptions,
) -> Iterator[Clip | str | None]:
    protocols = {
        key: key.removeprefix(_SPLIT).removeprefix("_") or "given" for key in columns if key.startswith(_SPLIT)
    }
    for clip, (name, length) in enumerate(zip(_names(columns), columns["lengths"].tolist(), strict=True)):
        where = f"{path}: {name}"
        x_X = take(length)
        if name in options.exclude:
            yield None
        elif len(x_X) != length * joint[0] * joint[1] * bodies:
            yield f"{where}: {len(x_X)} numbers, expected {length} frames of {joint[0]} joints and {bodies} bodies"
        else:
            x_TVCP = x_X.reshape(length, *joint, bodies).astype(np.float32)
            subject, camera, setup = (int(columns[key][clip]) if key in columns else 0 for key in _NUMBERS)
            parts = {protocol: int(columns[key][clip]) for key, protocol in protocols.items()}
            yield Clip(name, x_TVCP, int(columns["label"][clip]), subject, camera, setup, parts, where)
