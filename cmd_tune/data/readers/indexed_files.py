"""Sources of a file per clip, in a folder or a zip file with an index.csv (clip_index.py)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.layouts import Layout
from cmd_tune.data.readers.clip_files import BATCH, ClipFiles
from cmd_tune.data.readers.clip_index import INDEX, IndexedClip, read_clips, read_index
from cmd_tune.data.readers.source import ReadOptions, Source, in_batches

_PARALLEL_FROM = 200

Joints = Callable[[str, bytes, Layout], NDArray[np.float32]]


def open_indexed_files(joints: Joints, layout: Layout, path: Path, options: ReadOptions, *, default: str) -> Source:
    """Open a source whose files hold one body each. Raises DataError if it, or its index, cannot be used.

    joints: (name in messages, bytes of the file, layout) → (T, V, C, 1). It raises DataError for whatever is wrong
    with a file. default: as of `Source`.
    """
    files = ClipFiles(path, INDEX)
    clips = [clip for clip in read_index(files) if clip.name not in options.exclude]
    paths = files.paths([*files.names(), *(clip.file for clip in clips)])
    return Source(
        dataset=path.absolute().stem,
        layout=layout,
        bodies=1,
        normalization=None,
        files=[path for path in paths if path.is_file()],
        what="files",
        units=len(clips),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(clips, BATCH),
        read=partial(read_clips, partial(_joints_of, joints, layout), files),
        default=default,
    )


def _joints_of(joints: Joints, layout: Layout, files: ClipFiles, clip: IndexedClip) -> NDArray[np.float32]:
    return joints(files.where(clip.file), files.read(clip.file), layout)
