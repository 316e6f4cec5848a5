"""Skeleton tables against the numbers as the papers print them."""

from pathlib import Path

import pytest

from cmd_tune.data.layouts import LAYOUTS, Layout, layout_content, layout_from, read_layout
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
    assert {name: len(layout.joints) for name, layout in LAYOUTS.items()} == {"ntu-25": 25, "kinect-20": 20}


def test_every_joint_has_a_name_and_a_parent(layout: Layout) -> None:
    assert len(set(layout.joints)) == len(layout.joints) == len(layout.parents)


def test_one_root_which_every_joint_leads_to(layout: Layout) -> None:
    roots = [joint for joint, parent in enumerate(layout.parents) if joint == parent]
    assert roots == [{"ntu-25": 20, "kinect-20": 2}[layout.name]]
    for joint in range(len(layout.joints)):
        path = [joint]
        while path[-1] != roots[0]:
            path.append(layout.parents[path[-1]])
            assert len(path) <= len(layout.joints), f"joint {joint} runs in a circle"


def test_landmarks_of_normalisation(layout: Layout) -> None:
    """Joints 1 and 2 make the spine, 5 and 9 the shoulders, 1-based, for both sensors."""
    assert (layout.base, layout.centre, layout.left_shoulder, layout.right_shoulder) == (0, 1, 4, 8)
    assert layout.joints[4] == "left_shoulder"
    assert layout.joints[8] == "right_shoulder"


def test_a_layout_written_down_is_read_back(layout: Layout) -> None:
    assert layout_from(layout_content(layout)) == layout


RIG = """
name: rig
joints: [pelvis, spine, left, right, head]
parents: {pelvis: spine, left: spine, right: spine, head: spine}
landmarks: {base: pelvis, centre: spine, left_shoulder: left, right_shoulder: right}
"""


def test_a_rig_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG)
    assert read_layout(tmp_path / "rig.yaml") == Layout(
        "rig", ("pelvis", "spine", "left", "right", "head"), (1, 1, 1, 1, 1), 0, 1, 2, 3
    )


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
        ("base: pelvis", "base: [a]", "landmarks: base: '['a']' is not a joint"),
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
