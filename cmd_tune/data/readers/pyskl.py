"""pyskl's pickle (Duan et al., 2022): {"split": {name: [frame_dir, …]}, "annotations": [{…}, …]}.

MMAction2's older pickles are a bare list of annotations each, and their names end in the split: ntu60_xsub_train.pkl,
gym_val.pkl. A folder of pickles is read as one source; a clip that is in several of them is read once.

An annotation has frame_dir, label and keypoint, (P, T, V, C): in metres as recorded, or in pixels in 2-D; there
keypoint_score, (P, T, V), has confidences, of which 0 says that the joint was not found. In 2-D, which has bystanders,
the first two bodies are kept, as pyskl does. total_frames, if given, is T. Splits NAME_train and NAME_val (or
NAME_test) are one protocol, NAME. If names have a data set's own form, they tell subject, camera and setup; the data
set in 2-D is called by its name and -2d, since its scores are not those of its 3-D joints.
N clip, T frame, V joint, C coordinate, P body.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmd_tune.data.clip import HALVES, Clip
from cmd_tune.data.clip_names import clip_name, data_set, parse_clip_name
from cmd_tune.data.layouts import Layout, layout_of_size
from cmd_tune.data.readers.bodies import BODIES_KEPT
from cmd_tune.data.readers.confidences import without_unseen
from cmd_tune.data.readers.pickles import read_pickle
from cmd_tune.data.readers.source import NEVER_PARALLEL, ReadOptions, Source, clip_batches, default_family
from cmd_tune.data.readers.stray_files import is_data
from cmd_tune.errors import DataError

_PROTOCOLS = {"xset": "xsetup"}  # other names of ours
# The split in the name of a file that is a bare list.
_FILE = re.compile(r"(?:^|_)(?:(?P<protocol>xsub|xview|xset|xsetup|split\d+)_)?(?P<half>train|val|test)$")
_BATCH = 64
_KEYS = ("frame_dir", "label", "keypoint")


class _Annotation(NamedTuple):
    file: Path
    name: str
    content: Mapping[str, Any]


def open_pyskl(path: Path, options: ReadOptions) -> Source:
    """Open a file of this form, or a folder of them. Raises DataError if one is no pickle, or has another form."""
    files = sorted(file for file in path.glob("*.pkl") if is_data(file.name)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: holds no .pkl files")
    annotations, parts = _merged(files)
    shapes = [np.shape(one.content.get("keypoint", ())) for one in annotations]
    layout, bodies = _layout(path, shapes, options), max(shape[0] for shape in shapes if len(shape) == 4)
    flat = layout.coordinates == 2
    bodies = min(bodies, BODIES_KEPT) if flat else bodies
    names = [one.name for one in annotations]
    labels = [one.content["label"] for one in annotations if _whole(one.content.get("label"))]
    known = data_set(names, 1 + max(labels, default=0), "")
    return Source(
        dataset=f"{known}-2d" if known and flat else known or path.absolute().stem,
        layout=layout,
        bodies=bodies,
        normalization=None,
        files=files,
        what="clips",
        units=sum(name not in options.exclude for name in names),
        parallel_from=NEVER_PARALLEL,
        batches=clip_batches(_clips(annotations, parts, bodies, options), _BATCH),
        read=list,
        default=default_family(layout),
    )


def _merged(files: Sequence[Path]) -> tuple[list[_Annotation], dict[str, dict[str, int]]]:
    """The annotations of all files, and the part of each clip in each protocol, by name."""
    annotations: list[_Annotation] = []
    parts: dict[str, dict[str, int]] = {}
    for file in files:
        earlier = {one.name for one in annotations if one.name}
        of_file, parts_of_file = _read(file)
        annotations += [one for one in of_file if one.name not in earlier]
        for name, of_clip in parts_of_file.items():
            known = parts.setdefault(name, {})
            if contrary := [protocol for protocol, part in of_clip.items() if known.get(protocol, part) != part]:
                raise DataError(f"{file}: {name!r} is for training in one file and not in another ('{contrary[0]}')")
            known.update(of_clip)
    return annotations, parts


def _read(file: Path) -> tuple[list[_Annotation], dict[str, dict[str, int]]]:
    """The annotations of one file, and the parts of its clips."""
    content = read_pickle(file)
    if not isinstance(content, list) and not (isinstance(content, dict) and {"split", "annotations"} <= content.keys()):
        raise DataError(f"{file}: expected a mapping with 'split' and 'annotations', or a list of annotations")
    found = content if isinstance(content, list) else content["annotations"]
    if not (isinstance(found, list) and found and all(isinstance(one, dict) for one in found)):
        raise DataError(f"{file}: annotations: expected a list of mappings")
    annotations = [_Annotation(file, clip_name(str(one.get("frame_dir", ""))), one) for one in found]
    if isinstance(content, dict):
        return annotations, _parts(file, content["split"])
    split = _FILE.search(file.stem)
    if split is None:
        return annotations, {}
    protocol = split["protocol"] or "given"
    part = {_PROTOCOLS.get(protocol, protocol): HALVES[split["half"]]}
    return annotations, {one.name: part for one in annotations if one.name}


def _parts(path: Path, split: Any) -> dict[str, dict[str, int]]:
    """The part of each clip in each protocol, by name."""
    if not isinstance(split, dict):
        raise DataError(f"{path}: split: expected lists of names, by name")
    parts: dict[str, dict[str, int]] = {}
    for key, names in split.items():
        protocol, _, half = str(key).rpartition("_")
        protocol = _PROTOCOLS.get(protocol, protocol) or "given"
        if half not in HALVES:
            raise DataError(f"{path}: split '{key}' ends neither in train nor in val or test")
        if not isinstance(names, list | tuple | set | np.ndarray):
            raise DataError(f"{path}: split '{key}': expected a list of names")
        for name in names:
            parts.setdefault(clip_name(str(name)), {})[protocol] = HALVES[half]
    return parts


def _layout(path: Path, shapes: Sequence[tuple[int, ...]], options: ReadOptions) -> Layout:
    """The layout of the first clip. Clips of other shapes are reported when they are read."""
    first = next((shape for shape in shapes if len(shape) == 4 and shape[0]), None)
    if first is None or first[3] not in (2, 3):
        found = shapes[0] if first is None else first
        raise DataError(f"{path}: keypoint of shape {found}, expected (bodies, frames, joints, 2 or 3)")
    layout = options.layout or layout_of_size(*first[2:])
    if layout is None or (len(layout.joints), layout.coordinates) != first[2:]:
        raise DataError(f"{path}: {first[2]} joints in {first[3]}-D; say which with --layout")
    return layout


def _whole(label: Any) -> bool:
    return isinstance(label, int | np.integer) and not isinstance(label, bool)


def _clips(
    annotations: Sequence[_Annotation], parts: Mapping[str, Mapping[str, int]], bodies: int, options: ReadOptions
) -> Iterator[Clip | str | None]:
    for number, (file, name, annotation) in enumerate(annotations):
        where = f"{file}: {name or f'annotation {number}'}"
        if name in options.exclude:
            yield None
        elif missing := [key for key in _KEYS if key not in annotation]:
            yield f"{where}: has no {missing[0]}"
        elif not _whole(annotation["label"]):
            yield f"{where}: label {str(annotation['label'])[:40]!r} is not a whole number"
        else:
            yield _clip(where, name, annotation, parts.get(name, {}), bodies)


def _clip(where: str, name: str, annotation: Mapping[str, Any], parts: Mapping[str, int], bodies: int) -> Clip | str:
    x_PTVC = annotation["keypoint"]
    if not isinstance(x_PTVC, np.ndarray) or x_PTVC.dtype.kind != "f" or x_PTVC.ndim != 4 or len(x_PTVC) == 0:
        return f"{where}: keypoint of shape {np.shape(x_PTVC)}, expected floats (bodies, frames, joints, 2 or 3)"
    if x_PTVC.shape[1] != annotation.get("total_frames", x_PTVC.shape[1]):
        return f"{where}: {x_PTVC.shape[1]} frames, but total_frames is {annotation['total_frames']}"
    score_PTV = annotation.get("keypoint_score") if x_PTVC.shape[3] == 2 else None
    if score_PTV is not None:
        if not isinstance(score_PTV, np.ndarray) or score_PTV.dtype.kind != "f" or score_PTV.shape != x_PTVC.shape[:3]:
            expected = f"expected floats {x_PTVC.shape[:3]}"
            return f"{where}: keypoint_score of shape {np.shape(score_PTV)}, {expected}"
        x_PTVC = without_unseen(x_PTVC, score_PTV)
    x_PTVC = x_PTVC[:bodies]
    absent = bodies - len(x_PTVC)
    x_TVCP = np.pad(x_PTVC.astype(np.float32), ((0, absent), (0, 0), (0, 0), (0, 0))).transpose(1, 2, 3, 0)
    parsed = parse_clip_name(name)
    numbers = (parsed.subject, parsed.camera, parsed.setup) if parsed else (0, 0, 0)
    return Clip(name, x_TVCP, int(annotation["label"]), *numbers, parts=parts, where=where)
