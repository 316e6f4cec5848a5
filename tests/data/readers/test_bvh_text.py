"""BVH's text: the hierarchy, the numbers, and each way they can be wrong."""

import numpy as np
import pytest

from cmd_tune.data.readers.bvh_text import Joint, read_bvh
from cmd_tune.errors import DataError
from tests.data.conftest import BVH_HIERARCHY, bvh_text

X_TX = np.arange(36.0).reshape(2, 18)


def test_the_hierarchy_and_the_numbers() -> None:
    joints, x_TX = read_bvh("here", bvh_text(X_TX).encode())
    turns = ("Zrotation", "Xrotation", "Yrotation")
    assert joints == [
        Joint("pelvis", 0, (0, 0, 0), ("Xposition", "Yposition", "Zposition", *turns)),
        Joint("spine", 0, (0, 20, 0), turns),
        Joint("left", 1, (15, 25, 0), turns),
        Joint("left_end", 2, (30, 0, 0), ()),
        Joint("right", 1, (-15, 25, 0), ("Yrotation", "Xrotation", "Zrotation")),
        Joint("right_end", 4, (-30, 0, 0), ()),
        Joint("head", 1, (0, 35, 5), turns),
        Joint("head_end", 6, (0, 15, 0), ()),
    ]
    assert np.array_equal(x_TX, X_TX)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("    ", "\t"),
        lambda text: text.replace("\n{", " {"),
        lambda text: text.replace("rotation", "ROTATION"),
        lambda text: text.replace("End Site", "End site"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("Frames: 2\n", "Frames:\t2\n\n"),
        lambda text: text + "\n\n",
    ],
)
def test_programs_differ_in_blanks_and_case(change) -> None:
    joints, x_TX = read_bvh("here", change(bvh_text(X_TX)).encode())
    assert joints == read_bvh("here", bvh_text(X_TX).encode())[0]
    assert np.array_equal(x_TX, X_TX)


def test_a_name_may_have_blanks_and_the_word_of_the_next_part() -> None:
    text = bvh_text(X_TX).replace("ROOT pelvis", "ROOT MOTION base")
    assert read_bvh("here", text.encode())[0][0].name == "MOTION base"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("HIERARCHY\n", "", "does not begin with HIERARCHY"),
        ("MOTION", "MOTIONS", "has no MOTION with Frames and Frame Time"),
        ("Frames: 2", "Frames: two", "has no MOTION with Frames and Frame Time"),
        ("Frames: 2", "Frames: 3", "36 numbers, expected 3 frames of 18 channels"),
        ("Frames: 2", "Frames: 999999999", "36 numbers, expected 999999999 frames of 18 channels"),
        ("17.00000", "", "35 numbers, expected 2 frames of 18 channels"),
        ("17.00000", "x", "not a text of numbers"),
        ("17.00000", "nan", "numbers that are not finite"),
        ("17.00000", "inf", "numbers that are not finite"),
        ("ROOT pelvis", "JOINT pelvis", "HIERARCHY: 'JOINT' is out of place"),
        ("JOINT head", "ROOT head", "HIERARCHY: 'ROOT' is out of place"),
        ("JOINT head", "JOINT left", "HIERARCHY: joint 'left' stands there twice"),
        ("\n}\nMOTION", "\nMOTION", "HIERARCHY: ends early"),
        ("\n}\nMOTION", "\n}\n}\nMOTION", "HIERARCHY: '}' is out of place"),
        ("}\nMOTION", "}\nROOT other\n{\n}\nMOTION", "has more than one ROOT"),
        ("OFFSET 0.0 20.0 0.0", "OFFSET 0.0 20.0", "joint 'spine': OFFSET: expected three numbers"),
        ("OFFSET 0.0 20.0 0.0", "OFFSET 0.0 1e999 0.0", "joint 'spine': OFFSET: expected three numbers"),
        ("OFFSET 0.0 20.0 0.0", "", "joint 'spine' does not begin with OFFSET"),
        ("CHANNELS 3 Y", "CHANNEL 3 Y", "joint 'right' has no CHANNELS after OFFSET"),
        ("CHANNELS 3 Y", "CHANNELS 9 Y", "joint 'right': CHANNELS: '9' is not a number up to 6"),
        ("CHANNELS 3 Y", "CHANNELS Y", "joint 'right': CHANNELS: 'Yrotation' is not a number up to 6"),
        ("CHANNELS 3 Y", "CHANNELS 4 Y", "joint 'right': CHANNELS: expected 4 of Xposition, …, Zrotation"),
        ("CHANNELS 3 Y", "CHANNELS 3 W", "joint 'right': CHANNELS: expected 3 of Xposition, …, Zrotation"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, what: str) -> None:
    text = bvh_text(X_TX)
    assert old in text
    with pytest.raises(DataError) as caught:
        read_bvh("here", text.replace(old, new, 1).encode())
    (line,) = caught.value.args
    assert line.startswith("here: ")
    assert what in line
    assert "\n" not in line


@pytest.mark.parametrize("text", [b"", b"\xff\xfe" + bvh_text(X_TX).encode(), BVH_HIERARCHY.encode()])
def test_another_file_is_named(text: bytes) -> None:
    with pytest.raises(DataError, match=r"here: (has no MOTION|not a text)"):
        read_bvh("here", text)


def test_any_depth() -> None:
    deep = 3000
    blocks = "".join(f"JOINT j{n}\n{{\nOFFSET 0 1 0\nCHANNELS 1 Xrotation\n" for n in range(deep))
    text = f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS 0\n{blocks}{'}' * (deep + 1)}\n"
    joints, x_TX = read_bvh("here", bvh_text(np.ones((1, deep)), text).encode())
    assert [joint.parent for joint in joints] == [0, *range(deep)]
    assert x_TX.shape == (1, deep)
