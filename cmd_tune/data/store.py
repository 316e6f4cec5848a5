"""A data set on disk: one Arrow file, ragged, opened by memory map, shared by every process that opens it.

A row is a clip; one column holds the coordinates, all clips' frames end to end. The file's metadata hold the data set,
layout, source format and normalisation. The file is not compressed, since compressed columns cannot be mapped.
F stored frame (all clips end to end), N clip, T frame of one clip, X = V·C·P (joint, coordinate, body).
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmd_tune.data.clip import MOST_CLASSES, NEITHER, TEST, TRAIN, Clip
from cmd_tune.data.layouts import Layout, layout_content, layout_from
from cmd_tune.errors import DataError
from cmd_tune.files import atomic_file
from cmd_tune.out_of_memory import is_out_of_memory

SCHEMA_VERSION = "2"
Precision = Literal["float32", "float16"]
_NUMBERS = ("label", "subject", "camera", "setup")
_FINGERPRINT_ROWS = 4096  # of the frames, which may be gigabytes
_MISSING = "cmd_tune.missing"  # metadata that stores before 0.2.0 lack
_PART = "part:"  # begins the name of a protocol's column


@dataclass(frozen=True)
class Description:
    """The properties of all clips of a store. format: of the source. normalization: the family.

    missing_V: of each joint, how often a body was there without it, over frames and bodies, so that `ingest` filled it
    in; None if nothing is known of that.
    """

    dataset: str
    layout: Layout
    bodies: int
    format: str
    normalization: str
    missing_V: tuple[int, ...] | None = field(default=None, kw_only=True)

    def frame_shape(self) -> tuple[int, int, int]:
        """(V, C, P) of one frame."""
        return len(self.layout.joints), self.layout.coordinates, self.bodies


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
    rows_FX = np.concatenate([clip.joints_TVCP.reshape(len(clip.joints_TVCP), -1).astype(dtype) for clip in clips])
    described = Description(dataset, layout, shape[2], "clips", normalization)
    write_rows(path, rows_FX, clips, [len(clip.joints_TVCP) for clip in clips], described)


def write_rows(
    path: Path, rows_FX: NDArray[Any], clips: Sequence[Clip], lengths: Sequence[int], described: Description
) -> None:
    """Write frames, which may be memory-mapped themselves: contiguous float32 or float16.

    clips: without regard to their joints. lengths: their numbers of frames.
    """
    values = pa.Array.from_buffers(
        pa.from_numpy_dtype(rows_FX.dtype), rows_FX.size, [None, pa.py_buffer(rows_FX.reshape(-1))]
    )
    starts = pa.array(np.cumsum([0, *lengths]), pa.int64())
    protocols = sorted({protocol for clip in clips for protocol in clip.parts})
    columns = {
        "name": pa.array([clip.name for clip in clips], pa.string()),
        **{key: pa.array([getattr(clip, key) for clip in clips], pa.int32()) for key in _NUMBERS},
        **{_PART + key: pa.array([clip.parts.get(key, NEITHER) for clip in clips], pa.int8()) for key in protocols},
        "joints": pa.LargeListArray.from_arrays(starts, pa.FixedSizeListArray.from_arrays(values, rows_FX.shape[1])),
    }
    metadata = {
        "cmd_tune.schema": SCHEMA_VERSION,
        "cmd_tune.dataset": described.dataset,
        "cmd_tune.layout": json.dumps(layout_content(described.layout)),
        "cmd_tune.bodies": str(described.bodies),
        "cmd_tune.format": described.format,
        "cmd_tune.normalization": described.normalization,
    }
    if described.missing_V is not None:
        metadata[_MISSING] = json.dumps(described.missing_V)
    batch = pa.RecordBatch.from_pydict(columns)
    batch = batch.replace_schema_metadata(metadata)
    with (
        atomic_file(path) as temporary,
        pa.OSFile(os.fsencode(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


@dataclass(frozen=True)
class Store(Description):
    """An open data set. `rows_FX` is a view of the memory-mapped file: no process holds a copy.

    part_N: by protocol that came with the source: the part of each clip, TRAIN, TEST or NEITHER.
    """

    path: Path
    names: list[str]
    label_N: NDArray[np.int32]
    subject_N: NDArray[np.int32]
    camera_N: NDArray[np.int32]
    setup_N: NDArray[np.int32]
    start_N: Tensor
    length_N: Tensor
    rows_FX: Tensor
    part_N: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def width(self) -> int:
        """V·C·P, the number of input channels of an encoder."""
        return self.rows_FX.shape[1]

    @cached_property
    def classes(self) -> int:
        return int(self.label_N.max()) + 1

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content, wherever the file is: of all but the coordinates, and of some frames of these."""
        digest = hashlib.blake2b(digest_size=16)
        described = [self.dataset, layout_content(self.layout), self.bodies, self.normalization, self.names]
        digest.update(json.dumps([*described, str(self.rows_FX.dtype), len(self.rows_FX)]).encode())
        for key in _NUMBERS:
            digest.update(getattr(self, f"{key}_N").tobytes())
        for name, part_N in sorted(self.part_N.items()):
            digest.update(name.encode() + part_N.tobytes())
        digest.update(self.length_N.numpy().tobytes())
        taken_F = torch.linspace(0, len(self.rows_FX) - 1, _FINGERPRINT_ROWS, dtype=torch.float64).long().unique()
        digest.update(self.rows_FX[taken_F.to(self.rows_FX.device)].cpu().numpy().tobytes())
        return digest.hexdigest()

    def clip_joints(self, clip: int) -> NDArray[np.float32]:
        """The joints of a clip, (T, V, C, P); not to be written to."""
        start, length = int(self.start_N[clip]), int(self.length_N[clip])
        return self.rows_FX[start : start + length].float().numpy().reshape(length, *self.frame_shape())

    def record(self, protocol: str | None) -> dict[str, Any]:
        """The record of this store in a checkpoint, as plain values: path and description."""
        return {
            "path": str(self.path),
            "dataset": self.dataset,
            "protocol": protocol,
            "layout": layout_content(self.layout),
            "normalization": self.normalization,
            "fingerprint": self.fingerprint,
        }

    def on_device_if_it_fits(self, device: torch.device) -> "Store":
        """This store with its frames on a GPU if they take at most half of its free memory; otherwise this store.

        Frames that stay on the host are read by memory map, and views of them are moved.
        """
        if device.type != "cuda" or self.rows_FX.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            return self
        return replace(self, rows_FX=self.rows_FX.to(device))


def open_store(path: Path) -> Store:
    """Open a file that `write_store` wrote. Everything but the coordinates themselves is checked.

    Raises DataError, in one line, for a file that is missing, foreign, truncated, damaged or of another schema.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; make one with 'python -m cmd_tune ingest'")
    pa.set_io_thread_count(1)  # a memory map needs none, eight would be started, and one for which memory lacks aborts
    try:
        reader = pa.ipc.open_file(pa.memory_map(os.fsencode(path)))
        metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
        batch = reader.get_batch(0) if reader.num_record_batches == 1 else None
        if batch is not None:
            batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"{path}: cannot be read: {os.strerror(error.errno)}") from error
        what = str(error).splitlines()[0]
        raise DataError(f"{path}: not a whole Arrow file ({what}); ingest it again") from error
    if batch is None or "cmd_tune.schema" not in metadata:
        raise DataError(f"{path}: an Arrow file, but not one that 'cmd_tune ingest' wrote")
    if metadata["cmd_tune.schema"] != SCHEMA_VERSION:
        raise DataError(f"{path}: schema version {metadata['cmd_tune.schema']}, not {SCHEMA_VERSION}; ingest it again")
    try:
        described = _description(metadata)
        rows_FX, starts = _frames(batch, described)
        numbers, parts = _numbers(batch)
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); ingest it again") from error
    fields: dict[str, Any] = {**vars(described), **{f"{key}_N": numbers[key] for key in _NUMBERS}}
    return Store(
        **fields,
        path=Path(os.path.abspath(path)),
        names=batch.column("name").to_pylist(),
        start_N=torch.from_numpy(starts[:-1].copy()),
        length_N=torch.from_numpy(np.diff(starts)),
        rows_FX=rows_FX,
        part_N=parts,
    )


def _description(metadata: Mapping[str, str]) -> Description:
    """The description in the metadata. Raises ValueError, as the next two functions, for what no store holds."""
    for key in ("dataset", "layout", "bodies", "format", "normalization"):
        if f"cmd_tune.{key}" not in metadata:
            raise ValueError(f"no {key} in its metadata")
    layout = layout_from(json.loads(metadata["cmd_tune.layout"]))
    missing_V = json.loads(metadata.get(_MISSING, "null"))
    if missing_V is not None and not _are_counts(missing_V, len(layout.joints)):
        raise ValueError("counts of missing joints that are none")
    return Description(
        dataset=metadata["cmd_tune.dataset"],
        layout=layout,
        bodies=int(metadata["cmd_tune.bodies"]),
        format=metadata["cmd_tune.format"],
        normalization=metadata["cmd_tune.normalization"],
        missing_V=None if missing_V is None else tuple(missing_V),
    )


def _are_counts(content: Any, joints: int) -> bool:
    return isinstance(content, list) and [type(count) for count in content] == [int] * joints


def _frames(batch: pa.RecordBatch, described: Description) -> tuple[Tensor, NDArray[np.int64]]:
    """All frames as a view of the file, and the first row of each clip, with the end of the last."""
    joints = _column(batch, "joints")
    width = int(np.prod(described.frame_shape()))
    known = [pa.large_list(pa.list_(pa.field("item", value), width)) for value in (pa.float32(), pa.float16())]
    if joints.type not in known:
        raise ValueError(f"frames of type {joints.type}, not of {width} coordinates")
    frames = joints.values
    starts = joints.offsets.to_numpy()
    if frames.null_count or frames.values.null_count or starts[0] != 0 or starts[-1] != len(frames):
        raise ValueError("frames that belong to no clip")
    if (np.diff(starts) < 1).any():
        raise ValueError("a clip without frames")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(frames.values.to_numpy(zero_copy_only=True).reshape(-1, width)), starts


def _numbers(batch: pa.RecordBatch) -> tuple[dict[str, NDArray[np.int32]], dict[str, NDArray[np.int8]]]:
    if _column(batch, "name").type != pa.string():
        raise ValueError("names that are not text")
    numbers = {key: _integers(batch, key, pa.int32()) for key in _NUMBERS}
    if numbers["label"].min() < 0 or numbers["label"].max() >= MOST_CLASSES:
        raise ValueError(f"a label outside 0–{MOST_CLASSES - 1}")
    keys = [key for key in batch.schema.names if key.startswith(_PART)]
    parts = {key.removeprefix(_PART): _integers(batch, key, pa.int8()) for key in keys}
    if not all(np.isin(part_N, (NEITHER, TRAIN, TEST)).all() for part_N in parts.values()):
        raise ValueError("a part in a protocol that is neither training nor test")
    return numbers, parts


def _integers(batch: pa.RecordBatch, key: str, kind: pa.DataType) -> NDArray[Any]:
    column = _column(batch, key)
    if column.type != kind:
        raise ValueError(f"column {key} of type {column.type}, not {kind}")
    return column.to_numpy()


def _column(batch: pa.RecordBatch, key: str) -> pa.Array:
    if batch.schema.names.count(key) != 1 or batch.column(key).null_count or len(batch) == 0:
        raise ValueError(f"no whole column {key}")
    return batch.column(key)
