"""Skeleton tables against the numbers as the papers print them."""

from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.layouts import (
    LAYOUTS,
    Layout,
    layout_content,
    layout_from,
    layout_of_size,
    mean_joint,
    read_layout,
)
from cmd_tune.errors import UsageError

# Child ← parent, 1-based, from the authors' code.
NTU_25 = """1←2 2←21 3←21 4←3 5←21 6←5 7←6 8←7 9←21 10←9 11←10 12←11 13←1 14←13
15←14 16←15 17←1 18←17 19←18 20←19 21←21 22←23 23←8 24←25 25←12"""


@pytest.fixture(params=sorted(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


def test_ntu_parents_are_the_authors() -> None:
    printed = {int(child): int(parent) for child, parent in (pair.split("←") for pair in NTU_25.split())}
    assert {child + 1: parent + 1 for child, parent in enumerate(LAYOUTS["ntu-25"].parents)} == printed


def test_kinect_is_ntu_with_the_joint_between_the_shoulders_as_its_third() -> None:
    """Kinect v2 added joints 21–25; of them 21 is what v1 calls its third joint, and 22–25 are hand tips and thumbs."""
    moved = {20: 2}
    expected = [moved.get(parent, parent) for parent in LAYOUTS["ntu-25"].parents[:20]]
    assert list(LAYOUTS["kinect-20"].parents) == expected


def test_sizes() -> None:
    assert {name: len(layout.joints) for name, layout in LAYOUTS.items()} == {
        **{"ntu-25": 25, "kinect-20": 20, "coco-17": 17, "openpose-18": 18},
        **{"mediapipe-33": 33, "mediapipe-33-world": 33},
    }
    assert {name for name, layout in LAYOUTS.items() if layout.coordinates == 2} == {
        *("coco-17", "openpose-18", "mediapipe-33")
    }


@pytest.mark.parametrize(
    ("joints", "coordinates", "name"),
    [
        *((25, 3, "ntu-25"), (20, 3, "kinect-20"), (17, 2, "coco-17"), (18, 2, "openpose-18")),
        *((33, 2, "mediapipe-33"), (33, 3, "mediapipe-33-world"), (17, 3, None), (25, 2, None)),
    ],
)
def test_a_layout_is_told_by_its_joints_and_coordinates(joints: int, coordinates: int, name: str | None) -> None:
    found = layout_of_size(joints, coordinates)
    assert (found.name if found else None) == name


# Bones of the estimators' own graphs, 0-based: pyskl's of COCO, ST-GCN's of OpenPose.
COCO = [(15, 13), (13, 11), (16, 14), (14, 12), (11, 5), (12, 6), (9, 7), (7, 5), (10, 8), (8, 6)]
COCO += [(5, 0), (6, 0), (1, 0), (3, 1), (2, 0), (4, 2)]
OPENPOSE = [(4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2)]
OPENPOSE += [(5, 1), (2, 1), (0, 1), (15, 0), (14, 0), (17, 15), (16, 14)]


@pytest.mark.parametrize(("name", "bones", "root"), [("coco-17", COCO, 0), ("openpose-18", OPENPOSE, 1)])
def test_estimators_trees_are_the_published_ones(name: str, bones: list[tuple[int, int]], root: int) -> None:
    assert dict(enumerate(LAYOUTS[name].parents)) == {**dict(bones), root: root}


def test_a_left_joint_hangs_as_the_right_one_does() -> None:
    """In every new tree, and their numbers are swapped in pairs."""
    for name in ("coco-17", "openpose-18", "mediapipe-33"):
        layout = LAYOUTS[name]
        mirrored = [_mirror(joint) for joint in layout.joints]
        assert sorted(mirrored) == sorted(layout.joints)
        for joint, parent in zip(layout.joints, layout.parents, strict=True):
            beside = layout.joints.index(_mirror(joint))
            assert layout.joints[layout.parents[beside]] == _mirror(layout.joints[parent])


def _mirror(joint: str) -> str:
    return joint.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")


def test_mediapipe_numbers_its_joints() -> None:
    """As its documentation does."""
    joints = LAYOUTS["mediapipe-33"].joints
    assert joints == LAYOUTS["mediapipe-33-world"].joints
    numbers = {"nose": 0, "left_ear": 7, "mouth_right": 10, "left_shoulder": 11, "right_wrist": 16, "left_pinky": 17}
    numbers |= {"right_thumb": 22, "left_hip": 23, "right_ankle": 28, "left_heel": 29, "right_foot_index": 32}
    assert {joint: joints.index(joint) for joint in numbers} == numbers


def test_every_joint_has_a_name_and_a_parent(layout: Layout) -> None:
    assert len(set(layout.joints)) == len(layout.joints) == len(layout.parents)


def test_one_root_which_every_joint_leads_to(layout: Layout) -> None:
    roots = [joint for joint, parent in enumerate(layout.parents) if joint == parent]
    names = {"ntu-25": 20, "kinect-20": 2, "openpose-18": 1}
    assert roots == [names.get(layout.name, 0)]
    for joint in range(len(layout.joints)):
        path = [joint]
        while path[-1] != roots[0]:
            path.append(layout.parents[path[-1]])
            assert len(path) <= len(layout.joints), f"joint {joint} runs in a circle"


@pytest.mark.parametrize("name", ["ntu-25", "kinect-20"])
def test_landmarks_of_normalisation(name: str) -> None:
    """Joints 1 and 2 make the spine, 5 and 9 the shoulders, 1-based, for both sensors."""
    layout = LAYOUTS[name]
    assert (layout.base, layout.centre, layout.left_shoulder, layout.right_shoulder) == ((0,), (1,), (4,), (8,))
    assert layout.joints[4] == "left_shoulder"
    assert layout.joints[8] == "right_shoulder"


@pytest.mark.parametrize("name", ["coco-17", "openpose-18", "mediapipe-33", "mediapipe-33-world"])
def test_estimators_landmarks_are_means_of_joints(name: str) -> None:
    """The base is between the hips, the centre between these and the shoulders: half a torso above."""
    layout = LAYOUTS[name]
    x_VC = np.random.default_rng(0).normal(size=(len(layout.joints), layout.coordinates))
    hips = [x_VC[layout.joints.index(f"{side}_hip")] for side in ("left", "right")]
    shoulders = [x_VC[layout.joints.index(f"{side}_shoulder")] for side in ("left", "right")]
    np.testing.assert_allclose(mean_joint(x_VC, layout.base, 0), (hips[0] + hips[1]) / 2)
    np.testing.assert_allclose(mean_joint(x_VC, layout.left_shoulder, 0), shoulders[0])
    np.testing.assert_allclose(mean_joint(x_VC, layout.right_shoulder, 0), shoulders[1])
    np.testing.assert_allclose(mean_joint(x_VC, layout.centre, 0), sum([*hips, *shoulders]) / 4)


def test_a_landmark_of_one_joint_is_that_joint_to_the_bit() -> None:
    x_TVC = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    assert np.array_equal(mean_joint(x_TVC, (2,), 1), x_TVC[:, 2])


def test_a_layout_written_down_is_read_back(layout: Layout) -> None:
    assert layout_from(layout_content(layout)) == layout


def test_what_is_written_down_of_sensors_is_as_before() -> None:
    """It is part of a store's fingerprint: no word of 3-D, landmarks as joints."""
    content = layout_content(LAYOUTS["kinect-20"])
    assert list(content) == ["name", "joints", "parents", "landmarks"]
    assert content["landmarks"] == {
        **{"base": "hip_centre", "centre": "spine"},
        **{"left_shoulder": "left_shoulder", "right_shoulder": "right_shoulder"},
    }
    assert layout_content(LAYOUTS["coco-17"])["coordinates"] == 2
    assert layout_content(LAYOUTS["coco-17"])["landmarks"]["base"] == ["left_hip", "right_hip"]


RIG = """
name: rig
joints: [pelvis, spine, left, right, head]
parents: {pelvis: spine, left: spine, right: spine, head: spine}
landmarks: {base: pelvis, centre: spine, left_shoulder: left, right_shoulder: right}
"""


def test_a_rig_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG)
    assert read_layout(tmp_path / "rig.yaml") == Layout(
        "rig", ("pelvis", "spine", "left", "right", "head"), (1, 1, 1, 1, 1), (0,), (1,), (2,), (3,), 3
    )


def test_a_rig_in_2_d_without_a_spine(tmp_path: Path) -> None:
    text = RIG.replace("base: pelvis", "base: [left, right]").replace("centre: spine", "centre: [spine]")
    (tmp_path / "rig.yaml").write_text(text + "coordinates: 2\n")
    rig = read_layout(tmp_path / "rig.yaml")
    assert (rig.base, rig.centre, rig.coordinates) == ((2, 3), (1,), 2)
    assert layout_from(layout_content(rig)) == rig


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("joints:", "joint:", "unknown key 'joint', did you mean 'joints'?"),
        ("name: rig", "", "the key 'name' is missing"),
        ("name: rig", "name: 3", "name: expected a text"),
        ("[pelvis, spine, left, right, head]", "{}", "joints: expected a list of names"),
        ("right, head]", "right, right]", "joints: 'right' stands there twice"),
        ("pelvis: spine", "pelvis: spime", "parents: pelvis: 'spime' is not a joint; did you mean 'spine'?"),
        ("pelvis: spine", "tail: spine", "parents: 'tail' is not a joint"),
        ("pelvis: spine", "pelvis: pelvis", "parents: 'pelvis' and 'spine' have none; only the root may"),
        (
            "pelvis: spine, left: spine",
            "pelvis: left, left: pelvis",
            "'pelvis' leads to no root, but round in a circle",
        ),
        ("base: pelvis, ", "", "the landmark 'base' is missing"),
        ("base: pelvis", "hip: pelvis", "unknown landmark 'hip'"),
        ("base: pelvis", "base: [a]", "landmarks: base: 'a' is not a joint"),
        ("base: pelvis", "base: []", "landmarks: base: expected a joint, or a list of joints, each once"),
        ("base: pelvis", "base: [left, left]", "landmarks: base: expected a joint, or a list of joints, each once"),
        ("base: pelvis", "base: {left: right}", "landmarks: base: '{'left': 'right'}' is not a joint"),
        ("pelvis: spine", "pelvis: [spine]", "parents: pelvis: '['spine']' is not a joint"),
        ("name: rig", "name: rig\ncoordinates: 4", "coordinates: expected 2 or 3"),
        ("name: rig", "name: rig\ncoordinates: true", "coordinates: expected 2 or 3"),
        ("name: rig", "name: rig\ncoordinate: 2", "unknown key 'coordinate', did you mean 'coordinates'?"),
        ("parents: {", "parents: [", "not YAML"),
        (RIG, "- rig", "expected the keys name, joints, parents and landmarks"),
    ],
)
def test_a_wrong_rig_is_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = tmp_path / "rig.yaml"
    assert old in RIG
    path.write_text(RIG.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        read_layout(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert what in str(caught.value)


def test_a_rig_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read"):
        read_layout(tmp_path / "none.yaml")
