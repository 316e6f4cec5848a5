"""Northwestern-UCLA's texts: frames in their order, names and labels by folder, and each way they can be wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers.nw_ucla_text import open_nw_ucla_text
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError
from tests.data.conftest import LENGTHS, joints, nw_ucla_frame

NAMES = ["a01_s01_e00_v01", "a01_s01_e00_v02", "a08_s10_e03_v03", "a12_s04_e05_v03"]
FIRST = Path("multiview_action", "view_1", "a01_s01_e00")


@pytest.fixture
def source(write_source: Callable) -> Path:
    return write_source("nw-ucla-text")[0]


def read(source: Path, *exclude: str) -> list[Clip | str]:
    opened = open_nw_ucla_text(source, ReadOptions(frozenset(exclude)))
    return [clip for batch in opened.batches for clip in opened.read(batch)]


def test_clips_are_named_as_the_json_files_are(source: Path, tmp_path: Path) -> None:
    """Codes 7 and 10 stand for no action, so that a08 is label 6 and a12 label 9."""
    store = ingest("nw-ucla-text", source, tmp_path / "a.arrow").store
    assert (store.dataset, store.layout.name, store.normalization) == ("nw-ucla", "kinect-20", "upright")
    assert (store.names, store.label_N.tolist()) == (NAMES, [0, 0, 6, 9])
    assert (store.subject_N.tolist(), store.camera_N.tolist()) == ([1, 1, 10, 4], [1, 2, 3, 3])
    assert store.length_N.tolist() == [1 + length for length in LENGTHS]


def test_frames_are_in_the_order_of_their_numbers(source: Path) -> None:
    """9 comes before 10, whatever the times in the names; a frame without a skeleton is 0."""
    for seed, clip in enumerate(read(source)):
        assert isinstance(clip, Clip)
        assert not clip.joints_TVCP[0].any()
        expected_TVC = joints(LENGTHS[seed], seed, (20, 3))
        assert np.allclose(clip.joints_TVCP[1:, ..., 0], expected_TVC, atol=1e-6)


def test_of_several_skeletons_the_first_is_kept(source: Path) -> None:
    x_PVC = joints(3, 9, (20, 3))
    (source / FIRST / "frame_9_tc_991_skeletons.txt").write_text(nw_ucla_frame(*x_PVC))
    clip = read(source)[0]
    assert isinstance(clip, Clip)
    assert np.allclose(clip.joints_TVCP[1, ..., 0], x_PVC[0], atol=1e-6)


def test_a_number_without_joints_is_a_frame_without_a_skeleton(source: Path) -> None:
    (source / FIRST / "frame_11_tc_989_skeletons.txt").write_text("0\r\n")
    clip = read(source)[0]
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP.any(axis=(1, 2, 3)).tolist() == [False, True, True, False, True, True]


def test_a_zip_file_is_read_as_its_folder_is(source: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "clips"), "zip", source))
    for ours, theirs in zip(read(archive), read(source), strict=True):
        assert isinstance(ours, Clip)
        assert isinstance(theirs, Clip)
        assert ours.name == theirs.name
        assert np.array_equal(ours.joints_TVCP, theirs.joints_TVCP)


def test_names_that_are_left_out(source: Path) -> None:
    assert [clip.name for clip in read(source, NAMES[0], NAMES[3])] == NAMES[1:3]


LINES = ["1,2,3,2"] * 20


@pytest.mark.parametrize(
    "lines",
    [
        ["0", *LINES[:-1]],
        ["0", *LINES, "1"],
        ["0", *LINES, "1", *LINES[:-1]],
        LINES,
        ["0", "1,2,3", *LINES[1:]],
        ["0", *["1,2,3"] * 20],
        ["0", "1,2,three,2", *LINES[1:]],
        ["0", "\xff", *LINES[1:]],
    ],
)
def test_a_bad_frame_leaves_its_clip_out_and_is_named(source: Path, lines: list[str]) -> None:
    file = FIRST / "frame_10_tc_990_skeletons.txt"
    (source / file).write_text("\n".join(lines), encoding="latin1")
    first, *others = read(source)
    assert first == f"{source}: {file}: expected, of each skeleton, a number and 20 lines 'x,y,z,state'"
    assert all(isinstance(clip, Clip) for clip in others)


@pytest.mark.parametrize(
    ("folder", "what"),
    [
        ("view_1/a07_s01_e00", "action a07 is none of 1, 2, 3, 4, 5, 6, 8, 9, 11, 12"),
        ("view_1/a01_s01", "the folder is not of the form view_V/aAA_sSS_eEE"),
        ("a01_s01_e00", "the folder is not of the form view_V/aAA_sSS_eEE"),
    ],
)
def test_a_folder_of_another_form_is_named(source: Path, folder: str, what: str) -> None:
    shutil.copytree(source / FIRST, source / folder)
    lines = [clip for clip in read(source) if isinstance(clip, str)]
    assert lines == [f"{source}: {folder}: {what}"]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "skeletons.txt").write_text("")
    with pytest.raises(DataError, match=r"holds no frame_\*_skeletons\.txt files"):
        open_nw_ucla_text(tmp_path, ReadOptions())
