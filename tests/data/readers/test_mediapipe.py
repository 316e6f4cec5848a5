"""MediaPipe's landmarks as JSON: each form of a frame, and each way a file can be wrong."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers import READERS
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError

FORMATS = ("mediapipe", "mediapipe-world")
POINT = {"x": 0.25, "y": 0.5, "z": -0.125, "visibility": 0.75}


@pytest.fixture
def folder(write_source: Callable) -> Path:
    return write_source("mediapipe")[0]


def read(kind: str, path: Path, *exclude: str) -> list[Clip | str]:
    source = READERS[kind](path, ReadOptions(frozenset(exclude)))
    return [clip for batch in source.batches for clip in source.read(batch)]


def first(kind: str, folder: Path, content: object) -> Clip | str:
    """The first clip, with another content."""
    (folder / "squat" / "000.json").write_text(json.dumps(content))
    return read(kind, folder)[0]


def test_clips_of_every_form(folder: Path, tmp_path: Path) -> None:
    store = ingest("mediapipe", folder, tmp_path / "a.arrow").store
    assert (store.dataset, store.layout.name, store.normalization) == ("source", "mediapipe-33", "torso")
    assert store.frame_shape() == (33, 2, 1)
    assert store.names == ["squat-000", "squat-001", "jump-000", "jump-001"]
    assert (store.label_N.tolist(), store.subject_N.tolist()) == ([0, 0, 1, 1], [1, 2, 1, 2])
    assert store.length_N.tolist() == [6, 2, 9, 4]
    assert store.part_N["given"].tolist() == [1, 2, 1, 0]


def test_world_landmarks_are_in_3_d(folder: Path, tmp_path: Path) -> None:
    store = ingest("mediapipe-world", folder, tmp_path / "a.arrow").store
    assert (store.layout.name, store.frame_shape()) == ("mediapipe-33-world", (33, 3, 1))


def test_a_zip_file_is_read_as_its_folder_is(folder: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "clips"), "zip", folder))
    for ours, theirs in zip(read("mediapipe", archive), read("mediapipe", folder), strict=True):
        assert isinstance(ours, Clip)
        assert isinstance(theirs, Clip)
        assert ours.name == theirs.name
        assert np.array_equal(ours.joints_TVCP, theirs.joints_TVCP)


@pytest.mark.parametrize(("kind", "expected"), [("mediapipe", [0.25, 0.5]), ("mediapipe-world", [0.25, 0.5, -0.125])])
@pytest.mark.parametrize(
    "form",
    [
        lambda body: body,
        lambda body: [body],
        lambda body: [body, [{**POINT, "x": 9}] * 33],
        lambda body: [[point["x"], point["y"], point["z"], point["visibility"]] for point in body],
        lambda body: [[point["x"], point["y"], point["z"]] for point in body],
        lambda body: [[*point.values(), 0.9] for point in body],
        lambda body: {"pose_landmarks": [body], "pose_world_landmarks": [body], "timestamp": 3},
        lambda body: {"poseLandmarks": body, "poseWorldLandmarks": body},
        lambda body: {"landmarks": [body], "worldLandmarks": [body]},
    ],
)
def test_every_form_of_a_frame(folder: Path, kind: str, expected: list[float], form: Callable) -> None:
    clip = first(kind, folder, [form([POINT] * 33), form([{**POINT, "x": 1.5}] * 33)])
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP.shape == (2, 33, len(expected), 1)
    assert np.array_equal(clip.joints_TVCP[0, ..., 0], np.tile(np.float32(expected), (33, 1)))
    assert (clip.joints_TVCP[1, :, 0] == 1.5).all()


@pytest.mark.parametrize("nobody", [None, [], {"landmarks": None, "worldLandmarks": None}])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_frame_without_a_body_is_empty(folder: Path, kind: str, nobody: object) -> None:
    clip = first(kind, folder, [nobody, [POINT] * 33])
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP.any(axis=(1, 2, 3)).tolist() == [False, True]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_landmark_that_is_not_visible_is_missing(folder: Path, kind: str) -> None:
    clip = first(kind, folder, [[*[POINT] * 20, {**POINT, "visibility": 0}, *[POINT] * 12]])
    assert isinstance(clip, Clip)
    assert np.argwhere(np.isnan(clip.joints_TVCP).all(axis=2)).tolist() == [[0, 20, 0]]


def test_shares_of_the_image_become_pixels_if_its_size_is_known(folder: Path) -> None:
    """Else an upright image would widen people; metres stay metres."""
    content = {"frames": [[POINT] * 33], "width": 640, "height": 480}
    clip = first("mediapipe", folder, content)
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP[0, 0, :, 0].tolist() == [160, 240]
    clip = first("mediapipe-world", folder, content)
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP[0, 0, :, 0].tolist() == [0.25, 0.5, -0.125]


def test_excluded_clips_are_left_out(folder: Path) -> None:
    names = [clip.name for clip in read("mediapipe", folder, "squat-001", "jump-000") if isinstance(clip, Clip)]
    assert names == ["squat-000", "jump-001"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (3, "expected a list of frames, or a mapping with 'frames'"),
        ({"frame": []}, "expected a list of frames, or a mapping with 'frames'"),
        ([[POINT] * 33, [POINT] * 21], "frame 2: expected a list of 33 landmarks"),
        ([7], "frame 1: expected a list of 33 landmarks"),
        ([{"hands": []}], "frame 1: has no pose_landmarks"),
        ([[{"y": 1}] * 33], "frame 1: expected landmarks with the numbers x, y, z and visibility"),
        ([[{"x": "left", "y": 1}] * 33], "frame 1: expected landmarks with the numbers"),
        ([["x"] * 33], "frame 1: expected landmarks with the numbers"),
        ([[1.0] * 33], "frame 1: expected landmarks with the numbers"),
        ([[[1.0]] * 33], "frame 1: expected landmarks with the numbers"),
        ([[[1, 2, [3]]] * 33], "frame 1: expected landmarks with the numbers"),
        ([[{**POINT, "x": 10**400}] * 33], "frame 1: expected landmarks with the numbers"),
        ({"frames": [[POINT] * 33], "width": 0, "height": 3}, "width and height: expected two numbers of pixels"),
        ({"frames": [[POINT] * 33], "width": 640, "height": "480"}, "width and height: expected two numbers"),
        ({"frames": [[POINT] * 33], "width": 640}, "width and height: expected two numbers of pixels, or neither"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder: Path, content: object, what: str) -> None:
    line = first("mediapipe", folder, content)
    assert isinstance(line, str)
    assert line.startswith(f"{folder}: squat/000.json: {what}")
    assert "\n" not in line


def test_a_frame_of_the_image_alone_has_no_world_landmarks(folder: Path) -> None:
    line = first("mediapipe-world", folder, [{"pose_landmarks": [[POINT] * 33]}])
    assert line == f"{folder}: squat/000.json: frame 1: has no pose_world_landmarks"


def test_nobody_in_any_frame_is_named(folder: Path, tmp_path: Path) -> None:
    first("mediapipe", folder, [None, []])
    (line,) = ingest("mediapipe", folder, tmp_path / "a.arrow").left_out
    assert line.endswith("squat/000.json: no body in any of its 2 frames")


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_not_there_is_named(folder: Path, tmp_path: Path, packed: bool) -> None:
    (folder / "squat" / "000.json").unlink()
    source = Path(shutil.make_archive(str(tmp_path / "clips"), "zip", folder)) if packed else folder
    (line,) = ingest("mediapipe", source, tmp_path / "a.arrow").left_out
    assert re.match(re.escape(f"{source}: squat/000.json: ") + "(cannot be read|damaged inside the zip file)", line)


def test_a_folder_without_an_index_is_refused(folder: Path) -> None:
    (folder / "index.csv").unlink()
    with pytest.raises(DataError, match=r"holds no index\.csv"):
        read("mediapipe", folder)
