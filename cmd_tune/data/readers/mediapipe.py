"""Landmarks of MediaPipe Pose, as JSON: a file per clip, in a folder or a zip file with an index.csv (clip_index.py).

MediaPipe writes no files; this is its result as plain values, frame after frame, as most programs keep it. A file is a
list of frames, or {"frames": [...], "width": w, "height": h} with the image's size in pixels. A frame is

- null or an empty list, where nobody was found;
- a list of 33 landmarks, {"x": …, "y": …, "z": …, "visibility": …} or [x, y, z, visibility]; visibility may be absent;
- a list of such lists, a body each, of which the first is kept;
- a mapping with one of these under `pose_landmarks` (`poseLandmarks`, `landmarks`) in the image, x and y as shares of
  its width and height, and under `pose_world_landmarks` (`poseWorldLandmarks`, `worldLandmarks`) in metres.

A visibility of 0 says that the joint was not found.
T frame, V joint, C coordinate, P body.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import FAR
from cmd_tune.data.layouts import Layout
from cmd_tune.data.readers.clip_files import BATCH, ClipFiles
from cmd_tune.data.readers.clip_index import INDEX, IndexedClip, read_clips, read_index
from cmd_tune.data.readers.confidences import without_unseen
from cmd_tune.data.readers.json_texts import read_json
from cmd_tune.data.readers.source import ReadOptions, Source, default_family, in_batches
from cmd_tune.errors import DataError

_KEYS = {
    2: ("pose_landmarks", "poseLandmarks", "landmarks"),
    3: ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks"),
}
_PARALLEL_FROM = 200


def open_mediapipe(layout: Layout, path: Path, options: ReadOptions) -> Source:
    """Open such a source. layout: of landmarks in the image or, in 3-D, in the world.

    Raises DataError if it, or its index, cannot be used.
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
        read=partial(read_clips, partial(_joints, layout), files),
        default=default_family(layout),
    )


def _joints(layout: Layout, files: ClipFiles, clip: IndexedClip) -> NDArray[np.float32]:
    """(T, V, C, 1); frames without a body are 0."""
    where = files.where(clip.file)
    content = read_json(where, files.read(clip.file))
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list):
        raise DataError(f"{where}: expected a list of frames, or a mapping with 'frames'")
    V, C = len(layout.joints), layout.coordinates
    x_TVC = np.zeros((len(frames), V, C), np.float32)
    for number, frame in enumerate(frames, start=1):
        landmarks = _landmarks(f"{where}: frame {number}", frame, layout)
        if landmarks:
            x_VX = _numbers(f"{where}: frame {number}", landmarks)
            x_TVC[number - 1] = without_unseen(x_VX[:, :C], x_VX[:, 3])
    if C == 2 and isinstance(content, dict):
        x_TVC *= _image_size(where, content)
    return x_TVC[..., None]


def _landmarks(where: str, frame: Any, layout: Layout) -> Sequence[Any]:
    """The landmarks of a frame's first body; none if there is no body."""
    if isinstance(frame, dict):
        keys = [key for key in _KEYS[layout.coordinates] if key in frame]
        if not keys:
            raise DataError(f"{where}: has no {_KEYS[layout.coordinates][0]}")
        frame = frame[keys[0]]
    if frame is None:
        return ()
    if isinstance(frame, list) and frame and isinstance(frame[0], list) and _is_landmark(frame[0][:1]):
        frame = frame[0]
    if not isinstance(frame, list) or len(frame) not in (0, len(layout.joints)):
        raise DataError(f"{where}: expected a list of {len(layout.joints)} landmarks")
    return frame


def _is_landmark(first: Sequence[Any]) -> bool:
    """Whether the first thing in a list is a landmark, so that the list is a body."""
    return bool(first) and isinstance(first[0], dict | list)


def _numbers(where: str, landmarks: Sequence[Any]) -> NDArray[np.float64]:
    """(V, 4): x, y, z, which is 0 where it is not given, and visibility, which is 1 there."""
    try:
        x_VX = np.array([_row(landmark) for landmark in landmarks], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        x_VX = np.empty(0)
    if x_VX.ndim != 2 or x_VX.shape[1] != 4:
        raise DataError(f"{where}: expected landmarks with the numbers x, y, z and visibility")
    return x_VX


def _row(landmark: Any) -> list[Any]:
    if isinstance(landmark, dict):
        return [landmark["x"], landmark["y"], landmark.get("z", 0), landmark.get("visibility", 1)]
    return [*landmark, *[0, 1][len(landmark) - 2 :]][:4]


def _image_size(where: str, content: Mapping[str, Any]) -> NDArray[np.float32]:
    """Width and height in pixels; of an image whose size is not given, 1 and 1."""
    size = [content[key] for key in ("width", "height") if key in content]
    if len(size) == 1 or not all(isinstance(side, int | float) and 0 < side < FAR for side in size):
        raise DataError(f"{where}: width and height: expected two numbers of pixels, or neither")
    return np.array(size or (1, 1), np.float32)
