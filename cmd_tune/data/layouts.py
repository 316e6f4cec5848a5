"""Layouts of skeletons, of sensors or from a file: names of joints, parents, the landmarks that normalisation needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmd_tune.errors import UsageError, did_you_mean
from cmd_tune.yaml_files import read_yaml

LANDMARKS = ("base", "centre", "left_shoulder", "right_shoulder")


@dataclass(frozen=True)
class Layout:
    """A skeleton. Joint numbers are 0-based; the root is its own parent."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    base: int  # bottom of the spine
    centre: int  # the spine joint that is moved to the origin
    left_shoulder: int
    right_shoulder: int


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
        base=0,
        centre=1,
        left_shoulder=joints.index("left_shoulder"),
        right_shoulder=joints.index("right_shoulder"),
    )


LAYOUTS = {
    layout.name: layout
    for layout in (_layout("ntu-25", _NTU_25, _NTU_PARENTS), _layout("kinect-20", _KINECT_20, _KINECT_PARENTS))
}


def layout_of_size(joints: int) -> Layout | None:
    """The sensor's layout with this number of joints; None if there is none."""
    return next((layout for layout in LAYOUTS.values() if len(layout.joints) == joints), None)


def read_layout(path: Path) -> Layout:
    """Read a layout: a name in LAYOUTS, or a YAML file of this form.

    Raises UsageError, in one line, for what is missing, unknown or impossible.

    name: my-rig
    joints: [pelvis, spine, left_shoulder, right_shoulder]    # in the order of the coordinates
    parents: {spine: pelvis, left_shoulder: spine, right_shoulder: spine}   # of every joint but the root
    landmarks: {base: pelvis, centre: spine, left_shoulder: left_shoulder, right_shoulder: right_shoulder}
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
    _check_keys("key", content, ("name", "joints", "parents", "landmarks"))
    name, joints, parents, landmarks = (content[key] for key in ("name", "joints", "parents", "landmarks"))
    if not isinstance(name, str) or not name:
        raise ValueError("name: expected a text")
    if not isinstance(joints, list) or not joints or not all(isinstance(joint, str) for joint in joints):
        raise ValueError("joints: expected a list of names")
    if len(set(joints)) < len(joints):
        twice = next(joint for joint in joints if joints.count(joint) > 1)
        raise ValueError(f"joints: '{twice}' stands there twice")
    for key, mapping in (("parents", parents), ("landmarks", landmarks)):
        if not isinstance(mapping, dict):
            raise ValueError(f"{key}: expected 'name: joint' pairs")
        for of, joint in mapping.items():
            if joint not in joints:
                raise ValueError(f"{key}: {of}: '{joint}' is not a joint; {did_you_mean(str(joint), joints)}")
    for joint in parents:
        if joint not in joints:
            raise ValueError(f"parents: '{joint}' is not a joint; {did_you_mean(str(joint), joints)}")
    _check_keys("landmark", landmarks, LANDMARKS)
    number = {joint: index for index, joint in enumerate(joints)}
    above = tuple(number[parents.get(joint, joint)] for joint in joints)
    _check_tree(joints, above)
    return Layout(name, tuple(joints), above, **{landmark: number[landmarks[landmark]] for landmark in LANDMARKS})


def layout_content(layout: Layout) -> dict[str, Any]:
    """The layout as plain values, in the form of `read_layout`."""
    tree = zip(layout.joints, layout.parents, strict=True)
    return {
        "name": layout.name,
        "joints": list(layout.joints),
        "parents": {joint: layout.joints[parent] for joint, parent in tree if layout.joints[parent] != joint},
        "landmarks": {landmark: layout.joints[getattr(layout, landmark)] for landmark in LANDMARKS},
    }


def _check_keys(what: str, mapping: dict[Any, Any], known: tuple[str, ...]) -> None:
    for key in mapping:
        if key not in known:
            raise ValueError(f"unknown {what} '{key}', {did_you_mean(str(key), known)}")
    for key in known:
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
