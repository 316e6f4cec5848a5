"""The arrays that public code trains on (2s-AGCN, CrosSCLR, CMD, HiCo): already normalised, padded to 300 frames.

A folder with train_data_joint.npy (N, C, 300, V, P), train_label.pkl ((names, labels)), train_num_frame.npy (N) and the
same for val; or a folder of such folders, named for their protocols: xsub, xview, xsetup. A clip that is in several of
them is stored once. N clip, T frame, V joint, C coordinate, P body.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import HALVES, Clip
from cmd_tune.data.clip_names import clip_name, data_set, parse_clip_name
from cmd_tune.data.layouts import Layout, layout_of_size
from cmd_tune.data.readers.arrays import map_npy
from cmd_tune.data.readers.pickles import read_pickle
from cmd_tune.data.readers.source import NEVER_PARALLEL, ReadOptions, Source, clip_batches
from cmd_tune.data.readers.stray_files import is_data
from cmd_tune.errors import DataError

_DATA = ("data_joint", "position", "data", "joint")
_PROTOCOLS = {"xsub": "xsub", "xview": "xview", "xsetup": "xsetup", "xset": "xsetup"}
_BATCH = 64


@dataclass
class _Row:
    """The place of a clip in the arrays, and its part in each protocol."""

    array: NDArray[np.float32]
    row: int
    name: str
    label: int
    frames: int
    where: str
    parts: dict[str, int] = field(default_factory=dict)
    wrong: str = ""


def open_npy(path: Path, options: ReadOptions) -> Source:
    """Open such a folder. Raises DataError if there is no half, or if the files of a half do not belong together."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    folders = [path, *(folder for folder in inside if folder.is_dir() and is_data(folder.name))]
    halves = [(folder, half, data) for folder in folders for half in HALVES if (data := _data_file(folder, half))]
    if not halves:
        raise DataError(f"{path}: no folder with train_data_joint.npy or train_position.npy, nor one of such folders")
    rows: list[_Row] = []
    known: dict[str, _Row] = {}
    files: list[Path] = []
    shapes = set()
    for folder, half, data in halves:
        array, beside = map_npy(data), _beside(folder, half)
        files += [data, *beside]
        shapes.add(_shape(array, data))
        _merge(
            rows, known, _rows_of(array, data, beside), _PROTOCOLS.get(folder.absolute().name.lower(), "given"), half
        )
    if len(shapes) > 1:
        raise DataError(f"{path}: arrays of frames of {' and '.join(map(str, sorted(shapes)))} (joints, bodies)")
    (V, P), classes = shapes.pop(), 1 + max(row.label for row in rows)
    return Source(
        dataset=data_set([row.name for row in rows], classes, path.absolute().name),
        layout=_layout(V, options, path),
        bodies=P,
        normalization="2s-agcn",
        files=files,
        what="clips",
        units=sum(row.name not in options.exclude for row in rows),
        parallel_from=NEVER_PARALLEL,
        batches=clip_batches(_clips(rows, options), _BATCH),
        read=list,
    )


def _data_file(folder: Path, half: str) -> Path | None:
    return next((path for kind in _DATA if (path := folder / f"{half}_{kind}.npy").is_file()), None)


def _beside(folder: Path, half: str) -> tuple[Path, ...]:
    """The files beside the array of a half: its names and labels, and its numbers of frames if there are any."""
    frames = folder / f"{half}_num_frame.npy"
    return (folder / f"{half}_label.pkl", *([frames] if frames.is_file() else []))


def _shape(array: NDArray[np.float32], path: Path) -> tuple[int, int]:
    """The numbers of joints and bodies, (V, P)."""
    if array.ndim != 5 or array.shape[1] != 3 or array.dtype.kind != "f" or 0 in array.shape:
        raise DataError(
            f"{path}: {array.dtype} of shape {array.shape}, expected floats (clips, 3, frames, joints, bodies)"
        )
    return array.shape[3], array.shape[4]


def _layout(joints: int, options: ReadOptions, path: Path) -> Layout:
    layout = options.layout or layout_of_size(joints)
    if layout is None or (len(layout.joints), layout.coordinates) != (joints, 3):
        raise DataError(f"{path}: {joints} joints; say which with --layout")
    return layout


def _rows_of(array: NDArray[np.float32], data: Path, beside: Sequence[Path]) -> Iterator[_Row]:
    names, labels = _labels(beside[0])
    frames = map_npy(beside[1]) if len(beside) > 1 else None
    for path, count in zip(beside, (len(names), None if frames is None else len(frames)), strict=False):
        if count != len(array):
            raise DataError(f"{path}: {count} clips, but {data.name} has {len(array)}")
    if frames is not None and (frames.ndim != 1 or frames.dtype.kind not in "iuf" or not np.isfinite(frames).all()):
        raise DataError(f"{beside[1]}: expected one number of frames a clip")
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
        valid = array.shape[2] if frames is None else int(frames[row])
        yield _Row(array, row, name, label, min(valid, array.shape[2]), f"{data}: {name}")


def _labels(path: Path) -> tuple[list[str], list[int]]:
    content = read_pickle(path)
    try:
        names, labels = content
        names, labels = [clip_name(str(name)) for name in names], [int(label) for label in labels]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: expected a pair of names and labels") from None
    if len(names) != len(labels):
        raise DataError(f"{path}: {len(names)} names, but {len(labels)} labels")
    return names, labels


def _merge(rows: list[_Row], known: dict[str, _Row], more: Iterator[_Row], protocol: str, half: str) -> None:
    """Add the clips of a half; of clips that another protocol has, add only their part."""
    for row in more:
        first = known.setdefault(row.name, row)
        if first is row or protocol in first.parts:
            row.parts[protocol] = HALVES[half]
            rows.append(row)
        elif first.label != row.label:
            first.wrong = f"{row.where}: label {row.label}, but {first.label} in another folder"
        else:
            first.parts[protocol] = HALVES[half]


def _clips(rows: Sequence[_Row], options: ReadOptions) -> Iterator[Clip | str | None]:
    for row in rows:
        if row.name in options.exclude:
            yield None
        elif row.wrong or row.frames < 1:
            yield row.wrong or f"{row.where}: no frames"
        else:
            x_TVCP = row.array[row.row, :, : row.frames].transpose(1, 2, 0, 3).astype(np.float32)
            parsed = parse_clip_name(row.name)
            numbers = (parsed.subject, parsed.camera, parsed.setup) if parsed else (0, 0, 0)
            yield Clip(row.name, x_TVCP, row.label, *numbers, parts=row.parts, where=row.where)
