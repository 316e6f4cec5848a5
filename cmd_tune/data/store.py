"""A data set on disk: one Arrow file, ragged, opened by memory map, shared by every process that opens it.

F stored frame (all clips end to end), N clip, T frame of one clip, X = V·C·P (joint, coordinate, body).
"""

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS, Layout
from cmd_tune.errors import DataError, nearest
from cmd_tune.files import whole_file

SCHEMA_VERSION = "1"
Precision = Literal["float32", "float16"]
_LABELS = ("label", "subject", "camera", "setup")


def write_store(
    path: Path,
    clips: Iterable[Clip],
    *,
    dataset: str,
    layout: Layout,
    normalization: str,
    dtype: Precision = "float32",
) -> None:
    """Write clips (each (T, V, C, P), T ≥ 1, the same V, C and P) as one file, whole or not at all.

    dtype: of the coordinates on disk; float16 halves the file and rounds a metre to half a millimetre.
    """
    clips = list(clips)
    shape = clips[0].joints_TVCP.shape[1:]
    for clip in clips:
        if clip.joints_TVCP.shape[1:] != shape:
            other = clip.joints_TVCP.shape[1:]
            raise DataError(f"{path}: a frame of {clip.name} is {other}, one of {clips[0].name} {shape}")
    bodies = clips[0].joints_TVCP.shape[3]
    width = clips[0].joints_TVCP[0].size
    frames = pa.array(np.concatenate([clip.joints_TVCP.reshape(-1).astype(dtype) for clip in clips]))
    starts = np.cumsum([0] + [len(clip.joints_TVCP) for clip in clips])
    columns = {
        "name": pa.array([clip.name for clip in clips], pa.string()),
        **{key: pa.array([getattr(clip, key) for clip in clips], pa.int32()) for key in _LABELS},
        "joints": pa.LargeListArray.from_arrays(
            pa.array(starts, pa.int64()), pa.FixedSizeListArray.from_arrays(frames, width)
        ),
    }
    metadata = {
        "cmd_tune.schema": SCHEMA_VERSION,
        "cmd_tune.dataset": dataset,
        "cmd_tune.layout": layout.name,
        "cmd_tune.bodies": str(bodies),
        "cmd_tune.normalization": normalization,
    }
    batch = pa.RecordBatch.from_pydict(columns)
    batch = batch.replace_schema_metadata(metadata)
    with (
        whole_file(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


@dataclass(frozen=True)
class Store:
    """An open data set. `rows_FX` is a view of the memory-mapped file: no process holds a copy."""

    path: Path
    dataset: str
    layout: Layout
    bodies: int
    normalization: str
    names: list[str]
    label_N: NDArray[np.int32]
    subject_N: NDArray[np.int32]
    camera_N: NDArray[np.int32]
    setup_N: NDArray[np.int32]
    start_N: Tensor
    length_N: Tensor
    rows_FX: Tensor

    def __len__(self) -> int:
        return len(self.names)

    @property
    def width(self) -> int:
        """V·C·P, the number of input channels of an encoder."""
        return self.rows_FX.shape[1]

    @cached_property
    def classes(self) -> int:
        return int(self.label_N.max()) + 1

    def near(self, device: torch.device) -> "Store":
        """This store with its frames on a GPU where they take at most half of what is free there; else as it is.

        Frames that stay behind are read by memory map, and what is made of them is moved.
        """
        if device.type != "cuda" or self.rows_FX.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        return replace(self, rows_FX=self.rows_FX.to(device))

    def frame_shape(self) -> tuple[int, int, int]:
        """(V, C, P) of one frame."""
        return len(self.layout.joints), 3, self.bodies


def open_store(path: Path) -> Store:
    """Open a file that `write_store` wrote.

    Raises DataError, in one line, for a file that is missing, foreign, truncated or of another schema.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; make one with 'python -m cmd_tune ingest'")
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
        batch = reader.get_batch(0) if reader.num_record_batches == 1 else None
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{path}: not a whole Arrow file ({what}); ingest it again") from error
    if batch is None or "cmd_tune.schema" not in metadata:
        raise DataError(f"{path}: an Arrow file, but not one that 'cmd_tune ingest' wrote")
    if metadata["cmd_tune.schema"] != SCHEMA_VERSION:
        raise DataError(f"{path}: schema version {metadata['cmd_tune.schema']}, not {SCHEMA_VERSION}; ingest it again")
    if metadata["cmd_tune.layout"] not in LAYOUTS:
        raise DataError(f"{path}: unknown layout '{metadata['cmd_tune.layout']}', {nearest('', LAYOUTS)}")

    joints = batch.column("joints")
    starts = joints.offsets.to_numpy()
    rows_FX = joints.values.flatten().to_numpy(zero_copy_only=True).reshape(-1, joints.type.value_type.list_size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        rows = torch.from_numpy(rows_FX)
    return Store(
        path=Path(os.path.abspath(path)),
        dataset=metadata["cmd_tune.dataset"],
        layout=LAYOUTS[metadata["cmd_tune.layout"]],
        bodies=int(metadata["cmd_tune.bodies"]),
        normalization=metadata["cmd_tune.normalization"],
        names=batch.column("name").to_pylist(),
        **{f"{key}_N": batch.column(key).to_numpy() for key in _LABELS},
        start_N=torch.from_numpy(starts[:-1].copy()),
        length_N=torch.from_numpy(np.diff(starts)),
        rows_FX=rows,
    )
