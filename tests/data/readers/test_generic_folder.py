"""A file per clip: the same clips as in one file, what an index says of them, what is wrong in one of them."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.layouts import LAYOUTS
from cmd_tune.data.readers.generic import open_generic
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
        "two.mat: expected a file that ends with ",
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


def clips_of(folder: Path, options: ReadOptions, files: dict[str, str | np.ndarray]) -> tuple[int, list[Clip | str]]:
    """The number of bodies of a source with these files, a clip each, and its clips."""
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
        else:
            np.save(folder / name, content)
    (folder / "index.csv").write_text("\n".join(["file,label", *(f"{name},0" for name in files)]))
    opened = open_generic(folder, options)
    return opened.bodies, [clip for batch in opened.batches for clip in opened.read(batch)]


@pytest.fixture
def rig(source: Source) -> ReadOptions:
    return source[1]


@pytest.mark.parametrize(
    "heading",
    [
        "",
        ",".join(map(str, range(15))),
        ",".join(f'"x {n}"' for n in range(15)),
        "# exported",
        "\ufeff" + "a," * 14 + "b",
    ],
    ids=["none", "numbers of columns", "words", "a remark", "a mark of UTF-8"],
)
@pytest.mark.parametrize("first", ["0.5", "", " ", "nan", "1e-3"])
def test_a_heading_is_told_from_a_first_frame(tmp_path: Path, rig: ReadOptions, heading: str, first: str) -> None:
    """pandas heads an array's columns with their numbers; a first frame may begin with a missing joint."""
    rows = [[first, *map(str, range(1, 15))], [str(n / 2) for n in range(15)]]
    text = "\r\n".join([*([heading] if heading else []), *map(",".join, rows)])
    _, (clip,) = clips_of(tmp_path / "mine", rig, {"a.csv": text})
    assert isinstance(clip, Clip)
    assert clip.joints_TVCP.shape == (2, 5, 3, 1)
    first_frame = [float(first) if first.strip() else np.nan, *range(1, 15)]
    np.testing.assert_array_equal(clip.joints_TVCP[0].ravel(), np.float32(first_frame))
    assert clip.joints_TVCP[1].ravel().tolist() == [n / 2 for n in range(15)]


def test_clips_may_differ_in_their_number_of_bodies(tmp_path: Path, rig: ReadOptions) -> None:
    """In a CSV the body is the last dimension, too."""
    one, two = np.random.default_rng(0).normal(size=(2, 4, 5, 3, 2)).astype(np.float32)
    table = "\n".join(",".join(map(str, row)) for row in two.reshape(4, -1))
    files = {"a.npy": one[..., 0], "b.npy": two, "c.csv": table, "d.npy": two[..., 1:]}
    bodies, (a, b, c, d) = clips_of(tmp_path / "mine", rig, files)
    assert bodies == 2
    np.testing.assert_array_equal(a.joints_TVCP, np.stack([one[..., 0], np.zeros((4, 5, 3))], axis=-1))
    np.testing.assert_array_equal(b.joints_TVCP, two)
    np.testing.assert_array_equal(c.joints_TVCP, two)
    np.testing.assert_array_equal(d.joints_TVCP, np.stack([two[..., 1], np.zeros((4, 5, 3))], axis=-1))


def test_an_array_of_another_kind_does_not_widen_the_others(tmp_path: Path, rig: ReadOptions) -> None:
    files = {"a.npy": np.ones((4, 5, 3)), "b.npy": np.ones((1, 5, 3, 5000)), "c.npy": np.ones((4, 5, 3), complex)}
    bodies, (_, crowd, other) = clips_of(tmp_path / "mine", rig, files)
    assert bodies == 1
    assert crowd == f"{tmp_path}/mine: b.npy: 5000 bodies, at most 100 can be read"
    assert other == f"{tmp_path}/mine: c.npy: of type complex128, expected numbers"


@pytest.mark.parametrize("shape", ["(9000000000000, 5, 3)", "(-1, 5, 3)", "(4, 5, 3, 0)", "(2, 5)", "()"])
def test_a_header_that_lies_is_named(tmp_path: Path, rig: ReadOptions, shape: str) -> None:
    folder = tmp_path / "mine"
    clips_of(folder, rig, {"a.npy": np.ones((4, 5, 3)), "b.npy": np.ones((4, 5, 3))})
    whole = (folder / "b.npy").read_bytes()
    (folder / "b.npy").write_bytes(whole.replace(b"(4, 5, 3), }" + b" " * 20, f"{shape}, }}".ljust(32).encode()))
    opened = open_generic(folder, rig)
    (clip, line) = (clip for batch in opened.batches for clip in opened.read(batch))
    assert isinstance(clip, Clip)
    assert line.startswith(f"{folder}: b.npy: ")
    assert "\n" not in line


def test_an_npz_of_several_arrays_needs_one_called_joints(source: Source) -> None:
    path, options = source
    np.savez(path / "two.npz", x=np.ones((4, 5, 3)), y=np.ones((4, 5, 3)))
    with zipfile.ZipFile(path / "four.npz", "w") as archive:
        archive.write(path / "four.npy", "skeleton.npy")
        archive.writestr("__MACOSX/._skeleton.npy", b"\0\5\x16\7")
    index = path / "index.csv"
    index.write_text(index.read_text().replace("four.npy", "four.npz"))
    opened = open_generic(path, options)
    read = [clip for batch in opened.batches for clip in opened.read(batch)]
    assert read[1] == f"{path}: two.npz: not a whole .npz file of numbers (several arrays, and none is called joints)"
    assert isinstance(read[3], Clip)
    np.testing.assert_array_equal(read[3].joints_TVCP, np.load(path / "four.npy"))
