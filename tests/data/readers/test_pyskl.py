"""pyskl's pickle: annotations as clips, its splits as protocols, and each way it can be wrong."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.readers.pyskl import open_pyskl
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError

NAMES = ["S001C001P001R001A001", "S001C002P002R001A002", "S002C003P003R002A001", "S002C001P004R001A003"]


@pytest.fixture
def source(write_source) -> Path:
    return write_source("pyskl")[0]


@pytest.fixture
def content(source: Path) -> dict:
    return pickle.loads(source.read_bytes())  # noqa: S301


def test_annotations_are_clips_and_splits_are_protocols(source: Path, content: dict, tmp_path: Path) -> None:
    store = ingest("pyskl", source, tmp_path / "a.arrow").store
    assert (store.dataset, store.normalization, store.bodies, store.names) == ("ntu-60", "2s-agcn", 2, NAMES)
    assert store.label_N.tolist() == [0, 1, 2, 3]
    assert (store.subject_N.tolist(), store.camera_N.tolist()) == ([1, 2, 3, 4], [1, 2, 3, 1])
    assert {key: part_N.tolist() for key, part_N in store.part_N.items()} == {
        "xsub": [1, 1, 2, 2],
        "xsetup": [0, 0, 0, 1],
    }
    for n, annotation in enumerate(content["annotations"]):
        x_TVCP = np.zeros((annotation["total_frames"], 25, 3, 2), np.float32)
        x_TVCP[..., : len(annotation["keypoint"])] = annotation["keypoint"].transpose(1, 2, 3, 0)
        start = int(store.start_N[n])
        rows = store.rows_FX[start : start + len(x_TVCP)].view(x_TVCP.shape)
        assert np.array_equal(rows, align_first_frame(x_TVCP, LAYOUTS["ntu-25"]))


def test_more_processes_give_the_same_store(source: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        ingest("pyskl", source, tmp_path / f"{processes}.arrow", processes=processes)
    assert (tmp_path / "1.arrow").read_bytes() == (tmp_path / "2.arrow").read_bytes()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"keypoint": np.ones((2, 5, 25, 2))}, r"shape \(5, 25, 2, 2\), expected \(frames, 25, 3, 2\)"),
        ({"keypoint": np.ones((2, 5, 20, 3))}, r"shape \(5, 20, 3, 2\), expected \(frames, 25, 3, 2\)"),
        ({"keypoint": np.ones((5, 25, 3))}, r"keypoint of shape \(5, 25, 3\)"),
        ({"keypoint": [[1]]}, r"keypoint of shape \(1, 1\)"),
        ({"keypoint": np.ones((2, 0, 25, 3)), "total_frames": 0}, "no frames"),
        ({"keypoint": np.full((1, 5, 25, 3), np.inf)}, "not finite"),
        ({"keypoint": np.full((1, 5, 25, 3), np.nan)}, "no body in any of its 5 frames"),
        ({"keypoint": np.zeros((1, 5, 25, 3))}, "no body in any of its 5 frames"),
        ({"total_frames": 9}, "5 frames, but total_frames is 9"),
        ({"label": "drink"}, "label 'drink' is not a whole number"),
        ({"label": -1}, "label -1 is not in 0–9999"),
        ({"label": 10_000}, "label 10000 is not in 0–9999"),
        ({"frame_dir": NAMES[1]}, "another clip has the same name"),
    ],
)
def test_a_clip_that_cannot_be_used_is_named(
    source: Path, content: dict, tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    content["annotations"].append({**content["annotations"][0], "frame_dir": "S003C001P001R001A001", **changes})
    source.write_bytes(pickle.dumps(content))
    done = ingest("pyskl", source, tmp_path / "a.arrow")
    assert done.store.names == NAMES
    (line,) = done.left_out
    assert line.startswith(f"{source}: {changes.get('frame_dir', 'S003C001P001R001A001')}: ")
    assert re.search(what, line)


@pytest.mark.parametrize("name", ["two\nlines", "half a \ud800 pair"])
def test_a_name_that_cannot_be_printed_is_left_out_in_one_line(
    source: Path, content: dict, tmp_path: Path, name: str
) -> None:
    for label in (0, "drink"):
        content["annotations"].append({**content["annotations"][0], "frame_dir": name, "label": label})
    source.write_bytes(pickle.dumps(content))
    done = ingest("pyskl", source, tmp_path / "a.arrow")
    assert done.store.names == NAMES
    assert ["\n" in line for line in done.left_out] == [False, False]
    assert done.left_out[0].endswith("a name with characters that cannot be printed")


@pytest.mark.parametrize("key", ["frame_dir", "label", "keypoint"])
def test_a_key_that_is_missing_is_named(source: Path, content: dict, tmp_path: Path, key: str) -> None:
    del content["annotations"][1][key]
    source.write_bytes(pickle.dumps(content))
    (line,) = ingest("pyskl", source, tmp_path / "a.arrow").left_out
    assert line.endswith(f": has no {key}")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"split": {"xsub": []}}, "split 'xsub' ends neither in train nor in val or test"),
        ({"split": {"xsub_train": 3}}, "split 'xsub_train': expected a list of names"),
        ({"split": []}, "split: expected lists of names"),
        ({"annotations": []}, "annotations: expected a list of mappings"),
        ({"annotations": [3]}, "annotations: expected a list of mappings"),
        ({"annotations": [{"keypoint": 3}]}, r"keypoint of shape \(\)"),
        ({"annotations": [{"keypoint": np.ones((1, 2, 17, 3))}]}, "17 joints in 3-D; say which with --layout"),
        ({"annotations": [{"keypoint": np.ones((1, 2, 25, 2))}]}, "25 joints in 2-D; say which with --layout"),
        ({"annotations": [{"keypoint": np.ones((1, 2, 25, 4))}]}, r"\(1, 2, 25, 4\), expected .*joints, 2 or 3\)"),
    ],
)
def test_a_pickle_of_another_form_is_named(source: Path, content: dict, change: dict, what: str) -> None:
    source.write_bytes(pickle.dumps({**content, **change}))
    with pytest.raises(DataError, match=what):
        open_pyskl(source, ReadOptions())


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (3, "expected a mapping with 'split' and 'annotations', or a list of annotations"),
        ({"annotations": []}, "expected a mapping with 'split' and 'annotations', or a list of annotations"),
        ([1], "annotations: expected a list of mappings"),
        ([], "annotations: expected a list of mappings"),
    ],
)
def test_something_else_is_no_pyskl_pickle(source: Path, content: object, what: str) -> None:
    source.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=f"{source}: {what}"):
        open_pyskl(source, ReadOptions())


# Bare lists, a file a split.


@pytest.fixture
def lists(write_source) -> Path:
    return write_source("pyskl lists")[0]


def test_a_folder_of_lists_has_each_clip_once_and_the_splits_of_the_files_names(lists: Path, tmp_path: Path) -> None:
    (lists / "._ntu60_xsub_train.pkl").write_bytes(b"of an archive")
    store = ingest("pyskl", lists, tmp_path / "a.arrow").store
    assert (store.dataset, store.layout.name, store.frame_shape()) == ("ntu-60-2d", "coco-17", (17, 2, 2))
    assert store.names == NAMES
    assert store.length_N.tolist() == [5, 1, 8, 4]
    assert {key: part_N.tolist() for key, part_N in store.part_N.items()} == {
        "xsub": [1, 1, 2, 2],
        "xview": [2, 1, 1, 1],
    }


def test_lists_hold_the_same_joints_as_the_mapping(lists: Path, write_source: Callable, tmp_path: Path) -> None:
    whole = ingest("pyskl", write_source("pyskl 2-D", tmp_path / "whole")[0], tmp_path / "a.arrow").store
    assert ingest("pyskl", lists, tmp_path / "b.arrow").store.rows_FX.equal(whole.rows_FX)


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("ntu60_xsub_train.pkl", {"xsub": 1}),
        ("ntu120_xset_val.pkl", {"xsetup": 2}),
        ("hmdb51_split1_train.pkl", {"split1": 1}),
        ("gym_val.pkl", {"given": 2}),
        ("test.pkl", {"given": 2}),
        ("my_own_train.pkl", {"given": 1}),
        ("gym.pkl", {}),
        ("restrain.pkl", {}),
    ],
)
def test_a_list_has_the_split_of_its_files_name(lists: Path, tmp_path: Path, file: str, parts: dict[str, int]) -> None:
    path = (lists / "ntu60_xsub_val.pkl").rename(tmp_path / file)
    source = open_pyskl(path, ReadOptions())
    assert (source.units, source.files) == (2, [path])
    assert [clip.parts for batch in source.batches for clip in batch] == [parts, parts]


def test_a_clip_on_both_sides_of_a_protocol_is_named(lists: Path) -> None:
    shutil.copy(lists / "ntu60_xsub_train.pkl", lists / "ntu60_xsub_val.pkl")
    with pytest.raises(DataError, match=rf"xsub_val\.pkl: '{NAMES[0]}' is for training in one file .*\('xsub'\)"):
        open_pyskl(lists, ReadOptions())


def test_a_clip_that_is_twice_in_one_list_is_named(lists: Path, tmp_path: Path) -> None:
    path = lists / "ntu60_xsub_val.pkl"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) * 2))  # noqa: S301
    done = ingest("pyskl", lists, tmp_path / "a.arrow")
    assert done.store.names == NAMES
    assert [line.split(": ")[1:] for line in done.left_out] == [
        [name, "another clip has the same name"] for name in NAMES[2:]
    ]


def test_clips_without_a_name_are_named_by_file(lists: Path, tmp_path: Path) -> None:
    for half in ("train", "val"):
        path = lists / f"ntu60_xsub_{half}.pkl"
        annotations = pickle.loads(path.read_bytes())  # noqa: S301
        path.write_bytes(pickle.dumps([*annotations, {**annotations[0], "frame_dir": ""}, {"keypoint": 0}]))
    left_out = ingest("pyskl", lists, tmp_path / "a.arrow").left_out
    assert [re.sub(r"\d+: ", ": ", line) for line in left_out if "has no frame_dir" in line] == [
        f"{lists / file}: annotation : has no frame_dir" for file in ("ntu60_xsub_train.pkl", "ntu60_xsub_val.pkl")
    ]


def test_a_folder_without_pickles_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}: holds no \.pkl files"):
        open_pyskl(tmp_path, ReadOptions())


# Joints of images.


@pytest.fixture
def images(write_source) -> Path:
    return write_source("pyskl 2-D")[0]


def rewritten(path: Path, change: Callable[[list[dict]], object]) -> list[Clip | str]:
    """What the reader hands over after a change of the annotations."""
    content = pickle.loads(path.read_bytes())  # noqa: S301
    change(content["annotations"])
    path.write_bytes(pickle.dumps(content))
    source = open_pyskl(path, ReadOptions())
    return [clip for batch in source.batches for clip in source.read(batch)]


def test_joints_of_images_are_a_data_set_of_their_own(images: Path, tmp_path: Path) -> None:
    store = ingest("pyskl", images, tmp_path / "a.arrow").store
    assert (store.dataset, store.normalization, store.layout.name) == ("ntu-60-2d", "torso", "coco-17")
    assert store.frame_shape() == (17, 2, 2)
    assert (store.subject_N.tolist(), store.part_N["xsub"].tolist()) == ([1, 2, 3, 4], [1, 1, 2, 2])


def test_confidences_say_which_joints_are_missing(images: Path) -> None:
    def hide(annotations: list[dict]) -> None:
        annotations[0]["keypoint_score"][0, 2, 5] = 0
        annotations[0]["keypoint_score"][1, 3] = 0

    clip = rewritten(images, hide)[0]
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP.shape == (5, 17, 2, 2)
    nan_TVP = np.isnan(clip.joints_TVCP).all(axis=2)
    assert np.argwhere(nan_TVP).tolist() == [[2, 5, 0]]
    absent_TP = ~clip.joints_TVCP.any(axis=(1, 2))
    assert np.argwhere(absent_TP).tolist() == [[3, 1]]
    x_PTVC = pickle.loads(images.read_bytes())["annotations"][0]["keypoint"]  # noqa: S301
    assert np.array_equal(clip.joints_TVCP[:2], x_PTVC.transpose(1, 2, 3, 0)[:2].astype(np.float32))


def test_of_many_bodies_in_an_image_the_first_two_are_kept(images: Path) -> None:
    def crowd(annotations: list[dict]) -> None:
        for key in ("keypoint", "keypoint_score"):
            annotations[2][key] = np.concatenate([annotations[2][key]] * 4)

    clips = rewritten(images, crowd)
    assert [clip.joints_TVCP.shape[3] for clip in clips if isinstance(clip, Clip)] == [2, 2, 2, 2]


def test_confidences_may_be_absent(images: Path) -> None:
    clips = rewritten(images, lambda annotations: [one.pop("keypoint_score") for one in annotations])
    assert [np.isfinite(clip.joints_TVCP).all() for clip in clips if isinstance(clip, Clip)] == [True] * 4


@pytest.mark.parametrize(
    ("score", "what"),
    [
        (np.ones((2, 5, 18)), r"keypoint_score of shape \(2, 5, 18\), expected floats \(2, 5, 17\)"),
        (np.ones((2, 5, 17), int), r"keypoint_score of shape \(2, 5, 17\), expected floats"),
        ("high", r"keypoint_score of shape \(\), expected floats"),
    ],
)
def test_confidences_of_another_shape_are_named(images: Path, score: object, what: str) -> None:
    line = rewritten(images, lambda annotations: annotations[0].update(keypoint_score=score))[0]
    assert isinstance(line, str)
    assert re.search(rf"{NAMES[0]}: {what}", line)


def test_a_clip_in_3_d_among_those_in_2_d_is_named(images: Path, tmp_path: Path) -> None:
    rewritten(images, lambda annotations: annotations[1].update(keypoint=np.ones((1, 1, 17, 3))))
    (line,) = ingest("pyskl", images, tmp_path / "a.arrow").left_out
    assert line.endswith("joints of shape (1, 17, 3, 2), expected (frames, 17, 2, 2)")


def test_a_layout_of_other_coordinates_does_not_fit(images: Path, source: Path) -> None:
    for path, name in ((images, "mediapipe-33"), (source, "coco-17")):
        with pytest.raises(DataError, match="say which with --layout"):
            open_pyskl(path, ReadOptions(layout=LAYOUTS[name]))
