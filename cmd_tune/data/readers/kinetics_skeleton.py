"""Kinetics-Skeleton, the JSON of ST-GCN (Yan et al., AAAI 2018): what OpenPose finds in videos.

A folder or a zip file, with any folders in it:
- a file NAME.json per clip: {"data": [{"frame_index": t, "skeleton": [{"pose": [x, y, x, y, …], "score": [c, …]}, …]},
  …]}. 18 joints; coordinates are shares of the image's width and height. A confidence of 0 says that the joint was not
  found. In each frame the two bodies of largest confidence are kept, the larger first, as ST-GCN does.
- files NAME_label.json: {NAME: {"label_index": 0, "has_skeleton": true}, …}. Those with "train" in their name have
  training clips, with "val" or "test" the test's. What has no skeleton is passed over.
T frame, V joint, C coordinate, P body.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import HALVES, Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.bodies import BODIES_KEPT
from cmd_tune.data.readers.clip_files import BATCH, ClipFiles
from cmd_tune.data.readers.confidences import without_unseen
from cmd_tune.data.readers.json_texts import read_json
from cmd_tune.data.readers.source import ReadOptions, Source, default_family, in_batches
from cmd_tune.errors import DataError

_LAYOUT = LAYOUTS["openpose-18"]
_JOINTS = len(_LAYOUT.joints)
_LABELS = "_label.json"
_MOST_FRAMES = 100_000  # an hour of video; more is a damaged number
_PARALLEL_FROM = 1000


Label = tuple[Any, Mapping[str, int]]  # a clip's label_index, its parts
_UNLABELLED: Label = (None, {})


def open_kinetics_skeleton(path: Path, options: ReadOptions) -> Source:
    """Open such a source. Raises DataError if it, or a file of labels, cannot be used."""
    files = ClipFiles(path, ".json")
    names = files.names()
    labels: dict[str, Label | None] = {}
    for name in names:
        if name.endswith(_LABELS):
            labels |= _read_labels(files.where(name), Path(name).stem, files.read(name))
    clips = [(name, Path(name).stem) for name in names if not name.endswith(_LABELS)]
    if not labels or not clips:
        raise DataError(f"{path}: holds no {'clips beside its labels' if labels else f'labels, NAME{_LABELS}'}")
    chosen = [
        (name, label)
        for name, stem in clips
        if (label := labels.get(stem, _UNLABELLED)) is not None and stem not in options.exclude
    ]
    return Source(
        dataset="kinetics-skeleton",
        layout=_LAYOUT,
        bodies=BODIES_KEPT,
        normalization=None,
        files=files.paths(names),
        what="files",
        units=len(chosen),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(chosen, BATCH),
        read=partial(_read, files),
        default=default_family(_LAYOUT),
    )


def _read_labels(where: str, stem: str, text: bytes) -> dict[str, Label | None]:
    """Label and parts of each clip in a file of labels; None for a clip without a skeleton."""
    content = read_json(where, text)
    if not isinstance(content, dict) or not all(isinstance(one, dict) for one in content.values()):
        raise DataError(f"{where}: expected labels by the names of clips")
    part = next((part for word, part in HALVES.items() if word in stem.lower()), None)
    parts = {} if part is None else {"given": part}
    return {
        name: (one.get("label_index"), parts) if one.get("has_skeleton", True) else None
        for name, one in content.items()
    }


def _read(files: ClipFiles, clips: Sequence[tuple[str, Label]]) -> list[Clip | str]:
    read: list[Clip | str] = []
    for name, (label, parts) in clips:
        where = files.where(name)
        try:
            if not isinstance(label, int) or isinstance(label, bool):
                raise DataError(f"{where}: no NAME{_LABELS} has a whole number, its label_index")
            joints_TVCP = _joints(where, read_json(where, files.read(name)))
            read.append(Clip(Path(name).stem, joints_TVCP, label, parts=parts, where=where))
        except DataError as error:
            read.append(str(error))
    return read


def _joints(where: str, content: Any) -> NDArray[np.float32]:
    """(T, V, C, P) from the first frame that the file lists to the last."""
    frames = content.get("data") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{where}: expected a list of frames, 'data'")
    indices = [frame.get("frame_index") for frame in frames]
    if not all(isinstance(index, int) and 0 <= index < _MOST_FRAMES for index in indices):
        raise DataError(f"{where}: a frame_index that is no number of a frame")
    if len(set(indices)) < len(indices):
        raise DataError(f"{where}: a frame_index that stands there twice")
    first = min(indices)
    x_TVCP = np.zeros((max(indices) - first + 1, _JOINTS, 2, BODIES_KEPT), np.float32)
    for index, frame in zip(indices, frames, strict=True):
        bodies = _bodies(f"{where}: frame {index}", frame.get("skeleton"))
        bodies.sort(key=lambda body: -body[1].sum())
        for body, (x_VC, score_V) in enumerate(bodies[:BODIES_KEPT]):
            x_TVCP[index - first, :, :, body] = without_unseen(x_VC, score_V)
    return x_TVCP


def _bodies(where: str, skeletons: Any) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Joints (V, C) and confidences (V) of each body of a frame."""
    if not isinstance(skeletons, list):
        raise DataError(f"{where}: expected a list of bodies, 'skeleton'")
    bodies = []
    for skeleton in skeletons:
        try:
            pose = np.asarray(skeleton["pose"], np.float64).reshape(-1)
            score_V = np.asarray(skeleton["score"], np.float64).reshape(-1)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DataError(f"{where}: expected bodies with the numbers 'pose' and 'score'") from None
        if len(pose) != 2 * _JOINTS or len(score_V) != _JOINTS or not np.isfinite(score_V).all():
            found = f"{len(pose)} and {len(score_V)} numbers"
            raise DataError(f"{where}: pose and score of {found}, expected {2 * _JOINTS} and {_JOINTS}")
        bodies.append((pose.reshape(_JOINTS, 2), score_V))
    return bodies
