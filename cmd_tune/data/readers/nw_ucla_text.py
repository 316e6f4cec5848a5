"""Northwestern-UCLA (Wang et al., CVPR 2014) as its authors hand it out: a folder per clip, a text per frame.

view_V/aAA_sSS_eEE/frame_F_tc_TIME_skeletons.txt, in a folder or a zip file, under any folders. V is the camera, AA the
action's code, SS the subject, F the frame's number. A text has, of each skeleton, a line with its number and 20 lines
`x,y,z,state`, a joint in metres each; the state is not used. Of several skeletons the first is kept; an empty file, or
one with the first line alone, is a frame without any. Names are those of the JSON files, aAA_sSS_eEE_vVV.
T frame, V joint, C coordinate, P body.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.data.readers.source import ReadOptions, Source, in_batches
from cmd_tune.errors import DataError

_FOLDER = re.compile(r"(?:^|/)view_(?P<camera>\d{1,4})/(?P<stem>a(?P<action>\d{1,4})_s(?P<subject>\d{1,4})_e\d+)$")
_FRAME = re.compile(r"frame_(\d{1,9})_.*skeletons\.txt")
_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)  # the codes of labels 0–9
_JOINTS = 20
_BATCH, _PARALLEL_FROM = 8, 200

Folder = tuple[str, Sequence[str]]  # its path, its files in the order of frames


def open_nw_ucla_text(path: Path, options: ReadOptions) -> Source:
    """Open such a source. Raises DataError if it cannot be used."""
    files = ClipFiles(path, "skeletons.txt")
    frames: dict[str, list[tuple[int, str]]] = {}
    for name in files.names():
        if frame := _FRAME.fullmatch(PurePosixPath(name).name):
            frames.setdefault(str(PurePosixPath(name).parent), []).append((int(frame[1]), name))
    folders = [
        (folder, [name for _, name in sorted(of_folder)])
        for folder, of_folder in sorted(frames.items())
        if _name(folder) not in options.exclude
    ]
    if not folders:
        raise DataError(f"{path}: holds no frame_*_skeletons.txt files")
    return Source(
        dataset="nw-ucla",
        layout=LAYOUTS["kinect-20"],
        bodies=1,
        normalization=None,
        files=files.paths([name for _, names in folders for name in names]),
        what="clips",
        units=len(folders),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(folders, _BATCH),
        read=partial(_read, files),
        default="upright",
    )


def _name(folder: str) -> str | None:
    """The clip's name; None if the folder is none of a clip."""
    found = _FOLDER.search(folder)
    return f"{found['stem']}_v{int(found['camera']):02}" if found else None


def _read(files: ClipFiles, folders: Sequence[Folder]) -> list[Clip | str]:
    return [_read_one(files, *folder) for folder in folders]


def _read_one(files: ClipFiles, folder: str, names: Sequence[str]) -> Clip | str:
    where, found = files.where(folder), _FOLDER.search(folder)
    if found is None:
        return f"{where}: the folder is not of the form view_V/aAA_sSS_eEE"
    if int(found["action"]) not in _ACTIONS:
        return f"{where}: action a{found['action']} is none of {', '.join(map(str, _ACTIONS))}"
    try:
        x_TVC = np.stack([_frame(files.where(name), files.read(name)) for name in names])
    except DataError as error:
        return str(error)
    label, name = _ACTIONS.index(int(found["action"])), str(_name(folder))
    return Clip(name, x_TVC[..., None], label, int(found["subject"]), int(found["camera"]), where=where)


def _frame(where: str, text: bytes) -> NDArray[np.float32]:
    """(V, C) of the first skeleton; 0 if there is none. Raises DataError."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) <= 1:
        return np.zeros((_JOINTS, 3), np.float32)
    try:
        x_VX = np.array([line.split(b",") for line in lines[1 : 1 + _JOINTS]], dtype=np.float32)
    except ValueError:
        x_VX = np.empty(0, np.float32)
    if x_VX.shape != (_JOINTS, 4) or len(lines) % (1 + _JOINTS):
        raise DataError(f"{where}: expected, of each skeleton, a number and {_JOINTS} lines 'x,y,z,state'")
    return x_VX[:, :3]
