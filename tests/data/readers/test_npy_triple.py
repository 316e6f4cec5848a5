"""The authors' arrays: cut to their frames, merged by name, normalised no further; and each way they can be wrong."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.normalizations.two_stream_agcn import align_first_frame
from cmd_tune.data.readers.npy_triple import open_npy
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError

NAMES = ["S001C001P001R001A001", "S001C002P002R001A002", "S002C003P003R002A001", "S002C001P004R001A003"]


@pytest.fixture
def source(write_source) -> Path:
    return write_source("npy")[0]


def read(source: Path, options: ReadOptions = ReadOptions()):  # noqa: B008
    opened = open_npy(source, options)
    return [clip for batch in opened.batches for clip in opened.read(batch)]


def test_a_clip_of_two_protocols_is_there_once(source: Path) -> None:
    clips = read(source)
    assert [clip.name for clip in clips] == NAMES
    assert [(clip.label, clip.subject, clip.camera, clip.setup) for clip in clips] == [
        (0, 1, 1, 1),
        (1, 2, 2, 1),
        (0, 3, 3, 2),
        (2, 4, 1, 2),
    ]
    assert [clip.parts for clip in clips] == [
        {"xsub": 1, "xview": 2},
        {"xsub": 1, "xview": 1},
        {"xsub": 2, "xview": 1},
        {"xsub": 2, "xview": 1},
    ]


def test_the_arrays_own_coordinates_cut_to_their_frames(source: Path, tmp_path: Path) -> None:
    store = ingest("npy", source, tmp_path / "a.arrow").store
    assert (store.dataset, store.normalization, store.format) == ("ntu-60", "2s-agcn", "npy")
    assert store.length_N.tolist() == [5, 1, 8, 4]
    train = np.load(source / "xsub" / "train_data_joint.npy")
    assert np.array_equal(store.rows_FX[:5].view(5, 25, 3, 2), train[0, :, :5].transpose(1, 2, 0, 3))


def test_the_golden_normalised_clips_give_the_store_that_their_texts_give(golden: Path, tmp_path: Path) -> None:
    """The authors' normalised 300 frames of the six reference files, as the triple; beside our reading of the texts."""
    with np.load(golden / "ntu_reference.npz") as file:
        names = sorted({key.split("/")[0] for key in file.files})
        x = np.stack([file[f"{name}/normalised_300"] for name in names])
        frames = [file[f"{name}/joints"].shape[1] for name in names]
    folder = tmp_path / "xsub"
    folder.mkdir()
    for half, rows in (("train", [0, 1, 2, 3]), ("val", [4, 5])):
        np.save(folder / f"{half}_position.npy", x[rows])
        np.save(folder / f"{half}_num_frame.npy", np.array(frames)[rows])
        labels = [int(names[row][-3:]) - 1 for row in rows]
        (folder / f"{half}_label.pkl").write_bytes(pickle.dumps(([f"{names[row]}.skeleton" for row in rows], labels)))
    ours = ingest("ntu-120", golden / "ntu_skeleton", tmp_path / "texts.arrow").store
    theirs = ingest("npy", folder, tmp_path / "arrays.arrow").store
    assert theirs.dataset == "ntu-120"
    assert theirs.names == ours.names
    assert {key: part_N.tolist() for key, part_N in theirs.part_N.items()} == {"xsub": [1, 1, 1, 1, 2, 2]}
    for key in ("label", "subject", "camera", "setup"):
        assert getattr(theirs, f"{key}_N").tolist() == getattr(ours, f"{key}_N").tolist()
    for n, (ours_at, theirs_at, length) in enumerate(zip(ours.start_N, theirs.start_N, ours.length_N, strict=True)):
        x_TX, y_TX = ours.rows_FX[ours_at : ours_at + length], theirs.rows_FX[theirs_at : theirs_at + length]
        np.testing.assert_allclose(x_TX, y_TX, rtol=1e-4, atol=2e-6, err_msg=ours.names[n])


def test_without_frame_counts_all_frames_are_kept(source: Path) -> None:
    for path in source.rglob("*_num_frame.npy"):
        path.unlink()
    assert {len(clip.joints_TVCP) for clip in read(source)} == {12}


def test_one_folder_with_both_halves(source: Path) -> None:
    assert [clip.parts for clip in read(source / "xview")] == 3 * [{"xview": 1}] + [{"xview": 2}]
    (source / "xview").rename(source / "mine")
    assert [clip.parts for clip in read(source / "mine")] == 3 * [{"given": 1}] + [{"given": 2}]


def test_excluded_names_are_passed_over(source: Path) -> None:
    opened = open_npy(source, ReadOptions(frozenset(NAMES[1:3])))
    assert opened.units == 2
    assert [clip.name for clip in read(source, ReadOptions(frozenset(NAMES[1:3])))] == [NAMES[0], NAMES[3]]


def change_labels(path: Path, names: list, labels: list) -> None:
    path.write_bytes(pickle.dumps((names, labels)))


def test_clips_that_cannot_be_used_are_named(source: Path, tmp_path: Path) -> None:
    """Another label in the other folder; a name twice; no frames; NaN; none of its joints."""
    change_labels(source / "xview" / "val_label.pkl", [NAMES[0]], [5])
    change_labels(source / "xsub" / "val_label.pkl", [NAMES[2], NAMES[2]], [0, 0])
    np.save(source / "xview" / "train_num_frame.npy", [5, 8, 0])
    done = ingest("npy", source, tmp_path / "a.arrow")
    assert done.store.names == [NAMES[1], NAMES[2]]
    lines = done.left_out
    assert len(lines) == 3
    assert lines[0].endswith(f"{NAMES[0]}: label 5, but 0 in another folder")
    assert lines[1].endswith(f"{NAMES[2]}: another clip has the same name")
    assert lines[2].endswith(f"{NAMES[3]}: no frames")
    data = np.load(source / "xsub" / "train_data_joint.npy")
    data[0, 0, 2, 3, 1], data[1] = np.nan, 0
    np.save(source / "xsub" / "train_data_joint.npy", data)
    lines = ingest("npy", source / "xsub", tmp_path / "b.arrow").left_out
    assert f"{NAMES[0]}: coordinates that are not finite" in lines[0]
    assert f"{NAMES[1]}: no body in any of its 1 frames" in lines[1]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("train_data_joint.npy", b"", "not a whole array"),
        ("train_data_joint.npy", np.ones((2, 3, 12, 25), np.float32), r"shape \(2, 3, 12, 25\)"),
        ("train_data_joint.npy", np.ones((2, 3, 12, 25, 2), int), "int64 of shape"),
        ("train_data_joint.npy", np.array([{"a": 1}]), "not a whole array"),
        ("train_data_joint.npy", np.ones((2, 3, 12, 20, 2), np.float32), "arrays of frames of .*20, 2.* and .*25, 2"),
        ("train_label.pkl", pickle.dumps(([NAMES[0]], [0])), "1 clips, but train_data_joint.npy has 2"),
        ("train_label.pkl", pickle.dumps((NAMES[:2], [0])), "2 names, but 1 labels"),
        ("train_label.pkl", pickle.dumps({"a": 1}), "expected a pair of names and labels"),
        ("train_label.pkl", pickle.dumps((NAMES[:2], ["x", "y"])), "expected a pair of names and labels"),
        ("train_label.pkl", None, "No such file"),
        ("train_num_frame.npy", np.array([1]), "1 clips, but train_data_joint.npy has 2"),
        ("train_num_frame.npy", np.array(["a", "b"]), "expected one number of frames a clip"),
    ],
)
def test_a_bad_file_is_named(source: Path, name: str, content: object, what: str) -> None:
    path = source / "xsub" / name
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=what) as caught:
        open_npy(source, ReadOptions())
    assert str(caught.value).startswith(str(source))
    assert "\n" not in str(caught.value)


def test_joints_of_no_sensor_need_a_layout(source: Path) -> None:
    for path in source.rglob("*_data_joint.npy"):
        np.save(path, np.load(path)[:, :, :, :17])
    with pytest.raises(DataError, match="17 joints; say which with --layout"):
        open_npy(source, ReadOptions())


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"no folder with train_data_joint\.npy"):
            open_npy(path, ReadOptions())


def test_normalised_arrays_stay_as_they_are_where_ours_would_turn_them(source: Path) -> None:
    x_TVCP = read(source)[2].joints_TVCP
    assert not np.allclose(align_first_frame(x_TVCP, LAYOUTS["ntu-25"]), x_TVCP)
