"""Sources of BVH files: the joints of the layout by name, in the file's unit, and each way they can be wrong."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmd_tune.data.clip import Clip
from cmd_tune.data.ingest.ingest import ingest
from cmd_tune.data.ingest.missing_joints import fill_missing
from cmd_tune.data.layouts import layout_from
from cmd_tune.data.readers.bvh import open_bvh
from cmd_tune.data.readers.source import ReadOptions
from cmd_tune.errors import DataError, UsageError
from tests.data.conftest import bvh_text


@pytest.fixture
def written(write_source: Callable) -> tuple[Path, ReadOptions]:
    return write_source("bvh")


def read(path: Path, options: ReadOptions) -> list[Clip | str]:
    source = open_bvh(path, options)
    return [clip for batch in source.batches for clip in source.read(batch)]


def rest(folder: Path, frames: int = 3) -> None:
    """The first clip: at rest, the root in the origin."""
    (folder / "squat" / "000.bvh").write_text(bvh_text(np.zeros((frames, 18))))


def test_a_store_of_what_the_index_says(written: tuple[Path, ReadOptions], tmp_path: Path) -> None:
    store = ingest("bvh", written[0], tmp_path / "a.arrow", options=written[1]).store
    assert (store.dataset, store.layout.name, store.normalization) == ("source", "rig", "upright")
    assert (store.names, store.frame_shape()) == (["squat-000", "squat-001", "jump-000", "jump-001"], (5, 3, 1))
    assert (store.label_N.tolist(), store.length_N.tolist()) == ([0, 0, 1, 1], [5, 1, 8, 4])
    assert store.part_N["given"].tolist() == [1, 2, 1, 0]


def test_joints_come_in_the_layouts_order_and_others_are_dropped(written: tuple[Path, ReadOptions]) -> None:
    folder, options = written
    rest(folder)
    layout = layout_from(
        {
            "name": "some",
            "joints": ["head_end", "right", "pelvis", "left_end"],
            "parents": {"head_end": "pelvis", "right": "pelvis", "left_end": "pelvis"},
            "landmarks": {"base": "pelvis", "centre": "pelvis", "left_shoulder": "left_end", "right_shoulder": "right"},
        }
    )
    clip = read(folder, replace(options, layout=layout))[0]
    assert isinstance(clip, Clip)
    expected_VC = [(0, 20 + 35 + 15, 5), (-15, 20 + 25, 0), (0, 0, 0), (15 + 30, 20 + 25, 0)]
    assert np.allclose(clip.joints_TVCP[..., 0], [expected_VC] * 3, atol=2e-6)


def test_a_joint_that_passes_the_origin_is_not_missing(written: tuple[Path, ReadOptions]) -> None:
    folder, options = written
    x_TX = np.zeros((3, 18))
    x_TX[:, 0] = [-10, 0, 30]
    (folder / "squat" / "000.bvh").write_text(bvh_text(x_TX))
    clip = read(folder, options)[0]
    assert isinstance(clip, Clip)
    assert options.layout is not None
    filled_TVCP, missing_V = fill_missing(clip.joints_TVCP, options.layout)
    assert missing_V == (0,) * 5
    assert np.allclose(filled_TVCP[:, 0, 0, 0], [-10, 0, 30], atol=2e-6)


def test_a_zip_file_is_read_as_its_folder_is(written: tuple[Path, ReadOptions], tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "clips"), "zip", written[0]))
    for ours, theirs in zip(read(archive, written[1]), read(*written), strict=True):
        assert isinstance(ours, Clip)
        assert isinstance(theirs, Clip)
        assert ours.name == theirs.name
        assert np.array_equal(ours.joints_TVCP, theirs.joints_TVCP)


def test_joints_are_named_by_a_layout_in_3_d(written: tuple[Path, ReadOptions]) -> None:
    folder, options = written
    assert options.layout is not None
    for layout in (None, replace(options.layout, coordinates=2)):
        with pytest.raises(UsageError, match="bvh needs --layout, a YAML of joints in 3-D"):
            open_bvh(folder, ReadOptions(layout=layout))


def test_a_joint_that_a_file_lacks_is_named(written: tuple[Path, ReadOptions]) -> None:
    folder, options = written
    path = folder / "squat" / "001.bvh"
    path.write_text(path.read_text().replace("JOINT head", "JOINT Head"))
    line = read(folder, options)[1]
    assert line == f"{folder}: squat/001.bvh: has no joint 'head' of the layout; did you mean 'Head'?"


def test_a_bad_file_is_left_out_and_named(written: tuple[Path, ReadOptions], tmp_path: Path) -> None:
    folder, options = written
    rest(folder, frames=0)
    (folder / "squat" / "001.bvh").unlink()
    (folder / "jump" / "000.bvh").write_text(bvh_text(np.full((1, 18), 1e6)))
    done = ingest("bvh", folder, tmp_path / "a.arrow", options=options)
    assert done.store.names == ["jump-001"]
    found = dict(re.fullmatch(rf"{folder}: (\S+): (.*)", line, re.DOTALL).groups() for line in done.left_out)  # type: ignore[union-attr]
    assert found["squat/000.bvh"] == "no frames"
    assert found["squat/001.bvh"].startswith("cannot be read")
    assert found["jump/000.bvh"] == "coordinates that are not finite, or beyond 10000 metres"


def test_without_an_index_there_are_no_labels(written: tuple[Path, ReadOptions]) -> None:
    (written[0] / "index.csv").unlink()
    with pytest.raises(DataError, match=r"holds no index\.csv"):
        open_bvh(*written)
