"""PKU-MMD I and II: recordings cut into clips, the official split files, and each way they can be wrong."""

from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.readers.pku_mmd import PHASE_1, PHASE_2, open_pku_mmd
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError


@pytest.fixture
def source(write_source) -> Path:
    return write_source("pku-mmd-2")[0]


def read(source: Path, *exclude: str) -> list[Clip | str]:
    opened = open_pku_mmd(PHASE_2, source, ReadOptions(frozenset(exclude)))
    return [clip for batch in opened.batches for clip in opened.read(batch)]


def test_clips_are_the_labelled_frames(source: Path) -> None:
    """Frames from start, counted from 0, to before end; an end beyond the recording is the recording's."""
    clips = read(source)
    assert [clip.name for clip in clips] == [f"{stem}#00{n}" for stem in ("A01N01-L", "A03N12-R") for n in (1, 2, 3)]
    numbers = [(clip.label, clip.subject, clip.camera, clip.setup) for clip in clips]
    assert numbers == [(label, *who, 0) for who in ((1, 1), (12, 3)) for label in (0, 50, 6)]
    lines = np.loadtxt(source / "Skeleton_v2" / "A03N12-R.txt", dtype=np.float32)
    for clip, frames in zip(clips[3:], (range(5), [10], (38, 39)), strict=True):
        x_TPVC = lines[list(frames)].reshape(-1, 2, 25, 3)
        spread = x_TPVC.astype(float).std(axis=(0, 2)).sum(axis=1)
        expected = x_TPVC[:, np.argsort(-spread)].transpose(0, 2, 3, 1)
        assert np.array_equal(clip.joints_TVCP, expected)


def test_the_split_files_are_protocols(source: Path) -> None:
    assert [dict(clip.parts) for clip in read(source)] == 3 * [{"xsub": 1, "xview": 1}] + 3 * [{"xsub": 2, "xview": 2}]


def test_without_split_files_there_is_no_protocol(source: Path) -> None:
    for path in (source / "Split").iterdir():
        path.unlink()
    assert {len(clip.parts) for clip in read(source)} == {0}


def test_names_that_are_left_out(source: Path) -> None:
    assert [clip.name[-4:] for clip in read(source, "A01N01-L#002", "A03N12-R#001")] == ["#001", "#003", "#002", "#003"]


def test_an_absent_body_is_never_the_first(source: Path) -> None:
    path = source / "Skeleton_v2" / "A01N01-L.txt"
    x_TPVC = np.loadtxt(path).reshape(40, 2, 25, 3)
    x_TPVC[:, 0] = 0
    np.savetxt(path, x_TPVC.reshape(40, -1), fmt="%.7f")
    clips = read(source)
    assert all(clip.joints_TVCP[..., 0].any() and not clip.joints_TVCP[..., 1].any() for clip in clips[:3])


SKELETON, LABEL = "Skeleton_v2/A01N01-L.txt", "Label_v2/A01N01-L.txt"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        (SKELETON, b"", "an empty file"),
        (SKELETON, b"\xff\xfe", "not a text of numbers"),
        (SKELETON, b"1 2 3\n", "3 numbers in 1 lines, expected 150 a line"),
        (SKELETON, b"nan " * 149 + b"1\n" * 1, "not finite"),
        (SKELETON, b"0 " * 149 + b"0\n", "no body in any of its 1 frames"),
        (LABEL, b"1,0,1\n52,0,1,2\n", "line 2: action 52 is not in 1–51"),
        (LABEL, b"0,0,1,2\n", "line 1: action 0 is not in 1–51"),
        (LABEL, b"1,5,5,2\n", "line 1: frames 5 to 5 of 40"),
        (LABEL, b"1,40,41,2\n", "line 1: frames 40 to 41 of 40"),
        (LABEL, b"1,-1,4,2\n", "line 1: frames -1 to 4 of 40"),
        (LABEL, b"drink,0,1\n", "line 1 is not 'action,start,end,confidence'"),
        (LABEL, b"1,0\n", "line 1 is not 'action,start,end,confidence'"),
        (LABEL, b"1,inf,4,2\n", "line 1 is not 'action,start,end,confidence'"),
        (LABEL, b"\xff\xfe", "not a text of labels"),
        ("Skeleton_v2/0002-L.txt", b"1", "the name is not of the form AxxNyy-L.txt"),
        ("Skeleton_v2/A02N02-L.txt", b"1", "frames without labels"),
        ("Label_v2/A02N02-L.txt", b"1", "labels without frames"),
    ],
)
def test_a_bad_file_is_named(source: Path, name: str, content: bytes, what: str) -> None:
    (source / name).write_bytes(content)
    lines = [clip for clip in read(source) if isinstance(clip, str)]
    assert lines
    assert lines[0].startswith(f"{source}: ")
    assert Path(name).name in lines[0]
    assert what in lines[0]
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("A01N01-L\n", "names before a heading"),
        ("Training videos:\nA01N01-L\n", "expected a heading"),
        ("", "expected"),
    ],
)
def test_a_bad_split_file_is_named(source: Path, text: str, what: str) -> None:
    (source / "Split" / "cross_view_v2.txt").write_text(text)
    with pytest.raises(DataError, match=rf"cross_view_v2\.txt: .*{what}"):
        open_pku_mmd(PHASE_2, source, ReadOptions())


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no labels"):
        open_pku_mmd(PHASE_2, tmp_path, ReadOptions())


# Phase I.


@pytest.fixture
def first_phase(write_source) -> Path:
    return write_source("pku-mmd-1")[0]


def read_first(source: Path) -> list[Clip | str]:
    opened = open_pku_mmd(PHASE_1, source, ReadOptions())
    return [clip for batch in opened.batches for clip in opened.read(batch)]


def test_phase_1_names_no_subject_and_has_its_own_split_files(first_phase: Path) -> None:
    assert open_pku_mmd(PHASE_1, first_phase, ReadOptions()).dataset == "pku-mmd-1"
    clips = read_first(first_phase)
    assert [clip.name for clip in clips] == [f"{stem}#00{n}" for stem in ("0002-L", "0291-R") for n in (1, 2, 3)]
    numbers = [(clip.label, clip.subject, clip.camera, clip.setup) for clip in clips]
    assert numbers == [(label, 0, camera, 0) for camera in (1, 3) for label in (0, 50, 6)]
    assert [dict(clip.parts) for clip in clips] == 3 * [{"xsub": 1, "xview": 1}] + 3 * [{"xsub": 2, "xview": 2}]


def test_the_phases_hold_the_same_frames(first_phase: Path, write_source, tmp_path: Path) -> None:
    clips = zip(read_first(first_phase), read(write_source("pku-mmd-2", tmp_path / "second")[0]), strict=True)
    assert all(np.array_equal(ours.joints_TVCP, theirs.joints_TVCP) for ours, theirs in clips)


@pytest.mark.parametrize(("phase", "form"), [(PHASE_1, "0002-L.txt"), (PHASE_2, "AxxNyy-L.txt")])
def test_recordings_of_the_other_phase_are_named(phase, form: str, first_phase: Path, source: Path) -> None:
    """The fixtures write into one folder: each phase takes its own and names the other's."""
    opened = open_pku_mmd(phase, first_phase, ReadOptions())
    read = [clip for batch in opened.batches for clip in opened.read(batch)]
    assert len([one for one in read if isinstance(one, Clip) and one.parts == {"xsub": 1, "xview": 1}]) == 3
    lines = [one for one in read if isinstance(one, str)]
    assert len(lines) == 4  # two recordings and two split files
    assert all(line.endswith(f"the name is not of the form {form}, -M.txt or -R.txt") for line in lines)
