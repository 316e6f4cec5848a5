"""A file per clip: the same clips as in one file, what an index says of them, what is wrong in one of them."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError

Source = tuple[Path, ReadOptions]


@pytest.fixture
def source(write_source: Callable[..., Source]) -> Source:
    return write_source("generic folder")


def test_it_is_read_as_arrays_in_one_file_are(
    source: Source, write_source: Callable[..., Source], tmp_path: Path
) -> None:
    """To the last digit but of the CSV, whose nine digits are float32's."""
    path, options = source
    ours = ingest("generic", path, tmp_path / "a.arrow", options=options).store
    one, options = write_source("generic", tmp_path / "one")
    theirs = ingest("generic", one, tmp_path / "b.arrow", options=options).store
    assert (ours.names, theirs.names) == (["one", "two", "three", "four"], ["one", "two", "three", "four"])
    np.testing.assert_allclose(ours.rows_FX, theirs.rows_FX, rtol=1e-5, atol=1e-6)
    for key in ("label_N", "subject_N", "length_N"):
        assert np.array_equal(getattr(ours, key), getattr(theirs, key))
    assert {name: part_N.tolist() for name, part_N in ours.part_N.items()} == {
        name: part_N.tolist() for name, part_N in theirs.part_N.items()
    }


def test_a_zip_file_is_read_as_its_folder(source: Source, tmp_path: Path) -> None:
    path, options = source
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in path.rglob("*"):
            archive.write(file, f"recordings/{file.relative_to(path)}")
    folder = ingest("generic", path, tmp_path / "a.arrow", options=options).store
    packed = ingest("generic", tmp_path / "mine.zip", tmp_path / "b.arrow", options=options).store
    assert (packed.names, packed.rows_FX.tolist()) == (folder.names, folder.rows_FX.tolist())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("one.npy", b"\x93NUMPY", "not a whole .npy file of numbers"),
        ("two.npz", b"PK", "not a whole .npz file of numbers"),
        ("three.csv", b"1,2\n3\n", "not a whole .csv file of numbers (rows of different lengths)"),
        ("three.csv", b"1,2,3\n", "of shape (1, 3), expected (frames, 5, 3) or (frames, 5, 3, bodies)"),
        ("three.csv", b"", "of shape (0,), expected"),
        ("three.csv", b"a,b\nc,d\n", "not a whole .csv file of numbers (could not convert string to float"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_out_by_name(
    source: Source, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path, options = source
    (path / name).write_bytes(content)
    done = ingest("generic", path, tmp_path / "a.arrow", options=options)
    (line,) = done.left_out
    assert line.startswith(f"{path}: {name}: {said}")
    assert len(done.store) == 3


def test_a_file_of_another_kind_and_one_that_is_not_there(source: Source, tmp_path: Path) -> None:
    path, options = source
    index = path / "index.csv"
    index.write_text(index.read_text().replace("two.npz", "two.mat").replace("four.npy", "five.npy"))
    done = ingest("generic", path, tmp_path / "a.arrow", options=options)
    assert [re.sub(r"^.*?: ", "", line, count=1)[:40] for line in done.left_out] == [
        "two.mat: cannot be read ([Errno 2] No su",
        "five.npy: cannot be read ([Errno 2] No s",
    ]


def test_without_an_index_its_form_is_said(source: Source, tmp_path: Path) -> None:
    path, options = source
    (path / "index.csv").unlink()
    with pytest.raises(DataError, match=r"holds no index\.csv; write one with the columns file and label, a line per "):
        ingest("generic", path, tmp_path / "a.arrow", options=options)


def test_an_empty_cell_is_a_missing_joint(tmp_path: Path) -> None:
    """Of 17 joints in 2-D: the nose is lost in the middle of three frames, on its way from 0 to 2."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rest = np.random.default_rng(0).normal(size=32).tolist()
    rows = [",".join(map(str, [*nose, *rest])) for nose in ((1, 1), ("", ""), (3, 3))]
    (folder / "a.csv").write_text("\n".join(rows))
    (folder / "index.csv").write_text("file,label,split\na.csv,0,train\n")
    options = ReadOptions(layout=LAYOUTS["coco-17"])
    store = ingest("generic", folder, tmp_path / "a.arrow", options=options, normalization="none").store
    assert store.rows_FX[:, :2].tolist() == [[1, 1], [2, 2], [3, 3]]
