"""Joints of each sensor: names, parents, and the landmarks that normalisation needs."""

from dataclasses import dataclass


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
