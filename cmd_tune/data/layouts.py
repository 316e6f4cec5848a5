"""Layouts of skeletons, of sensors or from a file: names of joints, parents, the landmarks that normalisation needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmd_tune.data.keypoint_layouts import KEYPOINTS
from cmd_tune.errors import UsageError, did_you_mean
from cmd_tune.yaml_files import read_yaml

LANDMARKS = ("base", "centre", "left_shoulder", "right_shoulder")


@dataclass(frozen=True)
class Layout:
    """A skeleton. Joint numbers are 0-based; the root is its own parent. A landmark is the mean of its joints.

    coordinates: of a joint, 2 (x, y) of an image, or 3.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    base: tuple[int, ...]  # bottom of the spine
    centre: tuple[int, ...]  # the place on the spine that is moved to the origin
    left_shoulder: tuple[int, ...]
    right_shoulder: tuple[int, ...]
    coordinates: int = 3


def mean_joint(x: NDArray[Any], joints: Sequence[int], axis: int) -> NDArray[Any]:
    """The place of a landmark: the mean of its joints, along the dimension of joints, which falls away."""
    return np.asarray(x.take(joints, axis).mean(axis))


_KINECT_20 = (
    "hip_centre", "spine", "shoulder_centre", "head",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand",
    "left_hip", "left_knee", "left_ankle", "left_foot",
    "right_hip", "right_knee", "right_ankle", "right_foot",
)  # fmt: skip

_NTU_25 = (
    "spine_base", "spine", "neck", "head",
    *_KINECT_20[4:],
    "spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb",
)  # fmt: skip

# Parent of joint 1, 2, …, 1-based, as the papers print them (the same tree for both sensors'
# first twenty joints, except that Kinect v2 has a joint of its own between the shoulders).
_NTU_PARENTS = (2, 21, 21, 3, 21, 5, 6, 7, 21, 9, 10, 11, 1, 13, 14, 15, 1, 17, 18, 19, 21, 23, 8, 25, 12)
_KINECT_PARENTS = (2, 3, 3, 3, 3, 5, 6, 7, 3, 9, 10, 11, 1, 13, 14, 15, 1, 17, 18, 19)


def _layout(name: str, joints: tuple[str, ...], parents: tuple[int, ...]) -> Layout:
    return Layout(
        name=name,
        joints=joints,
        parents=tuple(parent - 1 for parent in parents),
        base=(0,),
        centre=(1,),
        left_shoulder=(joints.index("left_shoulder"),),
        right_shoulder=(joints.index("right_shoulder"),),
    )


def layout_of_size(joints: int, coordinates: int = 3) -> Layout | None:
    """The sensor's or estimator's layout with these numbers of joints and coordinates; None if there is none."""
    sizes = joints, coordinates
    return next((one for one in LAYOUTS.values() if (len(one.joints), one.coordinates) == sizes), None)


def read_layout(path: Path) -> Layout:
    """Read a layout: a name in LAYOUTS, or a YAML file of this form.

    Raises UsageError, in one line, for what is missing, unknown or impossible.

    name: my-rig
    joints: [pelvis, spine, left_shoulder, right_shoulder]    # in the order of the coordinates
    parents: {spine: pelvis, left_shoulder: spine, right_shoulder: spine}   # of every joint but the root
    landmarks: {base: pelvis, centre: spine, left_shoulder: left_shoulder, right_shoulder: right_shoulder}
    coordinates: 2    # of a joint, if they are not 3

    A landmark is a joint or a list of joints, whose mean it is: `base: [left_hip, right_hip]`.
    """
    if str(path) in LAYOUTS:
        return LAYOUTS[str(path)]
    content = read_yaml(path)
    try:
        return layout_from(content)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def layout_from(content: Any) -> Layout:
    """The layout that plain values describe. Raises ValueError, in one line, if they describe none."""
    if not isinstance(content, dict):
        raise ValueError("expected the keys name, joints, parents and landmarks")
    _check_keys("key", content, ("name", "joints", "parents", "landmarks"), ("coordinates",))
    name, joints, parents, landmarks = (content[key] for key in ("name", "joints", "parents", "landmarks"))
    if not isinstance(name, str) or not name:
        raise ValueError("name: expected a text")
    coordinates = content.get("coordinates", 3)
    if isinstance(coordinates, bool) or coordinates not in (2, 3):
        raise ValueError("coordinates: expected 2 or 3")
    if not isinstance(joints, list) or not joints or not all(isinstance(joint, str) for joint in joints):
        raise ValueError("joints: expected a list of names")
    if len(set(joints)) < len(joints):
        twice = next(joint for joint in joints if joints.count(joint) > 1)
        raise ValueError(f"joints: '{twice}' stands there twice")
    for key, mapping in (("parents", parents), ("landmarks", landmarks)):
        if not isinstance(mapping, dict):
            raise ValueError(f"{key}: expected 'name: joint' pairs")
        for of, named in mapping.items():
            listed = isinstance(named, list) and key == "landmarks"
            for joint in named if listed else [named]:
                if joint not in joints:
                    raise ValueError(f"{key}: {of}: '{joint}' is not a joint; {did_you_mean(str(joint), joints)}")
            if listed and (not named or len(set(named)) < len(named)):
                raise ValueError(f"{key}: {of}: expected a joint, or a list of joints, each once")
    for joint in parents:
        if joint not in joints:
            raise ValueError(f"parents: '{joint}' is not a joint; {did_you_mean(str(joint), joints)}")
    _check_keys("landmark", landmarks, LANDMARKS)
    number = {joint: index for index, joint in enumerate(joints)}
    above = tuple(number[parents.get(joint, joint)] for joint in joints)
    _check_tree(joints, above)
    of_landmarks = {key: named if isinstance(named, list) else [named] for key, named in landmarks.items()}
    return Layout(
        name,
        tuple(joints),
        above,
        **{key: tuple(number[joint] for joint in of_landmarks[key]) for key in LANDMARKS},
        coordinates=int(coordinates),
    )


def layout_content(layout: Layout) -> dict[str, Any]:
    """The layout as plain values, in the form of `read_layout`, without what has a default."""
    landmarks = {key: [layout.joints[joint] for joint in getattr(layout, key)] for key in LANDMARKS}
    tree = zip(layout.joints, layout.parents, strict=True)
    return {
        "name": layout.name,
        "joints": list(layout.joints),
        "parents": {joint: layout.joints[parent] for joint, parent in tree if layout.joints[parent] != joint},
        "landmarks": {key: named if len(named) > 1 else named[0] for key, named in landmarks.items()},
        **({} if layout.coordinates == 3 else {"coordinates": layout.coordinates}),
    }


def _check_keys(what: str, mapping: dict[Any, Any], needed: tuple[str, ...], other: tuple[str, ...] = ()) -> None:
    for key in mapping:
        if key not in (*needed, *other):
            raise ValueError(f"unknown {what} '{key}', {did_you_mean(str(key), (*needed, *other))}")
    for key in needed:
        if key not in mapping:
            raise ValueError(f"the {what} '{key}' is missing")


def _check_tree(joints: list[str], parents: tuple[int, ...]) -> None:
    """Raise ValueError unless all joints lead to one root."""
    roots = [joint for joint, parent in enumerate(parents) if joint == parent]
    for joint in range(len(joints)):
        at = joint
        for _ in joints:
            at = parents[at]
        if at not in roots:
            raise ValueError(f"parents: '{joints[joint]}' leads to no root, but round in a circle")
    if len(roots) > 1:
        raise ValueError(f"parents: '{joints[roots[0]]}' and '{joints[roots[1]]}' have none; only the root may")


LAYOUTS = {
    layout.name: layout
    for layout in (
        _layout("ntu-25", _NTU_25, _NTU_PARENTS),
        _layout("kinect-20", _KINECT_20, _KINECT_PARENTS),
        *map(layout_from, KEYPOINTS),
    )
}
