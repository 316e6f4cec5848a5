"""pyskl's pickle: annotations as clips, its splits as protocols, and each way it can be wrong."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

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


def test_keypoints_of_images_are_refused(source: Path, content: dict) -> None:
    for annotation in content["annotations"]:
        annotation["keypoint"] = annotation["keypoint"][..., :2]
    source.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"ntu60_3danno\.pkl: keypoints in 2-D"):
        open_pyskl(source, ReadOptions())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"split": {"xsub": []}}, "split 'xsub' ends neither in train nor in val or test"),
        ({"split": {"xsub_train": 3}}, "split 'xsub_train': expected a list of names"),
        ({"split": []}, "split: expected lists of names"),
        ({"annotations": []}, "annotations: expected a list of mappings"),
        ({"annotations": [3]}, "annotations: expected a list of mappings"),
        ({"annotations": [{"keypoint": 3}]}, r"keypoint of shape \(\)"),
        ({"annotations": [{"keypoint": np.ones((1, 2, 17, 3))}]}, "17 joints; say which with --layout"),
    ],
)
def test_a_pickle_of_another_form_is_named(source: Path, content: dict, change: dict, what: str) -> None:
    source.write_bytes(pickle.dumps({**content, **change}))
    with pytest.raises(DataError, match=what):
        open_pyskl(source, ReadOptions())


def test_a_list_is_no_pyskl_pickle(source: Path) -> None:
    source.write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="expected a mapping with 'split' and 'annotations'"):
        open_pyskl(source, ReadOptions())
