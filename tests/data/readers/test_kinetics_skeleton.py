"""ST-GCN's JSON of Kinetics: bodies by their confidences, labels from files beside, and each way it can be wrong."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers.kinetics_skeleton import open_kinetics_skeleton
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError


@pytest.fixture
def folder(write_source: Callable) -> Path:
    return write_source("kinetics-skeleton")[0]


def read(path: Path, *exclude: str) -> list[Clip | str]:
    source = open_kinetics_skeleton(path, ReadOptions(frozenset(exclude)))
    clips = [clip for batch in source.batches for clip in source.read(batch)]
    assert len(clips) == source.units
    return clips


def clip_file(folder: Path) -> Path:
    return folder / "kinetics_train" / "-clip0.json"


def changed(folder: Path, change: Callable[[dict], object]) -> Clip | str:
    """The first clip after a change of its file."""
    content = json.loads(clip_file(folder).read_text())
    change(content)
    clip_file(folder).write_text(json.dumps(content))
    return read(folder)[0]


def test_clips_labels_and_halves(folder: Path, tmp_path: Path) -> None:
    store = ingest("kinetics-skeleton", folder, tmp_path / "a.arrow").store
    assert (store.dataset, store.layout.name, store.normalization) == ("kinetics-skeleton", "openpose-18", "torso")
    assert store.frame_shape() == (18, 2, 2)
    assert store.names == [f"-clip{n}" for n in range(4)]
    assert (store.label_N.tolist(), store.length_N.tolist()) == ([0, 1, 0, 1], [5, 1, 8, 4])
    assert {name: part_N.tolist() for name, part_N in store.part_N.items()} == {"given": [1, 1, 1, 2]}


def test_a_zip_file_is_read_as_its_folder_is(folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "kinetics"), "zip", folder)
    for ours, theirs in zip(read(Path(archive)), read(folder), strict=True):
        assert isinstance(ours, Clip)
        assert isinstance(theirs, Clip)
        assert np.array_equal(ours.joints_TVCP, theirs.joints_TVCP)


def test_the_more_confident_body_comes_first(folder: Path) -> None:
    """The second of the file's two; x and y alternate in `pose`."""
    clip = read(folder)[0]
    assert isinstance(clip, Clip)
    frames = json.loads(clip_file(folder).read_text())["data"]
    for frame, x_VCP in zip(frames, clip.joints_TVCP, strict=True):
        for body, skeleton in enumerate(reversed(frame["skeleton"])):
            assert x_VCP[:, 0, body].tolist() == pytest.approx(skeleton["pose"][0::2])
            assert x_VCP[:, 1, body].tolist() == pytest.approx(skeleton["pose"][1::2])


def test_of_three_bodies_two_are_kept_frame_by_frame(folder: Path) -> None:
    def crowd(content: dict) -> None:
        for number, frame in enumerate(content["data"]):
            frame["skeleton"] = [
                {"pose": [body] * 36, "score": [0.1 + ((body + number) % 3) / 10] * 18} for body in range(1, 4)
            ]

    clip = changed(folder, crowd)
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP[:4, 0, 0].tolist() == [[2, 1], [1, 3], [3, 2], [2, 1]]


def test_joints_without_confidence_are_missing_and_empty_frames_are_empty(folder: Path) -> None:
    def hide(content: dict) -> None:
        content["data"][1]["skeleton"] = []
        content["data"][2]["skeleton"][1]["score"][4] = 0
        del content["data"][3]

    clip = changed(folder, hide)
    assert isinstance(clip, Clip)
    assert len(clip.joints_TVCP) == 5
    assert clip.joints_TVCP.any(axis=(1, 2, 3)).tolist() == [True, False, True, False, True]
    assert np.argwhere(np.isnan(clip.joints_TVCP)[:, :, 0]).tolist() == [[2, 4, 0]]


def test_clips_without_a_skeleton_and_excluded_ones_are_passed_over(folder: Path) -> None:
    labels = folder / "kinetics_train_label.json"
    content = json.loads(labels.read_text())
    content["-clip1"]["has_skeleton"] = False
    content["-gone"] = content["-clip0"]
    labels.write_text(json.dumps(content))
    assert [clip.name for clip in read(folder, "-clip2") if isinstance(clip, Clip)] == ["-clip0", "-clip3"]


def test_a_clip_that_no_file_of_labels_has_is_named(folder: Path) -> None:
    (folder / "stray.json").write_text(clip_file(folder).read_text())
    assert read(folder)[-1] == f"{folder}: stray.json: no NAME_label.json has a whole number, its label_index"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c.pop("data"), "expected a list of frames, 'data'"),
        (lambda c: c.update(data=[]), "expected a list of frames, 'data'"),
        (lambda c: c.update(data=[3]), "expected a list of frames, 'data'"),
        (lambda c: c["data"][0].pop("frame_index"), "a frame_index that is no number of a frame"),
        (lambda c: c["data"][0].update(frame_index=10**12), "a frame_index that is no number of a frame"),
        (lambda c: c["data"][0].update(frame_index=-1), "a frame_index that is no number of a frame"),
        (lambda c: c["data"][0].update(frame_index=[2]), "a frame_index that is no number of a frame"),
        (lambda c: c["data"][0].update(frame_index=2), "a frame_index that stands there twice"),
        (lambda c: c["data"][0].pop("skeleton"), "frame 1: expected a list of bodies, 'skeleton'"),
        (lambda c: c["data"][0].update(skeleton=[1]), "frame 1: expected bodies with the numbers 'pose' and 'score'"),
        (lambda c: c["data"][0]["skeleton"][0].pop("score"), "frame 1: expected bodies with the numbers"),
        (lambda c: c["data"][0]["skeleton"][0].update(pose={}), "frame 1: expected bodies with the numbers"),
        (lambda c: c["data"][0]["skeleton"][0].update(pose=["a"] * 36), "frame 1: expected bodies with the numbers"),
        (lambda c: c["data"][0]["skeleton"][0].update(pose=[[1], [1, 2]]), "frame 1: expected bodies with the numbers"),
        (lambda c: c["data"][0]["skeleton"][0].update(pose=[1] * 50), "50 and 18 numbers, expected 36 and 18"),
        (lambda c: c["data"][0]["skeleton"][0].update(score=[np.nan] * 18), "36 and 18 numbers, expected 36 and 18"),
    ],
)
def test_a_clip_that_cannot_be_read_is_named(folder: Path, change: Callable[[dict], object], what: str) -> None:
    line = changed(folder, change)
    assert isinstance(line, str)
    assert line.startswith(f"{folder}: kinetics_train/-clip0.json: ")
    assert what in line
    assert "\n" not in line


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800", '{"data": 1e999999}'])
def test_a_text_that_is_no_clip_is_named(folder: Path, text: str) -> None:
    clip_file(folder).write_bytes(text.encode("utf-8", "surrogatepass"))
    line = read(folder)[0]
    assert isinstance(line, str)
    assert re.match(re.escape(f"{folder}: kinetics_train/-clip0.json: ") + "(not JSON|expected a list of frames)", line)


@pytest.mark.parametrize("label", [None, "abseiling", 1.5, True])
def test_a_label_that_is_none_is_named(folder: Path, label: object) -> None:
    labels = folder / "kinetics_train_label.json"
    labels.write_text(json.dumps({"-clip0": {"label_index": label}}))
    assert "no NAME_label.json has a whole number" in str(read(folder)[0])


def test_a_folder_of_another_form_is_refused(folder: Path, tmp_path: Path) -> None:
    labels = folder / "kinetics_train_label.json"
    labels.write_text("[]")
    with pytest.raises(DataError, match=r"kinetics_train_label\.json: expected labels by the names of clips"):
        read(folder)
    for path in folder.glob("*_label.json"):
        path.unlink()
    with pytest.raises(DataError, match=r"holds no labels, NAME_label\.json"):
        read(folder)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a_label.json").write_text('{"a": {"label_index": 0}}')
    with pytest.raises(DataError, match="holds no clips beside its labels"):
        read(tmp_path / "only")
