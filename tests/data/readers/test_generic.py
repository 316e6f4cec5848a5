"""People's own recordings: any joints, any number of bodies, .npz or Parquet; and each way they can be wrong."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS, read_layout
from cmd_tune.data.normalizations.upright import stand_upright
from cmd_tune.data.readers.generic import open_generic
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.data.splits import protocols
from cmd_tune.errors import DataError, UsageError


@pytest.fixture(params=["generic", "generic parquet"])
def written(request, write_source) -> tuple[Path, ReadOptions]:
    return write_source(request.param)


@pytest.fixture
def npz(write_source) -> tuple[Path, ReadOptions]:
    return write_source("generic")


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def test_clips_of_any_joints(written, npz, tmp_path: Path) -> None:
    path, options = written
    store = ingest("generic", path, tmp_path / "a.arrow", options=options).store
    assert (store.dataset, store.layout, store.bodies) == ("mine", options.layout, 2)
    assert store.frame_shape() == (5, 3, 2)
    assert store.names == ["one", "two", "three", "four"]
    assert (store.label_N.tolist(), store.subject_N.tolist()) == ([0, 1, 0, 2], [1, 2, 3, 3])
    assert (store.camera_N.tolist(), store.setup_N.tolist()) == ([0] * 4, [0] * 4)
    parts = {key: part_N.tolist() for key, part_N in store.part_N.items()}
    assert parts == {"given": [1, 1, 2, 0], "other": [2, 1, 1, 2]}
    assert list(protocols(store)) == ["given", "other"]
    joints = arrays_of(npz[0])["joints"]
    assert np.array_equal(store.rows_FX[6:14].view(8, 5, 3, 2), stand_upright(joints[6:14], options.layout))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_body_and_the_least_that_is_needed(npz, tmp_path: Path, save) -> None:
    path, options = npz
    arrays = arrays_of(path)
    save(path, **{"joints": arrays["joints"][..., 0], "lengths": arrays["lengths"], "label": arrays["label"]})
    store = ingest("generic", path, tmp_path / "a.arrow", options=options).store
    assert store.names == [f"clip-{n:06}" for n in range(4)]
    assert store.frame_shape() == (5, 3, 1)
    assert not store.part_N


def test_a_sensors_layout_by_its_name_and_processes(npz, tmp_path: Path) -> None:
    assert read_layout(Path("kinect-20")) is LAYOUTS["kinect-20"]
    path, options = npz
    for processes in (1, 2):
        ingest("generic", path, tmp_path / f"{processes}.arrow", options=options, processes=processes)
    assert (tmp_path / "1.arrow").read_bytes() == (tmp_path / "2.arrow").read_bytes()


def test_a_layout_is_needed(npz) -> None:
    with pytest.raises(UsageError, match="--layout"):
        open_generic(npz[0], ReadOptions())


def test_clips_that_cannot_be_used_are_named(npz, tmp_path: Path) -> None:
    path, options = npz
    arrays = arrays_of(path)
    arrays["joints"][0, 0, 0, 0] = np.inf
    arrays["joints"][5] = 0
    arrays["label"][2] = 10_000
    np.savez(path, **arrays)
    done = ingest("generic", path, tmp_path / "a.arrow", options=options)
    assert done.store.names == ["four"]
    assert [line.removeprefix(f"{path}: ") for line in done.left_out] == [
        "one: coordinates that are not finite, or beyond 10000 metres",
        "two: no body in any of its 1 frames",
        "three: label 10000 is not in 0–9999",
    ]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"joint": np.ones(3)}, "unknown key 'joint', did you mean 'joints'?"),
        ({"label": None}, "has no label"),
        ({"joints": np.ones((18, 4, 3, 2))}, r"joints of shape \(18, 4, 3, 2\), expected \(frames, 5, 3, bodies\)"),
        ({"joints": np.ones((17, 5, 3, 2))}, "17 frames of joints, but lengths sum to 18"),
        ({"lengths": np.array([5, 0, 9, 4])}, "lengths of clip 1 is 0"),
        ({"lengths": np.array([5.0, 1, 8, 4])}, "lengths of type float64, expected whole numbers"),
        ({"label": np.array([0, 1, -1, 2])}, "label of clip 2 is -1"),
        ({"label": np.array([0, 1])}, r"label of shape \(2,\), expected one number or text a clip"),
        ({"subject": np.array([1, 2, 2**40, 4])}, "subject of clip 2 is 1099511627776"),
        ({"split": np.array(["train", "test", "trian", ""])}, "split: 'trian' is not 'train', 'test' or ''"),
        ({"name": np.array([b"\xff"] * 4)}, "name: expected texts"),
        ({"lengths": np.array(5)}, r"lengths of shape \(\)"),
    ],
)
def test_bad_arrays_are_named(npz, changes: dict[str, np.ndarray | None], what: str) -> None:
    path, options = npz
    arrays = {**arrays_of(path), **changes}
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=what) as caught:
        open_generic(path, options)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.fixture
def table(write_source) -> tuple[Path, ReadOptions]:
    return write_source("generic parquet")


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ({"joints": [[0.0] * 7] * 4}, "joints of the first clip are not 75 numbers"),
        ({"joints": ["a", "b", "c", "d"]}, "joints: expected a list of numbers a clip"),
        ({"joints": [None, [1.0], [1.0], [1.0]]}, "joints: expected a list of numbers a clip"),
        ({"label": [0, 1, None, 2]}, "label of type float64"),
        ({"lengths": [0, 1, 8, 4]}, "lengths of clip 0 is 0"),
        ({"place": [0, 1, 8, 4]}, "unknown key 'place'"),
    ],
)
def test_bad_columns_are_named(table, column: dict[str, list], what: str) -> None:
    path, options = table
    columns = {**parquet.read_table(path).to_pydict(), **column}
    parquet.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=what):
        open_generic(path, options)


def test_a_parquet_clip_of_another_size_is_left_out(table, tmp_path: Path) -> None:
    path, options = table
    columns = parquet.read_table(path).to_pydict()
    columns["joints"][2].pop()
    parquet.write_table(pa.table(columns), path)
    done = ingest("generic", path, tmp_path / "a.arrow", options=options)
    assert done.store.names == ["one", "two", "four"]
    assert done.left_out == (f"{path}: three: 239 numbers, expected 8 frames of 5 joints and 2 bodies",)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(written, share: float) -> None:
    path, options = written
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"mine\.\w+: not a whole"):
        open_generic(path, options)
