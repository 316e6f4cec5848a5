"""BVH (Biovision Hierarchy), motion capture as angles of joints: a file per clip, in a folder or a zip file.

Beside the files an index.csv (clip_index.py) says what they show; --layout names the joints to keep, by their names in
the files, in any order. An end site has its parent's name and "_end". Places are computed from the angles
(kinematics.py), in the file's unit, often centimetres; y is up in most files.
T frame, V joint, C coordinate, P body.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout
from cmd_tune.data.readers.bvh_text import read_bvh
from cmd_tune.data.readers.indexed_files import open_indexed_files
from cmd_tune.data.readers.kinematics import joint_places
from cmd_tune.data.readers.source import ReadOptions, Source
from cmd_tune.errors import DataError, UsageError, did_you_mean

_NOT_LOST = 1e-6  # of the file's unit: where a joint in the origin is put, which would be taken for lost


def open_bvh(path: Path, options: ReadOptions) -> Source:
    """Open such a source. Raises UsageError without a layout in 3-D, DataError if it, or its index, cannot be used."""
    if options.layout is None or options.layout.coordinates != 3:
        raise UsageError(f"{path}: bvh needs --layout, a YAML of joints in 3-D with their names in the files")
    return open_indexed_files(_joints, options.layout, path, options, default="upright")


def _joints(where: str, text: bytes, layout: Layout) -> NDArray[np.float32]:
    """(T, V, 3, 1), the joints of the layout."""
    joints, x_TX = read_bvh(where, text)
    number = {joint.name: v for v, joint in enumerate(joints)}
    for name in layout.joints:
        if name not in number:
            raise DataError(f"{where}: has no joint '{name}' of the layout; {did_you_mean(name, list(number))}")
    x_TVC = joint_places(joints, x_TX)[:, [number[name] for name in layout.joints]].astype(np.float32)
    x_TVC[(x_TVC == 0).all(axis=2)] = _NOT_LOST
    return x_TVC[..., None]
