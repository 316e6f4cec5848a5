"""PKU-MMD, phase II (Liu et al., 2017; Liu et al., TOMM 2020): long recordings, and the actions in them.

Texts in a folder or a zip file, under any folders:
- AxxNyy-L.txt, -M.txt, -R.txt: one line per frame, of 150 numbers: two bodies of 25 joints of three coordinates in
  metres, an absent body 0. yy is the subject; L, M and R are cameras 1, 2 and 3.
- the same names in a folder with "label" in its name: one line per action: action 1–51, start, end, confidence. Its
  frames are those from start, counted from 0, to before end, as CMD's authors cut them; an end beyond the recording is
  the recording's.
- cross_subject_v2.txt and cross_view_v2.txt: a heading, the training names between commas; a heading, the others.
Clip AxxNyy-L#003 is the third line of its label file. Of the two bodies the one that moves more comes first.
T frame, V joint, C coordinate, P body.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.clip import TEST, TRAIN, Clip
from cmd_tune.data.clip_names import parse_clip_name
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.bodies import moving_bodies
from cmd_tune.data.readers.clip_files import ClipFiles
from cmd_tune.data.readers.numbers import read_numbers
from cmd_tune.data.readers.source import ReadOptions, Source, in_batches
from cmd_tune.errors import DataError

_NAME = re.compile(r"A\d+N\d+-[LMR]")
_SPLITS = {"cross_subject_v2.txt": "xsub", "cross_view_v2.txt": "xview"}
_BODIES, _JOINTS, _CLASSES = 2, 25, 51
_WIDTH = _BODIES * _JOINTS * 3
_BATCH, _PARALLEL_FROM = 2, 40  # recordings: each is minutes long

Recording = tuple[str, str | None, str | None, Mapping[str, int]]  # stem, file of frames, file of labels, parts


def open_pku_mmd(path: Path, options: ReadOptions) -> Source:
    """Open such a source. Raises DataError if it, or a split file, cannot be used."""
    files = ClipFiles(path, ".txt")
    names = files.names()
    parts: dict[str, dict[str, int]] = {}
    frames: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name in names:
        stem = Path(name).stem
        if protocol := _SPLITS.get(Path(name).name):
            for of, part in _read_split(files.where(name), files.read(name)).items():
                parts.setdefault(of, {})[protocol] = part
        elif "label" in str(Path(name).parent).lower():
            labels[stem] = name
        else:
            frames[stem] = name
    recordings = [
        (stem, frames.get(stem), labels.get(stem), parts.get(stem, {})) for stem in sorted({*frames, *labels})
    ]
    if not labels or not frames:
        raise DataError(f"{path}: holds no {'frames' if labels else 'labels'} of PKU-MMD in .txt files")
    return Source(
        dataset="pku-mmd-2",
        layout=LAYOUTS["ntu-25"],
        bodies=_BODIES,
        normalization=None,
        files=files.paths(names),
        what="recordings",
        units=len(recordings),
        parallel_from=_PARALLEL_FROM,
        batches=in_batches(recordings, _BATCH),
        read=partial(_read, files, frozenset(options.exclude)),
    )


def _read_split(where: str, text: bytes) -> dict[str, int]:
    """The part, TRAIN or TEST, of each name in a split file."""
    parts: dict[str, int] = {}
    part = None
    for line in text.decode("utf-8", errors="replace").splitlines():
        if found := _NAME.findall(line):
            if part is None:
                raise DataError(f"{where}: names before a heading that says whether they are for training")
            parts.update(dict.fromkeys(found, part))
        elif line.strip():
            part = TRAIN if "train" in line.lower() else TEST
    if set(parts.values()) != {TRAIN, TEST}:
        raise DataError(f"{where}: expected a heading, training names, a heading and validation names")
    return parts


def _read(files: ClipFiles, exclude: frozenset[str], recordings: Sequence[Recording]) -> list[Clip | str]:
    return [clip for recording in recordings for clip in _read_one(files, exclude, recording)]


def _read_one(files: ClipFiles, exclude: frozenset[str], recording: Recording) -> list[Clip | str]:
    stem, frames, labels, parts = recording
    where = files.where(frames or labels or stem)
    parsed = parse_clip_name(stem)
    if parsed is None or not _NAME.fullmatch(stem):
        return [f"{where}: the name is not of the form AxxNyy-L.txt, -M.txt or -R.txt"]
    if frames is None or labels is None:
        return [f"{where}: {'frames without labels' if frames else 'labels without frames'}"]
    try:
        actions = files.read(labels).decode("ascii").splitlines()
        x_TX = _frames(where, files.read(frames))
    except DataError as error:
        return [str(error)]
    except UnicodeDecodeError:
        return [f"{files.where(labels)}: not a text of labels"]
    read: list[Clip | str] = []
    for number, line in enumerate(actions, start=1):
        name = f"{stem}#{number:03}"
        if name in exclude or not line.strip():
            continue
        try:
            label, joints_TVCP = _action(f"{files.where(labels)}: line {number}", line, x_TX)
        except DataError as error:
            read.append(str(error))
        else:
            of_clip = f"{where}: clip {number}"
            read.append(Clip(name, joints_TVCP, label, parsed.subject, parsed.camera, parts=parts, where=of_clip))
    return read


def _frames(where: str, text: bytes) -> NDArray[np.float64]:
    numbers = read_numbers(where, text)
    lines = sum(not line.isspace() for line in text.splitlines() if line)
    if len(numbers) != lines * _WIDTH:
        raise DataError(f"{where}: {len(numbers)} numbers in {lines} lines, expected {_WIDTH} a line")
    return numbers.reshape(-1, _WIDTH)


def _action(where: str, line: str, x_TX: NDArray[np.float64]) -> tuple[int, NDArray[np.float32]]:
    """The label, from 0, and the joints of the action in one line."""
    try:
        action, start, end = (int(float(field)) for field in line.split(",")[:3])
    except (ValueError, OverflowError):
        raise DataError(f"{where} is not 'action,start,end,confidence'") from None
    if not 1 <= action <= _CLASSES:
        raise DataError(f"{where}: action {action} is not in 1–{_CLASSES}")
    if not 0 <= start < min(end, len(x_TX)):
        raise DataError(f"{where}: frames {start} to {end} of {len(x_TX)}")
    x_TPVC = x_TX[start:end].reshape(-1, _BODIES, _JOINTS, 3)
    return action - 1, moving_bodies(x_TPVC.transpose(0, 2, 3, 1), where)
