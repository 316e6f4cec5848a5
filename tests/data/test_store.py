"""The file on disk: what goes in comes out, nothing is copied, and no broken file is taken for a whole one."""

import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import LAYOUTS, Layout
from cmd_tune.data.store import open_store, write_store
from cmd_tune.errors import CmdTuneError, DataError

KINECT = LAYOUTS["kinect-20"]


def clips(lengths=(5, 1, 17, 3), layout=KINECT, bodies=1):
    random = np.random.default_rng(0)
    return [
        Clip(
            name=f"clip é{index} of {length} frames",
            joints_TVCP=random.normal(size=(length, len(layout.joints), 3, bodies)).astype(np.float32),
            label=index % 3,
            subject=40 + index,
            camera=index + 1,
            setup=17 - index,
        )
        for index, length in enumerate(lengths)
    ]


def write(path, clips, layout=KINECT):
    write_store(path, clips, dataset="synthetic", layout=layout, normalization="2s-agcn")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny.arrow"
    write(path, clips())
    return path


@pytest.mark.parametrize(("layout", "bodies"), [("kinect-20", 1), ("ntu-25", 2)])
def test_round_trip(tmp_path, layout, bodies):
    written = clips(layout=LAYOUTS[layout], bodies=bodies)
    write(tmp_path / "a.arrow", iter(written), LAYOUTS[layout])
    store = open_store(tmp_path / "a.arrow")
    assert len(store) == len(written)
    assert (store.dataset, store.normalization, store.bodies) == ("synthetic", "2s-agcn", bodies)
    assert store.layout == LAYOUTS[layout]
    assert (store.format, dict(store.part_N)) == ("clips", {})
    assert store.frame_shape() == (len(LAYOUTS[layout].joints), 3, bodies)
    assert store.width == len(LAYOUTS[layout].joints) * 3 * bodies
    assert store.classes == 3
    assert store.names == [clip.name for clip in written]
    for key in ("label", "subject", "camera", "setup"):
        assert getattr(store, f"{key}_N").tolist() == [getattr(clip, key) for clip in written], key
    for clip, start, length in zip(written, store.start_N.tolist(), store.length_N.tolist(), strict=True):
        rows_TX = store.rows_FX[start : start + length]
        assert np.array_equal(rows_TX.reshape(length, *store.frame_shape()).numpy(), clip.joints_TVCP)


def test_nothing_is_padded(path):
    store = open_store(path)
    assert store.length_N.tolist() == [5, 1, 17, 3]
    assert store.start_N.tolist() == [0, 5, 6, 23]
    assert store.rows_FX.shape == (26, 60)
    assert store.rows_FX.is_contiguous()


def mapped_file(address: int) -> str | None:
    """The file whose read-only mapping holds an address of this process: one copy for all, the page cache's."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *name = line.split(maxsplit=5)
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= address < last:
            return name[0] if name and "w" not in rights else None
    return None


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc/self/maps here")
def test_rows_are_the_file_itself(path):
    """Not a copy: both ends of the tensor lie in a mapping of the file, each time it is opened."""
    for store in (open_store(path), open_store(path)):
        last = store.rows_FX.data_ptr() + 4 * store.rows_FX.numel() - 1
        assert mapped_file(store.rows_FX.data_ptr()) == str(path)
        assert mapped_file(last) == str(path)


def test_rows_outlive_what_opened_them(path):
    rows_FX = open_store(path).rows_FX
    expected = np.concatenate([clip.joints_TVCP.reshape(-1, 60) for clip in clips()])
    assert np.array_equal(rows_FX.numpy(), expected)


def test_two_opens_see_one_file(path):
    """A byte changed on disk is seen through both: there is one copy of the data, the page cache's."""
    first, second = open_store(path), open_store(path)
    content = path.read_bytes()
    marker = clips()[2].joints_TVCP[0, 0, 0].tobytes()
    assert content.count(marker) == 1
    with path.open("r+b") as file:
        file.seek(content.index(marker))
        file.write(np.float32(123).tobytes())
    assert first.rows_FX[6, 0] == second.rows_FX[6, 0] == 123


def test_a_path_stays_valid_in_another_folder(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert open_store(Path(path.name)).path == path


def refused(path: Path) -> str:
    """The one line that opening a file ends with; it names the file."""
    with pytest.raises(DataError) as caught:
        open_store(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_missing(tmp_path):
    assert "no such file" in refused(tmp_path / "none.arrow")


def test_a_folder(tmp_path):
    refused(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a whole Arrow file" in refused(path)


def test_text(tmp_path):
    path = tmp_path / "notes.arrow"
    path.write_text("label,subject\n1,2\n" * 50)
    assert "not a whole Arrow file" in refused(path)


def write_table(path, columns, metadata=None):
    table = pa.table(columns).replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def test_another_programs_arrow_file(tmp_path):
    write_table(tmp_path / "foreign.arrow", {"x": [1, 2, 3]})
    assert "not one that 'cmd_tune ingest' wrote" in refused(tmp_path / "foreign.arrow")


def test_another_programs_arrow_file_without_rows(tmp_path):
    write_table(tmp_path / "foreign.arrow", {"x": pa.array([], pa.int32())})
    assert "not one that 'cmd_tune ingest' wrote" in refused(tmp_path / "foreign.arrow")


def rewrite(path, **changes):
    """The same file with other metadata."""
    with pa.ipc.open_file(str(path)) as reader:
        table = reader.read_all()
    metadata = {**table.schema.metadata, **{f"cmd_tune.{key}".encode(): value for key, value in changes.items()}}
    write_table(path, {name: table[name] for name in table.column_names}, metadata)


def test_another_schema_version(path):
    rewrite(path, schema=b"999")
    assert "schema version 999" in refused(path)


def test_a_layout_that_the_code_does_not_know(tmp_path):
    """The file carries the whole skeleton."""
    layout = Layout(
        "dog", ("withers", "croup", "tail"), (0, 0, 1), (1,), (0, 1), left_shoulder=(2,), right_shoulder=(1,)
    )
    write(tmp_path / "dogs.arrow", clips(layout=layout, bodies=3), layout)
    store = open_store(tmp_path / "dogs.arrow")
    assert store.layout == layout
    assert store.frame_shape() == (3, 3, 3)


def test_joints_in_2_d(tmp_path):
    """The layout says so; the rest of the file is as of joints in 3-D, and the schema's version the same."""
    layout = LAYOUTS["coco-17"]
    written = [replace(clip, joints_TVCP=clip.joints_TVCP[:, :, :2]) for clip in clips(layout=layout, bodies=2)]
    write(tmp_path / "a.arrow", written, layout)
    store = open_store(tmp_path / "a.arrow")
    assert store.layout == layout
    assert store.frame_shape() == (17, 2, 2)
    assert store.width == 68
    rows = np.concatenate([clip.joints_TVCP.reshape(-1, 68) for clip in written])
    assert np.array_equal(store.rows_FX.numpy(), rows)


def test_frames_of_other_coordinates_than_the_layouts_are_refused(tmp_path):
    write(tmp_path / "a.arrow", clips(layout=LAYOUTS["coco-17"]), LAYOUTS["coco-17"])
    assert "damaged (frames of type" in refused(tmp_path / "a.arrow")


def test_protocols_of_the_source(tmp_path):
    parts = ({"xsub": 1, "own": 2}, {"xsub": 2}, {}, {"own": 1})
    write(tmp_path / "a.arrow", [replace(clip, parts=part) for clip, part in zip(clips(), parts, strict=True)])
    store = open_store(tmp_path / "a.arrow")
    assert {name: part_N.tolist() for name, part_N in store.part_N.items()} == {
        "xsub": [1, 2, 0, 0],
        "own": [2, 0, 0, 1],
    }


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"layout": b"{}"}, "the key 'name' is missing"),
        ({"layout": b"kinect-20"}, "damaged"),
        ({"bodies": b"2"}, "not of 120 coordinates"),
        ({"bodies": b"one"}, "'one'"),
        ({"missing": b"5"}, "counts of missing joints that are none"),
        ({"missing": b"[1, 2]"}, "counts of missing joints that are none"),
        ({"missing": b"[" + b"1.5, " * 19 + b"1]"}, "counts of missing joints that are none"),
        ({"missing": b"[1"}, "damaged"),
    ],
)
def test_metadata_that_no_store_has(path, changes, what):
    rewrite(path, **changes)
    assert what in refused(path)


def test_counts_of_missing_joints_are_kept_and_older_stores_have_none(path):
    assert open_store(path).missing_V is None
    rewrite(path, missing=b"[" + b"3, " * 19 + b"0]")
    assert open_store(path).missing_V == (3,) * 19 + (0,)


JOINTS = [[[float(x)] * 60] * frames for x, frames in enumerate((2, 1))]
FRAMES = pa.list_(pa.float32(), 60)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ({"label": None}, "no whole column label"),
        ({"label": pa.array([0, None], pa.int32())}, "no whole column label"),
        ({"label": pa.array([0, 1], pa.int64())}, "column label of type int64"),
        ({"label": pa.array([0, -1], pa.int32())}, "a label outside 0–9999"),
        ({"label": pa.array([0, 10_000], pa.int32())}, "a label outside 0–9999"),
        ({"name": pa.array([0, 1], pa.int32())}, "names that are not text"),
        ({"part:xsub": pa.array([0, 3], pa.int8())}, "neither training nor test"),
        ({"part:xsub": pa.array([0, 1], pa.int32())}, "column part:xsub of type int32"),
        ({"joints": pa.array([JOINTS[0], []], pa.large_list(FRAMES))}, "a clip without frames"),
        ({"joints": pa.array([JOINTS[0], None], pa.large_list(FRAMES))}, "no whole column joints"),
        ({"joints": pa.array([JOINTS[0], [None]], pa.large_list(FRAMES))}, "frames that belong to no clip"),
        ({"joints": pa.array(JOINTS, pa.list_(FRAMES))}, "frames of type list"),
        ({"joints": pa.array([[[1.0] * 30]] * 2, pa.large_list(pa.list_(pa.float32(), 30)))}, "not of 60 coordinates"),
        ({"joints": pa.array(JOINTS, pa.large_list(pa.list_(pa.float64(), 60)))}, "not of 60 coordinates"),
    ],
)
def test_columns_that_no_store_has(path, column, what):
    with pa.ipc.open_file(str(path)) as reader:
        metadata = reader.schema.metadata
    columns = {
        "name": pa.array(["a", "b"]),
        **{key: pa.array([0, 1], pa.int32()) for key in ("label", "subject", "camera", "setup")},
        "joints": pa.array(JOINTS, pa.large_list(FRAMES)),
    }
    write_table(path, columns, metadata)
    assert len(open_store(path)) == 2
    columns |= column
    write_table(path, {key: values for key, values in columns.items() if values is not None}, metadata)
    assert what in refused(path)


def test_a_store_without_clips(path):
    with pa.ipc.open_file(str(path)) as reader:
        table = reader.read_all()
    write_table(
        path, {key: table[key].slice(0, 0).combine_chunks() for key in table.column_names}, table.schema.metadata
    )
    refused(path)


def folder_of(path):
    return {trial.name: trial.read_bytes() for trial in path.parent.iterdir()}


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    """Clips that fail half-way: the folder stays empty."""

    def failing():
        yield from clips()
        raise DataError("a10_s01_e01_v01.json: broken")

    with pytest.raises(DataError, match="broken"):
        write(tmp_path / "a.arrow", failing())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_and_leaves_what_was_there(path):
    """The limit on file size stands in for the disk's: the system refuses to write on."""
    before = folder_of(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(CmdTuneError, match=re.escape(f"{path}: cannot be written")) as caught:
            write(path, clips(lengths=(200, 300)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert folder_of(path) == before


def test_a_folder_that_cannot_be_made_is_named(path):
    inside = path / "deeper" / "b.arrow"
    with pytest.raises(CmdTuneError, match=re.escape(f"{inside}: cannot be written")):
        write(inside, clips())


def test_writing_again_replaces_the_file_and_not_what_is_open(path):
    """A store that is open stays what it was: the new file has another inode."""
    before, inode = open_store(path), os.stat(path).st_ino
    write(path, [replace(clip, joints_TVCP=-clip.joints_TVCP) for clip in clips()])
    assert os.stat(path).st_ino != inode
    assert torch.equal(open_store(path).rows_FX, -before.rows_FX)


@pytest.mark.parametrize(
    ("layout", "bodies"),
    [("ntu-25", 1), ("kinect-20", 2)],
    ids=["other joints", "other bodies"],
)
def test_clips_of_two_shapes_are_refused(tmp_path, layout, bodies):
    """Frames of another width would be read as frames of the first clip's, all coordinates shifted."""
    mixed = [*clips(lengths=(4,)), *clips(lengths=(12,), layout=LAYOUTS[layout], bodies=bodies)]
    with pytest.raises(DataError, match=re.escape(mixed[1].name)):
        write(tmp_path / "a.arrow", mixed)
    assert not list(tmp_path.iterdir())


def test_half_precision_is_half_the_file_and_read_as_it_is(tmp_path):
    """Coordinates of a few metres to within half a unit of float16's eleven bits; the views are float32."""
    rng = np.random.default_rng(0)
    clips = [Clip(f"{n}", (3 * rng.normal(size=(2000, 20, 3, 1))).astype(np.float32), n, n) for n in range(3)]
    stores = {}
    for dtype in ("float32", "float16"):
        path = tmp_path / f"{dtype}.arrow"
        write_store(path, clips, dataset="nw-ucla", layout=LAYOUTS["kinect-20"], normalization="none", dtype=dtype)
        stores[dtype] = open_store(path)
        assert stores[dtype].rows_FX.dtype == getattr(torch, dtype)
    exact, half = stores["float32"].rows_FX, stores["float16"].rows_FX
    assert torch.equal(half, exact.half())
    assert ((half.float() - exact).abs() <= exact.abs() * 2**-11 + 1e-7).all()
    sizes = [stores[dtype].path.stat().st_size for dtype in ("float16", "float32")]
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.02)


def test_a_fingerprint_is_of_what_a_store_holds(make_store, tmp_path):
    store = make_store()
    moved = store.path.rename(tmp_path / "moved.arrow")
    assert open_store(moved).fingerprint == store.fingerprint
    rows_FX = store.rows_FX.clone()
    rows_FX[0, 0] += 1
    others = [{"label_N": store.label_N[::-1].copy()}, {"names": store.names[::-1]}, {"rows_FX": rows_FX}]
    others += [{"normalization": "upright"}, {"part_N": {"mine": np.ones(len(store), np.int8)}}]
    found = {replace(store, **changes).fingerprint for changes in others}
    assert len(found | {store.fingerprint}) == len(others) + 1


def test_a_folder_whose_letters_the_locale_lacks(tmp_path, tiny_store):
    """Its name comes as bytes that stand for themselves, which Arrow's own writing of paths refuses."""
    code = """
import sys
from pathlib import Path
from cmd_tune.data.store import open_store
store = open_store(Path(sys.argv[1]))
print(len(store), sys.getfilesystemencoding())
"""
    folder = tmp_path / "é τ"
    folder.mkdir()
    (folder / "tiny.arrow").symlink_to(tiny_store.path)
    ascii_locale = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, folder / "tiny.arrow"]
    done = subprocess.run(command, env=ascii_locale, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(tiny_store)), "ascii"]
