"""CTR-GCN's .npz (Chen et al., ICCV 2021): x_train (N, 300, 150), y_train (N, classes) one-hot, x_test, y_test.

A frame has 150 numbers: body, joint, coordinate. Bodies are centred, not turned; empty frames at the end are padding.
There are no names, so subjects and cameras are unknown; the published counts or the file's name tell the protocol.
N clip, T frame, V joint, C coordinate, P body.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import TEST, TRAIN, Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.arrays import Npz, Take
from cmd_tune.data.readers.source import NEVER_PARALLEL, ReadOptions, Source, clip_batches
from cmd_tune.errors import DataError

FAMILY = "ctr-gcn"
_LAYOUT = LAYOUTS["ntu-25"]
_HALVES = {"train": TRAIN, "test": TEST}
_SETS = {60: "ntu-60", 120: "ntu-120", 51: "pku-mmd-2"}
_NAMES = {
    "xsub": "xsub",
    "csub": "xsub",
    "cs": "xsub",
    "xview": "xview",
    "cv": "xview",
    "xset": "xsetup",
    "cset": "xsetup",
}
_COUNTS = {
    (40_091, 16_487): "xsub",
    (37_646, 18_932): "xview",
    (63_026, 50_919): "xsub",
    (54_468, 59_477): "xsetup",
}
_BATCH = 64


def open_ctr_gcn(path: Path, options: ReadOptions) -> Source:
    """Open a file of this form. Raises DataError if its arrays have another."""
    npz = Npz(path)
    for key in ("x_train", "y_train", "x_test", "y_test"):
        if key not in npz.keys:
            raise DataError(f"{path}: has no {key}")
    labels = {half: _labels(npz, f"y_{half}") for half in _HALVES}
    rows = {half: npz.rows(f"x_{half}") for half in _HALVES}
    body = 3 * len(_LAYOUT.joints)
    bodies = rows["train"][0][-1] // body
    for half, (shape, _) in rows.items():
        if len(shape) != 3 or bodies == 0 or shape[2] != bodies * body:
            raise DataError(f"{path}: x_{half} of shape {shape}, expected (clips, frames, {2 * body} or {body})")
        if shape[0] != len(labels[half][0]):
            raise DataError(f"{path}: {shape[0]} clips in x_{half}, but {len(labels[half][0])} in y_{half}")
    counts = {half: shape[0] for half, (shape, _) in rows.items()}
    protocol = _protocol(path, counts["train"], counts["test"])
    takes = {half: take for half, (_, take) in rows.items()}
    return Source(
        dataset=_SETS.get(max(classes for _, classes in labels.values()), path.stem),
        layout=_LAYOUT,
        bodies=bodies,
        normalization=FAMILY,
        files=[path],
        what="clips",
        units=sum(_name(half, n) not in options.exclude for half in counts for n in range(counts[half])),
        parallel_from=NEVER_PARALLEL,
        batches=clip_batches(_clips(path, takes, labels, protocol, bodies, options), _BATCH),
        read=list,
    )


def _labels(npz: Npz, key: str) -> tuple[NDArray[np.int64], int]:
    """Labels, −1 for a row that is not one-hot; and the number of classes."""
    y_NL = npz.load(key)
    if y_NL.ndim != 2 or y_NL.dtype.kind not in "fiub" or y_NL.size == 0:
        raise DataError(f"{npz.path}: {key} of shape {y_NL.shape}, expected (clips, classes), one-hot")
    one_hot_N = ((y_NL != 0).sum(1) == 1) & (y_NL.max(1) == 1)
    return np.where(one_hot_N, y_NL.argmax(1), -1), y_NL.shape[1]


def _protocol(path: Path, train: int, test: int) -> str:
    if counted := _COUNTS.get((train, test)):
        return counted
    return next((_NAMES[word] for word in path.stem.lower().replace("-", "_").split("_") if word in _NAMES), "given")


def _name(half: str, number: int) -> str:
    return f"{half}-{number:06}"


def _clips(
    path: Path,
    takes: dict[str, Take],
    labels: dict[str, tuple[NDArray[np.int64], int]],
    protocol: str,
    bodies: int,
    options: ReadOptions,
) -> Iterator[Clip | str | None]:
    for half, part in _HALVES.items():
        for number, label in enumerate(labels[half][0].tolist()):
            name = _name(half, number)
            where = f"{path}: x_{half}, clip {number}"
            x_TX = takes[half](1)[0]
            if name in options.exclude:
                yield None
            elif label < 0:
                yield f"{where}: its row of y_{half} is not one-hot"
            else:
                frames = np.flatnonzero(x_TX.any(axis=1))
                x_TPVC = x_TX[: frames[-1] + 1 if len(frames) else 0].reshape(-1, bodies, len(_LAYOUT.joints), 3)
                x_TVCP = x_TPVC.transpose(0, 2, 3, 1).astype(np.float32)
                yield Clip(name, x_TVCP, label, parts={protocol: part}, where=where)
