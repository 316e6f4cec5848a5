"""CTR-GCN's .npz: halves, padding, labels; mapped or compressed; and each way it can be wrong."""

from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.readers.ctr_gcn import open_ctr_gcn
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.splits import describe_counts, split_store
from cmd_tune.errors import DataError


@pytest.fixture
def source(write_source) -> Path:
    return write_source("ctr-gcn")[0]


def rewrite(path: Path, save=np.savez, **changes: object) -> Path:
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files} | changes
    save(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_clips_are_body_joint_coordinate_without_their_padding(source: Path, tmp_path: Path, save) -> None:
    rewrite(source, save)
    store = ingest("ctr-gcn", source, tmp_path / "a.arrow").store
    assert (store.dataset, store.normalization, store.bodies) == ("ntu-60", "ctr-gcn", 2)
    assert store.names == ["train-000000", "train-000001", "train-000002", "test-000000"]
    assert store.label_N.tolist() == [0, 1, 0, 59]
    assert store.length_N.tolist() == [5, 1, 8, 4]
    assert {key: part_N.tolist() for key, part_N in store.part_N.items()} == {"xsub": [1, 1, 1, 2]}
    with np.load(source) as file:
        frame = file["x_test"][0, 3].reshape(2, 25, 3)
    assert np.array_equal(store.rows_FX[-1].view(25, 3, 2).permute(2, 0, 1), frame)


def test_subjects_are_unknown_and_the_counts_say_so(source: Path, tmp_path: Path) -> None:
    store = ingest("ctr-gcn", source.rename(tmp_path / "NTU60_CV.npz"), tmp_path / "a.arrow").store
    assert split_store(store)[0] == "xview"
    line = "xview: 3 training clips, 1 test clips (published: 37646 and 18932); subjects unknown"
    assert describe_counts(store, "xview").startswith(line)


@pytest.mark.parametrize(
    ("name", "classes", "dataset", "protocol"),
    [
        ("NTU120_CSet.npz", 120, "ntu-120", "xsetup"),
        ("NTU120_CSub.npz", 120, "ntu-120", "xsub"),
        ("PKUv2_XView.npz", 51, "pku-mmd-2", "xview"),
        ("mine.npz", 7, "mine", "given"),
    ],
)
def test_classes_and_names_tell_data_set_and_protocol(
    source: Path, tmp_path: Path, name: str, classes: int, dataset: str, protocol: str
) -> None:
    one_hot = np.eye(classes)[[0, 1, 0, 6]]
    rewrite(source, y_train=one_hot[:3], y_test=one_hot[3:])
    opened = open_ctr_gcn(source.rename(tmp_path / name), ReadOptions())
    clips = [clip for batch in opened.batches for clip in opened.read(batch)]
    assert (opened.dataset, [clip.parts for clip in clips]) == (dataset, 3 * [{protocol: 1}] + [{protocol: 2}])


def test_rows_that_are_not_one_hot_or_hold_nobody_are_named(source: Path, tmp_path: Path) -> None:
    with np.load(source) as file:
        x, y = file["x_train"], file["y_train"]
    y[0, 5], x[1], x[2, 0, 7] = 1, 0, np.inf
    done = ingest("ctr-gcn", rewrite(source, x_train=x, y_train=y), tmp_path / "a.arrow")
    assert done.store.names == ["test-000000"]
    assert [line.removeprefix(f"{source}: ") for line in done.left_out] == [
        "x_train, clip 0: its row of y_train is not one-hot",
        "x_train, clip 1: no frames",
        "x_train, clip 2: coordinates that are not finite, or beyond 10000 metres",
    ]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"x_test": None}, "has no x_test"),
        ({"x_test": np.ones((1, 12, 75))}, r"x_test of shape \(1, 12, 75\), expected \(clips, frames, 150 or 75\)"),
        ({"x_train": np.ones((3, 12, 60))}, r"x_train of shape \(3, 12, 60\)"),
        ({"x_train": np.ones((2, 12, 150))}, "2 clips in x_train, but 3 in y_train"),
        ({"y_train": np.ones(3)}, r"y_train of shape \(3,\)"),
        ({"y_train": np.array([["a"]] * 3)}, "y_train of shape"),
        ({"x_train": np.array([None] * 3)}, "x_train: not a whole array"),
        ({"y_train": np.array([None] * 3)}, "y_train: not a whole array"),
        ({"x_train": np.asfortranarray(np.ones((3, 12, 150)))}, "Fortran"),
    ],
)
def test_bad_arrays_are_named(source: Path, changes: dict[str, object], what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        open_ctr_gcn(rewrite(source, **changes), ReadOptions())
    assert str(caught.value).startswith(f"{source}: ")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(source: Path, save, share: float) -> None:
    content = rewrite(source, save).read_bytes()
    source.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"NTU60_CS\.npz: not a whole"):
        open_ctr_gcn(source, ReadOptions())


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        open_ctr_gcn(tmp_path / "none.npz", ReadOptions())
